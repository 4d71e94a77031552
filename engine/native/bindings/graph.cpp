#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/array_view.h"
#include "bindings/build_arrays.h"
#include "bindings/register.h"
#include "bindings/searchable_graph.h"
#include "core/dispatch.h"
#include "graph/build.h"
#include "graph/search.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace nearfield::bindings {
namespace {

constexpr const char* kLinkClustersSignature =
    "def link_clusters(vectors: numpy.typing.NDArray[numpy.int8], scales: "
    "numpy.typing.NDArray[numpy.float32], cluster_starts: numpy.typing.NDArray[numpy.int64], probes: "
    "numpy.typing.NDArray[numpy.int32], candidates: int, degree: int, alpha: float, pool: ThreadPool "
    "| None = None, cancel: CancelFlag | None = None, progress: collections.abc.Callable[[float], "
    "object] | None = None) -> numpy.typing.NDArray[numpy.uint32]";

constexpr const char* kLinkClustersDoc =
    R"(Link every vector to its nearest within the clusters around it, pruned.

Args:
    vectors: int8 [n, d rounded up to 64], zero-padded, C-contiguous.
    scales: float32 [n], of one step of each vector.
    cluster_starts: int64 [c + 1]; the vectors lie in the order of their clusters.
    probes: int32 [c, p], the clusters searched for the vectors of one.
    candidates: nearest vectors found before pruning.
    degree: most links of a vector.
    alpha: of the pruning, on squared distances, at least 1.
    pool: whose threads share the work; the result does not depend on them.
    cancel: polled now and then.
    progress: called with the share done, from any thread.

Returns:
    uint32 [n, degree], nearest first, padded with NO_NEIGHBOUR.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kLinkCandidatesSignature =
    "def link_candidates(vectors: numpy.typing.NDArray[numpy.int8], scales: "
    "numpy.typing.NDArray[numpy.float32], first: int, candidates: numpy.typing.NDArray[numpy.int64], "
    "degree: int, alpha: float, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> "
    "numpy.typing.NDArray[numpy.uint32]";

constexpr const char* kLinkCandidatesDoc = R"(Prune given candidates of the vectors from `first` on.

Args:
    vectors: int8 [n, d rounded up to 64], zero-padded, C-contiguous.
    scales: float32 [n], of one step of each vector.
    first: vector that candidates[0] belongs to.
    candidates: int64 [m, c], vectors; negative ones, repeated ones and the vector itself are passed over.
    degree: most links of a vector.
    alpha: of the pruning, on squared distances, at least 1.
    pool: whose threads share the work; the result does not depend on them.
    cancel: polled now and then.

Returns:
    uint32 [m, degree], nearest first, padded with NO_NEIGHBOUR.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kAddReverseSignature =
    "def add_reverse(vectors: numpy.typing.NDArray[numpy.int8], scales: "
    "numpy.typing.NDArray[numpy.float32], neighbours: numpy.typing.NDArray[numpy.uint32], alpha: float, "
    "pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> None";

constexpr const char* kAddReverseDoc =
    R"(Join every list with the vectors that point to its owner, and prune what is too long, in place.

Args:
    vectors: int8 [n, d rounded up to 64], zero-padded, C-contiguous.
    scales: float32 [n], of one step of each vector.
    neighbours: uint32 [n, degree], nearest first, padded with NO_NEIGHBOUR, as it will be again; of no use
        after a cancellation.
    alpha: of the pruning, on squared distances, at least 1.
    pool: whose threads share the work; the result does not depend on them.
    cancel: polled now and then.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kConnectSignature =
    "def connect_and_order(neighbours: numpy.typing.NDArray[numpy.uint32], entry: int) -> "
    "tuple[numpy.typing.NDArray[numpy.uint32], int]";

constexpr const char* kConnectDoc = R"(Make every node reachable from one, and number the nodes breadth first.

Args:
    neighbours: uint32 [n, degree], padded with NO_NEIGHBOUR; changed where a node was out of reach.
    entry: the node to start from.

Returns:
    uint32 [n], the node to be stored at each place, and how many nodes had to be linked.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.)";

