#include "graph/range_search.h"

#include <algorithm>

namespace nearfield::graph {
namespace {

constexpr std::size_t kQueriesPerTask = 16;
// Walks go on over so many rows beyond the radius for each one within it: what the codes' errors put behind
// them grows with their number.
constexpr std::size_t kWithinPerBeyond = 8;

void collect(Walk& walk, const RangeCall& call, const float* query, std::vector<RankedRow>& within) {
    std::vector<RankedRow> block;
    std::size_t beyond = 0;
    walk.begin(query, call.allow);
    while (beyond < call.ef + within.size() / kWithinPerBeyond && walk.advance(block)) {
        for (const RankedRow& row : block) {
            if (row.distance <= call.radius) {
                within.push_back(row);
                beyond = 0;
            } else {
                ++beyond;
            }
        }
    }
    std::sort(within.begin(), within.end());
}

}  // namespace

std::vector<std::vector<RankedRow>> range_search(const GraphView& graph, const RangeCall& call,
                                                 ThreadPool* pool, const CancelFlag* cancel) {
    std::vector<std::vector<RankedRow>> within(call.query_count);
    const auto run = [&](std::size_t task) {
        Walk walk(graph);
        const std::size_t first = task * kQueriesPerTask;
        for (std::size_t i = first; i < std::min(call.query_count, first + kQueriesPerTask); ++i) {
            if (cancel != nullptr && cancel->is_set()) throw Cancelled();
            collect(walk, call, call.queries + i * graph.dims, within[i]);
        }
    };
    const std::size_t tasks = (call.query_count + kQueriesPerTask - 1) / kQueriesPerTask;
    if (pool == nullptr) {
        for (std::size_t task = 0; task < tasks; ++task) run(task);
    } else {
        pool->parallel_for(tasks, run);
    }
    return within;
}

}  // namespace nearfield::graph
