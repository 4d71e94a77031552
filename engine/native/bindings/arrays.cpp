#include <nanobind/nanobind.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

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

constexpr const char* kTakeVectorsDoc =
    R"(The vectors of the `query` members of a JSON text, float32 [n], and the text with null in their places.

Each number by way of the nearest double. Whether the rest is JSON is not known; if it is, and a reader finds
as many members `query` in it as there are vectors, it has found all of them, in the order of the vectors.

None unless the value of every `"query"` in the text is a non-empty array of numbers within the range of
float32, or an object that begins with one as `nearest`, and where the rest has escapes. Saying what is wrong
is left to a JSON library.)";

nb::object take_vectors(nb::handle text) {
    const ArrayView view(text, "text");
    QueryVectors taken;
    taken.numbers.reserve(view.bytes() / 8);
    if (!take_query_vectors({view.data<char>(), view.bytes()}, taken)) return nb::none();
    nb::list vectors;
    std::size_t begin = 0;
    for (const std::size_t end : taken.ends) {
        nb::object vector = empty_array(DType::f32, {end - begin});
        const ArrayView out(vector, "vector", true);
        std::memcpy(out.mutable_data<float>(), taken.numbers.data() + begin, out.bytes());
        vectors.append(std::move(vector));
        begin = end;
    }
    return nb::make_tuple(nb::bytes(taken.rest.data(), taken.rest.size()), std::move(vectors));
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
    module.def("take_query_vectors", &take_vectors, "text"_a,
               nb::sig("def take_query_vectors(text: bytes | bytearray)"
                       " -> tuple[bytes, list[numpy.typing.NDArray[numpy.float32]]] | None"),
               kTakeVectorsDoc);
}

}  // namespace nearfield::bindings