constexpr const char* kGraphSignature =
    "def __init__(self, neighbours: numpy.typing.NDArray[numpy.uint32], entries: "
    "numpy.typing.NDArray[numpy.uint32], row_of: numpy.typing.NDArray[numpy.uint32], primary: "
    "numpy.typing.NDArray[numpy.uint8] | None, primary_bits: int, primary_dims: int, primary_stride: "
    "int, secondary: numpy.typing.NDArray[numpy.uint8] | None, secondary_bits: int, secondary_stride: "
    "int, secondary_is_residual: bool, rows: numpy.typing.NDArray[numpy.float32] | "
    "numpy.typing.NDArray[numpy.float16] | "
    "numpy.typing.NDArray[numpy.uint8] | None, row_scale: numpy.typing.NDArray[numpy.float32] | "
    "None, metric: str, mean: numpy.typing.NDArray[numpy.float32], scale: float, projection: "
    "numpy.typing.NDArray[numpy.int8] | None, projection_sums: numpy.typing.NDArray[numpy.int32] | "
    "None, projection_scales: numpy.typing.NDArray[numpy.float32] | None, query_mean: "
    "numpy.typing.NDArray[numpy.float32] | None = None) -> None";

constexpr const char* kGraphDoc =
    R"(A searchable graph over arrays that it keeps alive; any number of threads may search it.

Args:
    neighbours: uint32 [n, degree], nodes, padded with NO_NEIGHBOUR; never read as a whole, other numbers are
        passed over.
    entries: uint32 [e], nodes every search starts from.
    row_of: uint32 [n], the row each node stands for.
    primary: uint8 [n * primary_stride + 64], codes of the projected rows, what the traversal reads; None:
        it reads the full rows.
    secondary: uint8 [n * secondary_stride + 64], codes of the whole rows, for re-ranking.
    secondary_is_residual: secondary codes are of what the primary ones leave of the rows.
    rows: float32, float16 or uint8 [m, d], the full rows, for the last re-ranking.
    row_scale: float32 [m], factor of each row's distance.
    metric: 'l2' (squared Euclidean) or 'ip' (negated inner product).
    mean: float32 [d], subtracted from rows before they were multiplied by `scale` and encoded.
    projection: int8 [primary_dims, d rounded up to 64], the query's side; None: primary codes are of
        whole rows.
    projection_sums: int32 [primary_dims], sums of the projection's rows.
    projection_scales: float32 [primary_dims], of one step of the projection's rows.
    query_mean: float32 [d], the mean of queries of unit length, by which the codes' norms were made; None:
        by the mean of the rows.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.)";

constexpr const char* kSearchSignature =
    "def search(self, queries: numpy.typing.NDArray[numpy.float32], k: int, ef: int, "
    "rerank_secondary: int, rerank_exact: int, in_flight: int = 3, scan: bool = False, allow: "
    "numpy.typing.NDArray[numpy.uint64] | None = None, expansions_most: int = 9223372036854775807, "
    "agreement_least: float = 0.0, adaptive: GraphAdaptiveWindow | None = None, pool: ThreadPool | None = "
    "None, cancel: CancelFlag | None = None) -> "
    "tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32], tuple[int, int, int]]";

constexpr const char* kSearchDoc = R"(The k nearest rows the graph leads to.

