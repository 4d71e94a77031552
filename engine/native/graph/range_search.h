#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/cancel_flag.h"
#include "core/thread_pool.h"
#include "graph/graph_view.h"
#include "graph/walk.h"

namespace nearfield::graph {

struct RangeCall {
    const float* queries;  // [query_count, dims]
    std::size_t query_count;
    float radius;
    std::size_t ef;  // so many rows in a row beyond the radius end a walk, or more where many are within
    const std::uint64_t* allow;  // bitmap over row numbers, or nullptr
};

// Per query the allowed rows no further than the radius, nearest first. `graph` needs full rows.
// Throws Cancelled soon after `cancel` is set.
std::vector<std::vector<RankedRow>> range_search(const GraphView& graph, const RangeCall& call,
                                                 ThreadPool* pool, const CancelFlag* cancel);

}  // namespace nearfield::graph
