#include <nanobind/nanobind.h>
#include <nanobind/stl/string_view.h>

#include <optional>
#include <string>
#include <string_view>

#include "bindings/array_view.h"
#include "bindings/register.h"
#include "core/dispatch.h"
#include "flat/code_search.h"
#include "flat/flat_search.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace nearfield::bindings {
namespace {

constexpr const char* kFlatSearchSignature =
    "def flat_search(queries: numpy.typing.NDArray[numpy.float32], "
    "rows: numpy.typing.NDArray[numpy.float32] | numpy.typing.NDArray[numpy.float16] | "
    "numpy.typing.NDArray[numpy.uint8], metric: str, k: int, "
    "allow: numpy.typing.NDArray[numpy.uint64] | None = None, "
    "row_scale: numpy.typing.NDArray[numpy.float32] | None = None, threads: int = 1, "
    "pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> "
    "tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]";

constexpr const char* kFlatSearchDoc = R"(The exact k nearest rows of each query, by one blocked scan.

Equal distances go by row, NaN distances never win, and the result is the same for any number of
threads and for any batch a query comes in.

Args:
    queries: float32 [nq, d], C-contiguous.
    rows: float32, float16 or uint8 [n, d], C-contiguous; may be read-only or a memory map.
    metric: 'l2' (squared Euclidean), 'ip' (negated inner product) or 'l1'.
    k: how many, at least 1.
    allow: uint64 [ceil(n / 64)]; bit i % 64 of word i // 64 allows row i. None allows all.
    row_scale: float32 [n], factor of each row's distance.
    threads: how many may share the work, the calling one included; small scans use fewer.
    pool: whose threads help; None starts and ends them within the call.
    cancel: polled once per block of rows.

Returns:
    offsets int64 [nq, k], -1 pads, and distances float32 [nq, k], +inf pads; nearest first.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kCodeSearchSignature =
    "def code_search(queries: numpy.typing.NDArray[numpy.float32], first: "
    "numpy.typing.NDArray[numpy.uint8], rest: numpy.typing.NDArray[numpy.uint8], k: int, kept: int, "
    "allow: numpy.typing.NDArray[numpy.uint64] | None = None, "
    "threads: int = 1, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> "
    "tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]";

constexpr const char* kCodeSearchDoc =
    R"(The k rows of 4-bit codes of largest inner product with each query, of those the first codes favour.

All rows are scanned by the first plane, and about `kept` of them scored by both. Queries are rounded to 8
bits, for each plane by itself. Equal products go by row, and the result is the same for any number of threads
and any batch a query comes in.

Args:
    queries: float32 [nq, 2 * (first_stride + rest_stride)]: for each 64 bytes of a row, those of the first
        plane before those of the other, what meets their low, then their high four bits; zeros where the
        row's constants lie.
    first: uint8 [n, first_stride], a multiple of 64, in the layout of `lvq_encode` with its bias at -7.5 or
        any other number of steps.
    rest: uint8 [n, rest_stride], a multiple of 64 or 0: further codes, without constants.
    k, allow, threads, pool, cancel: as in `flat_search`.
    kept: how many, about; all where not more than twice as many are allowed. At least 1; fewer than k are k.

Returns:
    rows int64 [nq, k], -1 pads, and negated products float32 [nq, k], +inf pads; nearest first.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kGatherDistancesSignature =
    "def gather_distances(queries: numpy.typing.NDArray[numpy.float32], "
    "rows: numpy.typing.NDArray[numpy.float32] | numpy.typing.NDArray[numpy.float16] | "
    "numpy.typing.NDArray[numpy.uint8], offsets: numpy.typing.NDArray[numpy.int64], metric: str, "
    "row_scale: numpy.typing.NDArray[numpy.float32] | None = None) -> "
    "numpy.typing.NDArray[numpy.float32]";

constexpr const char* kGatherDistancesDoc = R"(Distances of queries to chosen rows.

Args:
    queries: float32 [nq, d], or [d] for one query.
    rows: float32, float16 or uint8 [n, d], C-contiguous.
    offsets: int64 [m], each within 0 .. n - 1.
    metric, row_scale: as in `flat_search`; the distances are bit-identical to its.

Returns:
    float32 [nq, m], or [m] for one query.

Raises:
    ValueError: a wrong dtype, shape or value, or an offset outside the rows.)";

