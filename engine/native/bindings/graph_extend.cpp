#include <nanobind/nanobind.h>

#include <string>

#include "bindings/array_view.h"
#include "bindings/build_arrays.h"
#include "bindings/register.h"
#include "core/cancel_flag.h"
#include "core/thread_pool.h"
#include "graph/extend.h"
#include "graph/graph_view.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace nearfield::bindings {
namespace {

constexpr const char* kDropSignature =
    "def drop_nodes(vectors: numpy.typing.NDArray[numpy.int8], scales: numpy.typing.NDArray[numpy.float32], "
    "neighbours: numpy.typing.NDArray[numpy.uint32], place: numpy.typing.NDArray[numpy.uint32], candidates: "
    "int, alpha: float, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> "
    "numpy.typing.NDArray[numpy.uint32]";

constexpr const char* kDropDoc =
    R"(The lists of the nodes that stay when others leave a graph, linked past those that leave.

Args:
    vectors: int8 [m, d rounded up to 64], zero-padded, C-contiguous; those that stay come first, in order.
    scales: float32 [m], of one step of each vector.
    neighbours: uint32 [n, degree], padded with NO_NEIGHBOUR.
    place: uint32 [n], numbers 0, 1, ... of the nodes that stay, NO_NEIGHBOUR for those that leave.
    candidates: nearest nodes that take part when a list is pruned again.
    alpha: of the pruning, on squared distances, at least 1.
    pool: whose threads share the work; the result does not depend on them.
    cancel: polled now and then.

Returns:
    uint32 [nodes that stay, degree], padded with NO_NEIGHBOUR; as they were where no neighbour leaves.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kAddSignature =
    "def add_nodes(vectors: numpy.typing.NDArray[numpy.int8], scales: numpy.typing.NDArray[numpy.float32], "
    "first: int, forward: numpy.typing.NDArray[numpy.uint32], neighbours: "
    "numpy.typing.NDArray[numpy.uint32], alpha: float, pool: ThreadPool | None = None, cancel: CancelFlag | "
    "None = None) -> None";

constexpr const char* kAddDoc =
    R"(Give some nodes their lists, and every node these name an edge back; prune what becomes too long.

Args:
    vectors: int8 [n, d rounded up to 64], zero-padded, C-contiguous.
    scales: float32 [n], of one step of each vector.
    first: node that forward[0] belongs to.
    forward: uint32 [m, degree], padded with NO_NEIGHBOUR.
    neighbours: uint32 [n, degree], padded with NO_NEIGHBOUR; changed.
    alpha: of the pruning, on squared distances, at least 1.
    pool: whose threads share the work; the result does not depend on them.
    cancel: polled now and then.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kRaiseSignature =
    "def raise_in_degrees(neighbours: numpy.typing.NDArray[numpy.uint32], least: int) -> int";

constexpr const char* kRaiseDoc =
    R"(Put nodes that few lists name into the lists of their own neighbours, for a neighbour that many name.

Args:
    neighbours: uint32 [n, degree], padded with NO_NEIGHBOUR; changed.
    least: lists that should name every node.

Returns:
    How many lists were changed.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.)";

constexpr const char* kNameSignature =
    "def name_nodes(neighbours: numpy.typing.NDArray[numpy.uint32], least: int, nodes: "
    "numpy.typing.NDArray[numpy.uint32], by: numpy.typing.NDArray[numpy.int64]) -> None";

constexpr const char* kNameDoc =
    R"(Put nodes into the lists of given others, for a neighbour that more than 2 * least lists name.

Args:
    neighbours: uint32 [n, degree], padded with NO_NEIGHBOUR; changed.
    least: lists that should name every node.
    nodes: uint32 [m].
    by: int64 [m, c], whose lists are to name each; -1 pads.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.)";

void check_lists(const ArrayView& lists, std::size_t nodes) {
    const auto* data = lists.data<std::uint32_t>();
    for (std::size_t i = 0; i < lists.shape(0) * lists.shape(1); ++i) {
        if (data[i] < nodes || data[i] == graph::kNoNeighbour) continue;
        raise_value_error(std::string(lists.name()) + ": " + std::to_string(data[i]) + " at " +
                          std::to_string(i) + " is outside the " + std::to_string(nodes) + " nodes");
    }
}

// How many nodes stay.
std::size_t checked_places(const ArrayView& place, std::size_t vectors) {
    std::size_t next = 0;
    for (std::size_t i = 0; i < place.shape(0); ++i) {
        const std::uint32_t number = place.data<std::uint32_t>()[i];
        if (number == graph::kNoNeighbour) continue;
        if (number != next) raise_value_error("place: expected 0, 1, 2, ... for the nodes that stay");
        ++next;
    }
    if (next > vectors) raise_value_error("place: more nodes stay than there are vectors");
    return next;
}

