// A searchable graph as plain memory: every array may be a read-only memory map.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/kernel_table.h"
#include "encodings/code_layout.h"
#include "graph/adaptive_window.h"

namespace nearfield::graph {

inline constexpr std::uint32_t kNoNeighbour = 0xffffffffu;

// Code rows and how they are laid out; `rows` is nullptr when the stage does not exist.
struct CodeRows {
    encodings::CodeLayout layout;
    std::size_t stride;
    const std::uint8_t* rows;
};

// Nodes are numbered in the order they are stored in; `row_of` gives the number of a node's row.
struct GraphView {
    std::size_t count;
    std::size_t degree;
    const std::uint32_t* neighbours;  // [count, degree], kNoNeighbour ends a shorter list; may be damaged
    const std::uint32_t* entries;     // [entry_count] nodes a search may start from
    std::size_t entry_count;
    CodeRows primary;            // of the projected vectors: what the traversal reads; without them, `rows`
    CodeRows secondary;          // of the whole vectors: what the buffer is re-ranked with
    bool secondary_is_residual;  // secondary codes are of what the primary ones leave: estimates add up
    const void* rows;            // [row_count, dims] full precision by row number, or nullptr
    RowType row_type;
    std::size_t row_count;
    const float* row_scale;        // [row_count], factor of a row's distance; nullptr: 1
    const std::uint32_t* row_of;   // [count]
    const std::uint32_t* node_of;  // [row_count], kNoNeighbour where a row has no node
    Metric metric;                 // l2 or ip
    std::size_t dims;
    const float* mean;  // [dims], subtracted before encoding
    float scale;        // then multiplied by this, so that the constants of codes fit half precision
    const std::int8_t* projection;  // [primary.layout.dims, projection_stride], nullptr: none
    const std::int32_t* projection_sums;
    const float* projection_scales;
    std::size_t projection_stride;      // dims rounded up to 64
    const float* query_mean = nullptr;  // [dims] of unit queries, where norms are of it; ip only
};

inline std::size_t row_bytes(const GraphView& graph) {
    return graph.dims * (graph.row_type == RowType::f32 ? 4 : graph.row_type == RowType::f16 ? 2 : 1);
}

struct SearchCounts {
    std::uint64_t distances;  // nodes scored by the traversal
    std::uint64_t hops;       // nodes expanded
};

struct SearchParams {
    std::size_t k;
    // `ef`: the traversal ends when the nearest `window` have been expanded; with a filter, all that are no
    // further than the window-th nearest allowed one.
    std::size_t window;
    std::size_t rerank_secondary;  // of the buffer, re-scored with the secondary codes
    std::size_t rerank_exact;      // of those, re-scored with full-precision rows
    std::size_t in_flight;         // queries a thread interleaves
    bool scan;                     // score every allowed node instead of walking the graph
    // A query gets no answer if it would expand so many nodes, with a filter, or if the order in which a
    // re-ranking found its candidates correlates less with the one it made of them.
    std::size_t expansions_most;
    float agreement_least;
    AdaptiveWindow adaptive{};  // without a filter, what becomes of `window`
};

}  // namespace nearfield::graph