Metric parse_metric(std::string_view name) {
    if (name == "l2") return Metric::l2;
    if (name == "ip") return Metric::ip;
    if (name == "l1") return Metric::l1;
    raise_value_error("metric: expected 'l2', 'ip' or 'l1', got '" + std::string(name) + "'");
}

std::size_t positive(std::int64_t value, const char* name) {
    if (value < 1) {
        raise_value_error(std::string(name) + ": expected at least 1, got " + std::to_string(value));
    }
    return static_cast<std::size_t>(value);
}

// None or an array of one dtype and one length.
template <class T>
class OptionalVector {
public:
    OptionalVector(nb::handle object, const char* name, DType dtype, const char* dtype_name,
                   std::size_t length) {
        if (object.is_none()) return;
        view_.emplace(object, name);
        if (!view_->is(dtype, 1) || view_->shape(0) != length) {
            view_->reject(std::string(dtype_name) + " [" + std::to_string(length) + "]");
        }
    }
    const T* data() const { return view_ ? view_->data<T>() : nullptr; }

private:
    std::optional<ArrayView> view_;
};

nb::tuple flat_search(nb::handle queries, nb::handle rows, std::string_view metric, std::int64_t k,
                      nb::handle allow, nb::handle row_scale, std::int64_t threads, ThreadPool* pool,
                      const CancelFlag* cancel) {
    const ArrayView row_view(rows, "rows");
    const RowType type = row_type(row_view);
    const std::size_t count = row_view.shape(0);
    const std::size_t dims = row_view.shape(1);
    const ArrayView query_view(queries, "queries");
    if (!query_view.is(DType::f32, 2) || query_view.shape(1) != dims) {
        query_view.reject("float32 [nq, " + std::to_string(dims) + "]");
    }
    const OptionalVector<std::uint64_t> allow_view(allow, "allow", DType::u64, "uint64", (count + 63) / 64);
    const OptionalVector<float> scale_view(row_scale, "row_scale", DType::f32, "float32", count);
    const flat::SearchOptions options{parse_metric(metric),
                                      positive(k, "k"),
                                      allow_view.data(),
                                      positive(threads, "threads"),
                                      pool,
                                      cancel};
    const std::size_t query_count = query_view.shape(0);
    nb::object offsets = empty_array(DType::i64, {query_count, options.k});
    nb::object distances = empty_array(DType::f32, {query_count, options.k});
    {
        const ArrayView offsets_view(offsets, "offsets", true);
        const ArrayView distances_view(distances, "distances", true);
        const nb::gil_scoped_release release;
        flat::search(kernels(), {query_view.data<float>(), query_count},
                     {row_view.data<void>(), type, count, dims, scale_view.data()}, options,
                     offsets_view.mutable_data<std::int64_t>(), distances_view.mutable_data<float>());
    }
    return nb::make_tuple(offsets, distances);
}

nb::tuple code_search(nb::handle queries, nb::handle first, nb::handle rest, std::int64_t k,
                      std::int64_t kept, nb::handle allow, std::int64_t threads, ThreadPool* pool,
                      const CancelFlag* cancel) {
    const ArrayView first_view(first, "first");
    if (!first_view.is(DType::u8, 2) || first_view.shape(1) == 0 || first_view.shape(1) % 64 != 0) {
        first_view.reject("uint8 [n, stride], stride a multiple of 64");
    }
    const std::size_t count = first_view.shape(0);
    const ArrayView rest_view(rest, "rest");
    if (!rest_view.is(DType::u8, 2) || rest_view.shape(0) != count || rest_view.shape(1) % 64 != 0) {
        rest_view.reject("uint8 [" + std::to_string(count) + ", stride], stride a multiple of 64 or 0");
    }
    const flat::CodePlanes planes{first_view.data<std::uint8_t>(), rest_view.data<std::uint8_t>(), count,
                                  first_view.shape(1), rest_view.shape(1)};
    const ArrayView query_view(queries, "queries");
    if (!query_view.is(DType::f32, 2) || query_view.shape(1) != planes.places()) {
        query_view.reject("float32 [nq, " + std::to_string(planes.places()) + "]");
    }
    const OptionalVector<std::uint64_t> allow_view(allow, "allow", DType::u64, "uint64", (count + 63) / 64);
    const std::size_t kept_rows = positive(kept, "kept");
    const flat::SearchOptions options{
        Metric::ip, positive(k, "k"), allow_view.data(), positive(threads, "threads"), pool, cancel};
    const std::size_t query_count = query_view.shape(0);
    nb::object found = empty_array(DType::i64, {query_count, options.k});
    nb::object distances = empty_array(DType::f32, {query_count, options.k});
    {
        const ArrayView found_view(found, "rows", true);
        const ArrayView distances_view(distances, "distances", true);
        const nb::gil_scoped_release release;
        flat::search_codes(kernels(), {query_view.data<float>(), query_count}, planes, kept_rows, options,
                           found_view.mutable_data<std::int64_t>(), distances_view.mutable_data<float>());
    }
    return nb::make_tuple(found, distances);
}

