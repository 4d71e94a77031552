#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "bindings/array_view.h"
#include "bindings/register.h"
#include "core/dispatch.h"
#include "core/finite.h"
#include "core/json_numbers.h"
#include "kernels/bit_kernels.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace nearfield::bindings {
namespace {

// Below this many bytes, giving the GIL away costs more than the work.
constexpr std::size_t kReleaseGilBytes = 256 * 1024;

constexpr const char* kCountBitsDoc = R"(How many bits of uint64 [n] are set.

Raises:
    ValueError: not a C-contiguous uint64 [n].)";

constexpr const char* kAllFiniteDoc =
    R"(Whether no value of a C-contiguous float32 array of any shape is infinite or NaN.

Raises:
    ValueError: not a C-contiguous float32 array.)";

constexpr const char* kBitsAtDoc = R"(A bitmap uint64 [ceil(length / 64)] with some bits set.

Args:
    positions: int64 [m], each within 0 .. length - 1, in any order.

Raises:
    ValueError: not a C-contiguous int64 [m], or a position outside the bitmap.)";

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

nb::object bits_at(nb::handle positions, std::size_t length) {
    const ArrayView view(positions, "positions");
    if (!view.is(DType::i64, 1)) view.reject("int64 [m]");
    const auto* at = view.data<std::int64_t>();
    nb::object words = empty_array(DType::u64, {(length + 63) / 64});
    const ArrayView out(words, "words", true);
    auto* bits = out.mutable_data<std::uint64_t>();
    std::fill(bits, bits + out.shape(0), std::uint64_t{0});
    for (std::size_t i = 0; i < view.shape(0); ++i) {
        const auto bit = static_cast<std::uint64_t>(at[i]);
        if (bit >= length) {
            raise_value_error("positions[" + std::to_string(i) + "]: expected 0 <= position < " +
                              std::to_string(length) + ", got " + std::to_string(at[i]));
        }
        bits[bit / 64] |= std::uint64_t{1} << bit % 64;
    }
    return words;
}

std::size_t count_bits(nb::handle words) {
    const ArrayView view(words, "words");
    if (!view.is(DType::u64, 1)) view.reject("uint64 [n]");
    const auto count = [&view] { return kernels().bits->count(view.data<std::uint64_t>(), view.shape(0)); };
    if (view.bytes() < kReleaseGilBytes) return count();
    const nb::gil_scoped_release release;
    return count();
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
    module.def("bits_at", &bits_at, "positions"_a, "length"_a,
               nb::sig("def bits_at(positions: numpy.typing.NDArray[numpy.int64], length: int) -> "
                       "numpy.typing.NDArray[numpy.uint64]"),
               kBitsAtDoc);
    module.def("count_bits", &count_bits, "words"_a,
               nb::sig("def count_bits(words: numpy.typing.NDArray[numpy.uint64]) -> int"), kCountBitsDoc);
    module.def("all_finite", &finite, "values"_a,
               nb::sig("def all_finite(values: numpy.typing.NDArray[numpy.float32]) -> bool"), kAllFiniteDoc);
    module.def("parse_json_numbers", &parse_numbers, "text"_a,
               nb::sig("def parse_json_numbers(text: bytes) -> numpy.typing.NDArray[numpy.float32] | None"),
               kParseNumbersDoc);
}

}  // namespace nearfield::bindings