Args:
    queries: float32 [nq, d], C-contiguous.
    k: how many, at least 1.
    ef: the traversal ends when the nearest `ef` nodes have been expanded, at least k; with `allow`, all nodes
        that are no further than the nearest `ef` allowed ones.
    rerank_secondary: candidates re-scored with the secondary codes.
    rerank_exact: of those, re-scored with the full rows.
    in_flight: queries a thread takes turns between.
    scan: score every allowed code row instead of walking the graph.
    allow: uint64 [ceil(m / 64)]; bit i % 64 of word i // 64 allows row i. None allows all.
    expansions_most: with `allow`, a query that would expand so many nodes gets no answer.
    agreement_least: nor does one if the distances of its candidates correlate less with those that a
        re-ranking finds.
    adaptive: without `allow`, by what an `ef` of at least 12 is replaced for each query.
    pool: whose threads share the queries.
    cancel: polled once per 64 queries.

Returns:
    rows int64 [nq, k], -1 pads; distances float32 [nq, k], +inf pads, up to a constant of the query where
    there are no full rows; code rows scored and nodes expanded by walking, and queries with fewer than
    k rows.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kFilteredSignature =
    "def search_filtered(self, queries: numpy.typing.NDArray[numpy.float32], plan: GraphFilterPlan, allow: "
    "numpy.typing.NDArray[numpy.uint64], pool: ThreadPool | None = None, cancel: CancelFlag | None = None) "
    "-> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32], int] | None";

constexpr const char* kFilteredDoc = R"(What `search` finds by the plan for as many rows as are allowed.

Returns:
    rows int64 [nq, k] and distances float32 [nq, k] as of `search`, and queries with fewer than k rows; None
    where the plan is a scan of the full rows, which is not the graph's.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kPlanSignature =
    "def __init__(self, k: int, ef: int, rows_most: int, codes_most: int, after_scan: tuple[int, int], "
    "after_walk: tuple[int, int], expansions_least: float, expansions_per_row: float, agreement_least: "
    "float, in_flight: int = 3, adaptive: GraphAdaptiveWindow | None = None) -> None";

constexpr const char* kPlanDoc = R"(How searches of one k and `ef` with a filter are answered.

Args:
    k: how many, at least 1.
    ef: of a search without a filter.
    rows_most: up to so many allowed rows the full rows are to be scanned.
    codes_most: up to so many their codes are; the graph is walked for more.
    after_scan: candidates re-scored with the secondary codes, and with the full rows, after a scan.
    after_walk: the same after a walk.
    expansions_least, expansions_per_row: a walk gives up at so many expanded nodes, and so many for each
        allowed row.
    agreement_least: see Graph.search.
    in_flight: queries a thread takes turns between.
    adaptive: see Graph.search; where every row is allowed. Where not, windows are 1.2 times as wide.

Raises:
    ValueError: a value out of range.)";

constexpr const char* kAdaptiveSignature =
    "def __init__(self, weights: tuple[float, float, float], bias: float, least: int, most: int) -> None";

constexpr const char* kWidthSignature =
    "def width(self, distances: tuple[float, float, float], weight: float = 1.0) -> int";

constexpr const char* kWidthDoc = "The width of a walk that sees these distances by codes.";

constexpr const char* kAdaptiveDoc =
    R"(How wide each walk is, by how far the nearest nodes are when the 12 nearest have been expanded.

exp(bias + the weighted sum of the distances, by codes, of the 1st, 5th and 12th nearest node), these divided
by the weight of the query's norms: for l2 1, for inner products with a `query_mean` the query's length.

Args:
    least: bound of the width, at least k and 12.
    most: bound of the width, at least `least`.

Raises:
    ValueError: a value out of range.)";

constexpr const char* kWindowSignature = "def window(k: int, ef: int, allowed: int, count: int) -> int";

constexpr const char* kWindowDoc =
    "How many allowed nodes are to be nearer than all that are left when a walk ends.";

std::size_t allowed_window(std::int64_t k, std::int64_t ef, std::int64_t allowed, std::int64_t count) {
    return graph::FilterPlan::window(checked_size(k, "k", 1), checked_size(ef, "ef", 1),
                                     checked_size(allowed, "allowed", 0), checked_size(count, "count", 0));
}

using Pair = std::pair<std::int64_t, std::int64_t>;