void check_offsets(const std::int64_t* offsets, std::size_t offset_count, std::size_t row_count) {
    for (std::size_t i = 0; i < offset_count; ++i) {
        if (offsets[i] < 0 || static_cast<std::uint64_t>(offsets[i]) >= row_count) {
            raise_value_error("offsets[" + std::to_string(i) + "]: expected 0 <= offset < " +
                              std::to_string(row_count) + ", got " + std::to_string(offsets[i]));
        }
    }
}

nb::object gather_distances(nb::handle queries, nb::handle rows, nb::handle offsets, std::string_view metric,
                            nb::handle row_scale) {
    const ArrayView row_view(rows, "rows");
    const RowType type = row_type(row_view);
    const std::size_t count = row_view.shape(0);
    const std::size_t dims = row_view.shape(1);
    const ArrayView query_view(queries, "queries");
    const bool single = query_view.ndim() == 1;
    if (!query_view.is(DType::f32, single ? 1 : 2) || query_view.shape(single ? 0 : 1) != dims) {
        query_view.reject("float32 [nq, " + std::to_string(dims) + "] or [" + std::to_string(dims) + "]");
    }
    const ArrayView offset_view(offsets, "offsets");
    if (!offset_view.is(DType::i64, 1)) offset_view.reject("int64 [m]");
    const OptionalVector<float> scale_view(row_scale, "row_scale", DType::f32, "float32", count);
    const Metric parsed_metric = parse_metric(metric);
    const std::size_t offset_count = offset_view.shape(0);
    check_offsets(offset_view.data<std::int64_t>(), offset_count, count);
    const std::size_t query_count = single ? 1 : query_view.shape(0);
    nb::object out = single ? empty_array(DType::f32, {offset_count})
                            : empty_array(DType::f32, {query_count, offset_count});
    {
        const ArrayView out_view(out, "distances", true);
        const nb::gil_scoped_release release;
        flat::gather_distances(kernels(), {query_view.data<float>(), query_count},
                               {row_view.data<void>(), type, count, dims, scale_view.data()}, parsed_metric,
                               offset_view.data<std::int64_t>(), offset_count,
                               out_view.mutable_data<float>());
    }
    return out;
}

}  // namespace

void register_flat(nb::module_& module) {
    module.def("flat_search", &flat_search, "queries"_a, "rows"_a, "metric"_a, "k"_a, "allow"_a = nb::none(),
               "row_scale"_a = nb::none(), "threads"_a = 1, "pool"_a = nb::none(), "cancel"_a = nb::none(),
               nb::sig(kFlatSearchSignature), kFlatSearchDoc);
    module.def("code_search", &code_search, "queries"_a, "first"_a, "rest"_a, "k"_a, "kept"_a,
               "allow"_a = nb::none(), "threads"_a = 1, "pool"_a = nb::none(), "cancel"_a = nb::none(),
               nb::sig(kCodeSearchSignature), kCodeSearchDoc);
    module.def("gather_distances", &gather_distances, "queries"_a, "rows"_a, "offsets"_a, "metric"_a,
               "row_scale"_a = nb::none(), nb::sig(kGatherDistancesSignature), kGatherDistancesDoc);
}

}  // namespace nearfield::bindings
