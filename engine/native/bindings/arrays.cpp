#include <nanobind/nanobind.h>

#include <cstdint>

#include "bindings/array_view.h"
#include "bindings/register.h"
#include "core/dispatch.h"
#include "core/finite.h"
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
    module.def("count_bits", &count_bits, "words"_a,
               nb::sig("def count_bits(words: numpy.typing.NDArray[numpy.uint64]) -> int"), kCountBitsDoc);
    module.def("all_finite", &finite, "values"_a,
               nb::sig("def all_finite(values: numpy.typing.NDArray[numpy.float32]) -> bool"), kAllFiniteDoc);
}

}  // namespace nearfield::bindings