graph::RerankCounts rerank_counts(const Pair& counts, const char* name) {
    return {checked_size(counts.first, name, 0), checked_size(counts.second, name, 0)};
}

void make_plan(graph::FilterPlan* place, std::int64_t k, std::int64_t ef, std::int64_t rows_most,
               std::int64_t codes_most, const Pair& after_scan, const Pair& after_walk,
               double expansions_least, double expansions_per_row, float agreement_least,
               std::int64_t in_flight, const graph::AdaptiveWindow* adaptive) {
    if (!(expansions_least >= 0.0 && expansions_per_row >= 0.0))
        throw nb::value_error("expansions_least, expansions_per_row: expected numbers of at least 0");
    new (place) graph::FilterPlan{checked_size(k, "k", 1),
                                  checked_size(std::max(ef, k), "ef", 1),
                                  checked_size(rows_most, "rows_most", 0),
                                  checked_size(codes_most, "codes_most", 0),
                                  rerank_counts(after_scan, "after_scan"),
                                  rerank_counts(after_walk, "after_walk"),
                                  expansions_least,
                                  expansions_per_row,
                                  agreement_least,
                                  checked_size(in_flight, "in_flight", 1),
                                  adaptive != nullptr ? *adaptive : graph::AdaptiveWindow{}};
}

using Weights = std::tuple<float, float, float>;

void make_adaptive(graph::AdaptiveWindow* place, const Weights& weights, float bias, std::int64_t least,
                   std::int64_t most) {
    const auto probe = static_cast<std::int64_t>(graph::AdaptiveWindow::kProbe);
    new (place) graph::AdaptiveWindow{{std::get<0>(weights), std::get<1>(weights), std::get<2>(weights)},
                                      bias,
                                      checked_size(least, "least", probe),
                                      checked_size(most, "most", least)};
}

std::size_t adaptive_width(const graph::AdaptiveWindow& adaptive, const Weights& distances, float weight) {
    return adaptive.width({std::get<0>(distances), std::get<1>(distances), std::get<2>(distances)}, weight);
}

graph::BuildControl build_control(ThreadPool* pool, const CancelFlag* cancel, const nb::object& progress) {
    graph::BuildControl control{pool, cancel, {}};
    if (!progress.is_none()) {
        control.progress = [&progress](double share) {
            const nb::gil_scoped_acquire acquire;
            progress(share);
        };
    }
    return control;
}

void check_clusters(const graph::Clusters& clusters, std::size_t count) {
    for (std::size_t c = 0; c <= clusters.count; ++c) {
        const bool ordered = c == 0 ? clusters.starts[0] == 0 : clusters.starts[c] >= clusters.starts[c - 1];
        if (!ordered || (c == clusters.count && clusters.starts[c] != static_cast<std::int64_t>(count))) {
            throw nb::value_error(
                "cluster_starts: expected an ascending sequence from 0 to the number of vectors");
        }
    }
    for (std::size_t i = 0; i < clusters.count * clusters.probe_count; ++i) {
        if (clusters.probes[i] < 0 || static_cast<std::size_t>(clusters.probes[i]) >= clusters.count) {
            throw nb::value_error("probes: expected cluster numbers");
        }
    }
}