nb::object drop_nodes(nb::handle vectors, nb::handle scales, nb::handle neighbours, nb::handle place,
                      std::int64_t candidates, float alpha, ThreadPool* pool, const CancelFlag* cancel) {
    const BuildArrays arrays(vectors, scales);
    const ArrayView lists(neighbours, "neighbours");
    if (!lists.is(DType::u32, 2)) lists.reject("uint32 [n, degree]");
    const ArrayView places(place, "place");
    expect(places, DType::u32, {lists.shape(0)});
    check_lists(lists, lists.shape(0));
    const std::size_t staying = checked_places(places, arrays.count());
    const graph::BuildParams params = build_params(static_cast<std::int64_t>(lists.shape(1)), alpha);
    const std::size_t nearest = checked_size(candidates, "candidates", 1);
    nb::object kept = empty_array(DType::u32, {staying, params.degree});
    const ArrayView out(kept, "kept", true);
    const graph::OldGraph old{lists.data<std::uint32_t>(), lists.shape(0), places.data<std::uint32_t>()};
    const nb::gil_scoped_release release;
    graph::drop_nodes(arrays.rows(), old, nearest, params, {pool, cancel, {}},
                      out.mutable_data<std::uint32_t>());
    return kept;
}

void add_nodes(nb::handle vectors, nb::handle scales, std::int64_t first, nb::handle forward,
               nb::handle neighbours, float alpha, ThreadPool* pool, const CancelFlag* cancel) {
    const BuildArrays arrays(vectors, scales);
    const ArrayView lists(neighbours, "neighbours", true);
    if (!lists.is(DType::u32, 2) || lists.shape(0) != arrays.count()) lists.reject("uint32 [n, degree]");
    const ArrayView entering(forward, "forward");
    if (!entering.is(DType::u32, 2) || entering.shape(1) != lists.shape(1)) {
        entering.reject("uint32 [m, " + std::to_string(lists.shape(1)) + "]");
    }
    const std::size_t begin = checked_size(first, "first", 0);
    if (begin + entering.shape(0) > arrays.count())
        raise_value_error("forward: more lists than there are vectors from `first` on");
    check_lists(lists, arrays.count());
    check_lists(entering, arrays.count());
    const graph::BuildParams params = build_params(static_cast<std::int64_t>(lists.shape(1)), alpha);
    const nb::gil_scoped_release release;
    graph::add_nodes(arrays.rows(), begin, entering.shape(0), entering.data<std::uint32_t>(), params,
                     {pool, cancel, {}}, lists.mutable_data<std::uint32_t>());
}

std::size_t raise_in_degrees(nb::handle neighbours, std::int64_t least) {
    const ArrayView lists(neighbours, "neighbours", true);
    if (!lists.is(DType::u32, 2)) lists.reject("uint32 [n, degree]");
    check_lists(lists, lists.shape(0));
    const std::size_t wanted = checked_size(least, "least", 0);
    const nb::gil_scoped_release release;
    return graph::raise_in_degrees(lists.shape(0), lists.shape(1), wanted,
                                   lists.mutable_data<std::uint32_t>());
}

void name_nodes(nb::handle neighbours, std::int64_t least, nb::handle nodes, nb::handle by) {
    const ArrayView lists(neighbours, "neighbours", true);
    if (!lists.is(DType::u32, 2)) lists.reject("uint32 [n, degree]");
    const ArrayView node_view(nodes, "nodes");
    if (!node_view.is(DType::u32, 1)) node_view.reject("uint32 [m]");
    const ArrayView by_view(by, "by");
    if (!by_view.is(DType::i64, 2) || by_view.shape(0) != node_view.shape(0)) by_view.reject("int64 [m, c]");
    const std::size_t count = lists.shape(0);
    check_lists(lists, count);
    for (std::size_t i = 0; i < node_view.shape(0); ++i) {
        if (node_view.data<std::uint32_t>()[i] >= count) raise_value_error("nodes: expected nodes");
    }
    for (std::size_t i = 0; i < by_view.shape(0) * by_view.shape(1); ++i) {
        if (by_view.data<std::int64_t>()[i] >= static_cast<std::int64_t>(count))
            raise_value_error("by: expected nodes");
    }
    const std::size_t wanted = checked_size(least, "least", 0);
    const nb::gil_scoped_release release;
    graph::name_nodes(count, lists.shape(1), wanted, node_view.data<std::uint32_t>(), node_view.shape(0),
                      by_view.data<std::int64_t>(), by_view.shape(1), lists.mutable_data<std::uint32_t>());
}

}  // namespace

void register_graph_extend(nb::module_& module) {
    module.def("drop_nodes", &drop_nodes, "vectors"_a, "scales"_a, "neighbours"_a, "place"_a, "candidates"_a,
               "alpha"_a, "pool"_a = nb::none(), "cancel"_a = nb::none(), nb::sig(kDropSignature), kDropDoc);
    module.def("add_nodes", &add_nodes, "vectors"_a, "scales"_a, "first"_a, "forward"_a, "neighbours"_a,
               "alpha"_a, "pool"_a = nb::none(), "cancel"_a = nb::none(), nb::sig(kAddSignature), kAddDoc);
    module.def("raise_in_degrees", &raise_in_degrees, "neighbours"_a, "least"_a, nb::sig(kRaiseSignature),
               kRaiseDoc);
    module.def("name_nodes", &name_nodes, "neighbours"_a, "least"_a, "nodes"_a, "by"_a,
               nb::sig(kNameSignature), kNameDoc);
}

}  // namespace nearfield::bindings
