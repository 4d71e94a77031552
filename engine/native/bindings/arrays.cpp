#include <nanobind/nanobind.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "bindings/array_view.h"
#include "bindings/register.h"
#include "core/finite.h"
#include "core/json_numbers.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace nearfield::bindings {
namespace {

// Below this many bytes, giving the GIL away costs more than the work.
constexpr std::size_t kReleaseGilBytes = 256 * 1024;

constexpr const char* kAllFiniteDoc =
    R"(Whether no value of a C-contiguous float32 array of any shape is infinite or NaN.

Raises:
    ValueError: not a C-contiguous float32 array.)";

constexpr const char* kParseNumbersDoc =
    R"(The float32 [n] of a JSON array of n numbers, each by way of the nearest double.

None for everything else: an empty array, another value, an element that is no number, bad syntax, a number
beyond the range of float32. Saying what is wrong is left to a JSON library.)";

nb::object parse_numbers(const nb::bytes& text) {
    std::vector<float> numbers;
    numbers.reserve(text.size() / 8);
    if (!parse_json_numbers({text.c_str(), text.size()}, numbers) || numbers.empty()) return nb::none();
    nb::object array = empty_array(DType::f32, {numbers.size()});
    const ArrayView out(array, "numbers", true);
    std::memcpy(out.mutable_data<float>(), numbers.data(), numbers.size() * sizeof(float));
    return array;
}

bool finite(nb::handle values) {
    const ArrayView view(values, "values");
    if (view.dtype() != DType::f32) view.reject("float32 [...]");
    const auto check = [&view] { return all_finite(view.data<float>(), view.bytes() / sizeof(float)); };
    if (view.bytes() < kReleaseGilBytes) return check();
    const nb::gil_scoped_release release;
    return check();
}

}  // namespace

void register_arrays(nb::module_& module) {
    module.def("all_finite", &finite, "values"_a,
               nb::sig("def all_finite(values: numpy.typing.NDArray[numpy.float32]) -> bool"), kAllFiniteDoc);
    module.def("parse_json_numbers", &parse_numbers, "text"_a,
               nb::sig("def parse_json_numbers(text: bytes) -> numpy.typing.NDArray[numpy.float32] | None"),
               kParseNumbersDoc);
}

}  // namespace nearfield::bindings