nb::object link_clusters(nb::handle vectors, nb::handle scales, nb::handle cluster_starts, nb::handle probes,
                         std::int64_t candidates, std::int64_t degree, float alpha, ThreadPool* pool,
                         const CancelFlag* cancel, nb::object progress) {
    const BuildArrays arrays(vectors, scales);
    const ArrayView start_view(cluster_starts, "cluster_starts");
    if (!start_view.is(DType::i64, 1) || start_view.shape(0) < 2) start_view.reject("int64 [clusters + 1]");
    const std::size_t cluster_count = start_view.shape(0) - 1;
    const ArrayView probe_view(probes, "probes");
    if (!probe_view.is(DType::i32, 2) || probe_view.shape(0) != cluster_count) {
        probe_view.reject("int32 [" + std::to_string(cluster_count) + ", p]");
    }
    const graph::Clusters clusters{start_view.data<std::int64_t>(), cluster_count,
                                   probe_view.data<std::int32_t>(), probe_view.shape(1)};
    check_clusters(clusters, arrays.count());
    const graph::BuildParams params = build_params(degree, alpha);
    const std::size_t nearest = checked_size(candidates, "candidates", 1);
    const graph::BuildControl control = build_control(pool, cancel, progress);
    nb::object neighbours = empty_array(DType::u32, {arrays.count(), params.degree});
    const ArrayView out(neighbours, "neighbours", true);
    const nb::gil_scoped_release release;
    graph::link_clusters(arrays.rows(), clusters, nearest, params, control,
                         out.mutable_data<std::uint32_t>());
    return neighbours;
}

nb::object link_candidates(nb::handle vectors, nb::handle scales, std::int64_t first, nb::handle candidates,
                           std::int64_t degree, float alpha, ThreadPool* pool, const CancelFlag* cancel) {
    const BuildArrays arrays(vectors, scales);
    const ArrayView view(candidates, "candidates");
    if (!view.is(DType::i64, 2)) view.reject("int64 [rows, candidates]");
    const std::size_t begin = checked_size(first, "first", 0);
    if (begin + view.shape(0) > arrays.count())
        throw nb::value_error("candidates: more rows than there are vectors");
    const std::size_t all = view.shape(0) * view.shape(1);
    for (std::size_t i = 0; i < all; ++i) {
        if (view.data<std::int64_t>()[i] >= static_cast<std::int64_t>(arrays.count())) {
            throw nb::value_error("candidates: expected row numbers");
        }
    }
    const graph::BuildParams params = build_params(degree, alpha);
    nb::object neighbours = empty_array(DType::u32, {view.shape(0), params.degree});
    const ArrayView out(neighbours, "neighbours", true);
    const nb::gil_scoped_release release;
    graph::link_candidates(arrays.rows(), begin, view.shape(0), view.data<std::int64_t>(), view.shape(1),
                           params, {pool, cancel, {}}, out.mutable_data<std::uint32_t>());
    return neighbours;
}

void add_reverse(nb::handle vectors, nb::handle scales, nb::handle neighbours, float alpha, ThreadPool* pool,
                 const CancelFlag* cancel) {
    const BuildArrays arrays(vectors, scales);
    const ArrayView view(neighbours, "neighbours", true);
    if (!view.is(DType::u32, 2) || view.shape(0) != arrays.count()) view.reject("uint32 [n, degree]");
    const graph::BuildParams params = build_params(static_cast<std::int64_t>(view.shape(1)), alpha);
    const nb::gil_scoped_release release;
    graph::add_reverse(arrays.rows(), params, {pool, cancel, {}}, view.mutable_data<std::uint32_t>());
}

nb::tuple connect_and_order(nb::handle neighbours, std::int64_t entry) {
    const ArrayView view(neighbours, "neighbours", true);
    if (!view.is(DType::u32, 2)) view.reject("uint32 [n, degree]");
    const std::size_t count = view.shape(0);
    if (entry < 0 || static_cast<std::size_t>(entry) >= count)
        throw nb::value_error("entry: expected a node");
    nb::object order = empty_array(DType::u32, {count});
    std::size_t repaired;
    {
        const ArrayView out(order, "order", true);
        const nb::gil_scoped_release release;
        repaired =
            graph::connect_and_order(count, view.shape(1), static_cast<std::uint32_t>(entry),
                                     view.mutable_data<std::uint32_t>(), out.mutable_data<std::uint32_t>());
    }
    return nb::make_tuple(order, repaired);
}

}  // namespace

