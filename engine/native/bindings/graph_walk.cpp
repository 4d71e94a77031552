#include <nanobind/nanobind.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/array_view.h"
#include "bindings/register.h"
#include "bindings/searchable_graph.h"
#include "graph/range_search.h"
#include "graph/row_stream.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace nearfield::bindings {
namespace {

constexpr const char* kRangeSignature =
    "def graph_range_search(graph: Graph, queries: numpy.typing.NDArray[numpy.float32], radius: float, ef: "
    "int, "
    "allow: numpy.typing.NDArray[numpy.uint64] | None = None, pool: ThreadPool | None = None, cancel: "
    "CancelFlag | None = None) -> tuple[numpy.typing.NDArray[numpy.int64], "
    "numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]";

constexpr const char* kRangeDoc = R"(The rows within a distance that the graph leads to.

Args:
    graph: with full rows.
    queries: float32 [nq, d], C-contiguous.
    radius: the largest distance, in that of the graph.
    ef: a query ends after as many rows in a row beyond the radius, and one more for every 8 within it.
    allow: uint64 [ceil(m / 64)]; bit i % 64 of word i // 64 allows row i. None allows all.
    pool: whose threads share the queries; the result does not depend on them.
    cancel: polled before each query.

Returns:
    offsets int64 [nq + 1]; rows int64 and distances float32 [offsets[nq]], exact, those of query i from
    offsets[i] to offsets[i + 1], by distance, then row.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kStreamSignature =
    "def __init__(self, graph: Graph, query: numpy.typing.NDArray[numpy.float32], ef: int, allow: "
    "numpy.typing.NDArray[numpy.uint64] | None = None) -> None";

constexpr const char* kStreamDoc =
    R"(All rows in nearly ascending distance from a query, as many at a time as are asked for.

Not for two threads at once; any number of streams may read one graph.

Args:
    graph: with full rows; kept alive.
    query: float32 [d]; copied.
    ef: rows known beyond those handed out.
    allow: uint64 [ceil(m / 64)]; bit i % 64 of word i // 64 allows row i. None allows all. Copied.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.)";

constexpr const char* kNextSignature =
    "def next(self, count: int) -> tuple[numpy.typing.NDArray[numpy.int64], "
    "numpy.typing.NDArray[numpy.float32]]";

constexpr const char* kNextDoc = R"(The next `count` rows int64 [m] and their exact distances float32 [m].

Fewer where no more are left.)";

void write(const std::vector<graph::RankedRow>& found, std::int64_t* rows, float* distances) {
    for (std::size_t i = 0; i < found.size(); ++i) {
        rows[i] = found[i].row;
        distances[i] = found[i].distance;
    }
}

const graph::GraphView& with_rows(const Graph& graph) {
    if (graph.view().rows == nullptr) throw nb::value_error("graph: expected one with full rows");
    return graph.view();
}

nb::tuple range_search(const Graph& graph, nb::handle queries, float radius, std::int64_t ef,
                       nb::handle allow, ThreadPool* pool, const CancelFlag* cancel) {
    const graph::GraphView& view = with_rows(graph);
    const ArrayView query_view(queries, "queries");
    if (!query_view.is(DType::f32, 2) || query_view.shape(1) != view.dims) {
        query_view.reject("float32 [nq, " + std::to_string(view.dims) + "]");
    }
    std::optional<ArrayView> allow_slot;
    const ArrayView* allow_view = viewed(allow_slot, allow, "allow");
    if (allow_view != nullptr) expect(*allow_view, DType::u64, {(view.row_count + 63) / 64});
    const std::size_t query_count = query_view.shape(0);
    const graph::RangeCall call{query_view.data<float>(), query_count, radius, checked_size(ef, "ef", 1),
                                allow_view != nullptr ? allow_view->data<std::uint64_t>() : nullptr};
    nb::object offsets = empty_array(DType::i64, {query_count + 1});
    std::vector<std::vector<graph::RankedRow>> within;
    std::size_t total = 0;
    {
        const ArrayView out(offsets, "offsets", true);
        const nb::gil_scoped_release release;
        within = graph::range_search(view, call, pool, cancel);
        for (std::size_t i = 0; i <= query_count; ++i) {
            out.mutable_data<std::int64_t>()[i] = static_cast<std::int64_t>(total);
            if (i < query_count) total += within[i].size();
        }
    }
    nb::object rows = empty_array(DType::i64, {total});
    nb::object distances = empty_array(DType::f32, {total});
    {
        const ArrayView rows_view(rows, "rows", true);
        const ArrayView distances_view(distances, "distances", true);
        const nb::gil_scoped_release release;
        std::size_t at = 0;
        for (const auto& found : within) {
            write(found, rows_view.mutable_data<std::int64_t>() + at,
                  distances_view.mutable_data<float>() + at);
            at += found.size();
        }
    }
    return nb::make_tuple(offsets, rows, distances);
}

void make_stream(graph::RowStream* place, const Graph& graph, nb::handle query, std::int64_t ef,
                 nb::handle allow) {
    const graph::GraphView& view = with_rows(graph);
    const ArrayView query_view(query, "query");
    expect(query_view, DType::f32, {view.dims});
    const auto* values = query_view.data<float>();
    std::vector<std::uint64_t> words;
    if (!allow.is_none()) {
        const ArrayView allow_view(allow, "allow");
        expect(allow_view, DType::u64, {(view.row_count + 63) / 64});
        words.assign(allow_view.data<std::uint64_t>(),
                     allow_view.data<std::uint64_t>() + allow_view.shape(0));
    }
    new (place)
        graph::RowStream(view, {values, values + view.dims}, checked_size(ef, "ef", 1), std::move(words));
}

nb::tuple next(graph::RowStream& stream, std::int64_t count) {
    const std::size_t wanted = checked_size(count, "count", 1);
    std::vector<graph::RankedRow> found;
    {
        const nb::gil_scoped_release release;
        found = stream.next(wanted);
    }
    nb::object rows = empty_array(DType::i64, {found.size()});
    nb::object distances = empty_array(DType::f32, {found.size()});
    const ArrayView rows_view(rows, "rows", true);
    const ArrayView distances_view(distances, "distances", true);
    write(found, rows_view.mutable_data<std::int64_t>(), distances_view.mutable_data<float>());
    return nb::make_tuple(rows, distances);
}

}  // namespace

void register_graph_walk(nb::module_& module) {
    module.def("graph_range_search", &range_search, "graph"_a, "queries"_a, "radius"_a, "ef"_a,
               "allow"_a = nb::none(), "pool"_a = nb::none(), "cancel"_a = nb::none(),
               nb::sig(kRangeSignature), kRangeDoc);
    nb::class_<graph::RowStream>(module, "GraphRowStream", kStreamDoc)
        .def("__init__", &make_stream, "graph"_a, "query"_a, "ef"_a, "allow"_a = nb::none(),
             nb::keep_alive<1, 2>(), nb::sig(kStreamSignature))
        .def("next", &next, "count"_a, nb::sig(kNextSignature), kNextDoc);
}

}  // namespace nearfield::bindings
