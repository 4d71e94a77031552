#include <nanobind/nanobind.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "bindings/array_view.h"
#include "bindings/maybe_without_gil.h"
#include "bindings/register.h"
#include "core/finite.h"
#include "core/json_numbers.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace nearfield::bindings {
namespace {

constexpr const char* kIsFiniteMatrixDoc =
    "Whether a value is a C-contiguous float32 [n, columns] without an infinity or a NaN.";

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

bool is_finite_matrix(nb::handle value, std::size_t columns) try {
    const ArrayView matrix(value, "value");
    if (!matrix.is(DType::f32, 2) || matrix.shape(1) != columns) return false;
    const std::size_t bytes = matrix.bytes();
    return maybe_without_gil(bytes, [&] { return all_finite(matrix.data<float>(), bytes / sizeof(float)); });
} catch (const nb::builtin_exception&) {
    return false;
}

}  // namespace

void register_arrays(nb::module_& module) {
    module.def("is_finite_matrix", &is_finite_matrix, "value"_a.none(), "columns"_a,
               nb::sig("def is_finite_matrix(value: object, columns: int) -> bool"), kIsFiniteMatrixDoc);
    module.def("take_query_vectors", &take_vectors, "text"_a,
               nb::sig("def take_query_vectors(text: bytes | bytearray)"
                       " -> tuple[bytes, list[numpy.typing.NDArray[numpy.float32]]] | None"),
               kTakeVectorsDoc);
}

}  // namespace nearfield::bindings