void register_graph(nb::module_& module) {
    module.attr("NO_NEIGHBOUR") = graph::kNoNeighbour;
    module.def("link_clusters", &link_clusters, "vectors"_a, "scales"_a, "cluster_starts"_a, "probes"_a,
               "candidates"_a, "degree"_a, "alpha"_a, "pool"_a = nb::none(), "cancel"_a = nb::none(),
               "progress"_a = nb::none(), nb::sig(kLinkClustersSignature), kLinkClustersDoc);
    module.def("link_candidates", &link_candidates, "vectors"_a, "scales"_a, "first"_a, "candidates"_a,
               "degree"_a, "alpha"_a, "pool"_a = nb::none(), "cancel"_a = nb::none(),
               nb::sig(kLinkCandidatesSignature), kLinkCandidatesDoc);
    module.def("add_reverse", &add_reverse, "vectors"_a, "scales"_a, "neighbours"_a, "alpha"_a,
               "pool"_a = nb::none(), "cancel"_a = nb::none(), nb::sig(kAddReverseSignature), kAddReverseDoc);
    module.def("connect_and_order", &connect_and_order, "neighbours"_a, "entry"_a, nb::sig(kConnectSignature),
               kConnectDoc);
    nb::class_<graph::AdaptiveWindow>(module, "GraphAdaptiveWindow", kAdaptiveDoc)
        .def("__init__", &make_adaptive, "weights"_a, "bias"_a, "least"_a, "most"_a,
             nb::sig(kAdaptiveSignature))
        .def("width", &adaptive_width, "distances"_a, "weight"_a = 1.0f, nb::sig(kWidthSignature), kWidthDoc);
    nb::class_<graph::FilterPlan>(module, "GraphFilterPlan", kPlanDoc)
        .def("__init__", &make_plan, "k"_a, "ef"_a, "rows_most"_a, "codes_most"_a, "after_scan"_a,
             "after_walk"_a, "expansions_least"_a, "expansions_per_row"_a, "agreement_least"_a,
             "in_flight"_a = 3, "adaptive"_a = nb::none(), nb::sig(kPlanSignature))
        .def_static("window", &allowed_window, "k"_a, "ef"_a, "allowed"_a, "count"_a,
                    nb::sig(kWindowSignature), kWindowDoc);
    nb::class_<Graph>(module, "Graph", kGraphDoc)
        .def(nb::init<nb::handle, nb::handle, nb::handle, nb::handle, std::int64_t, std::int64_t,
                      std::int64_t, nb::handle, std::int64_t, std::int64_t, bool, nb::handle, nb::handle,
                      std::string_view, nb::handle, float, nb::handle, nb::handle, nb::handle, nb::handle>(),
             "neighbours"_a, "entries"_a, "row_of"_a, "primary"_a.none(), "primary_bits"_a, "primary_dims"_a,
             "primary_stride"_a, "secondary"_a.none(), "secondary_bits"_a, "secondary_stride"_a,
             "secondary_is_residual"_a, "rows"_a.none(), "row_scale"_a.none(), "metric"_a, "mean"_a,
             "scale"_a, "projection"_a.none(), "projection_sums"_a.none(), "projection_scales"_a.none(),
             "query_mean"_a = nb::none(), nb::sig(kGraphSignature))
        .def("search", &Graph::search, "queries"_a, "k"_a, "ef"_a, "rerank_secondary"_a, "rerank_exact"_a,
             "in_flight"_a = 3, "scan"_a = false, "allow"_a = nb::none(),
             "expansions_most"_a = std::numeric_limits<std::int64_t>::max(), "agreement_least"_a = 0.0f,
             "adaptive"_a = nb::none(), "pool"_a = nb::none(), "cancel"_a = nb::none(),
             nb::sig(kSearchSignature), kSearchDoc)
        .def("search_filtered", &Graph::search_filtered, "queries"_a, "plan"_a, "allow"_a,
             "pool"_a = nb::none(), "cancel"_a = nb::none(), nb::sig(kFilteredSignature), kFilteredDoc);
}

}  // namespace nearfield::bindings
