// Building the graph, as batch computations that depend neither on the order of insertion nor on the number
// of threads: the nearest neighbours of every row within the clusters around it, robust pruning, reverse
// edges, and a repair of what cannot be reached. Searching that graph for every row gives better neighbours,
// for a second round.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "core/cancel_flag.h"
#include "core/thread_pool.h"

namespace nearfield::graph {

// Rows as int8 vectors; distances between them are squared Euclidean.
struct BuildRows {
    const std::int8_t* vectors;  // [count, stride]
    const float* scales;         // [count] of one step
    std::size_t count;
    std::size_t stride;  // a multiple of 64, zero-padded
};

// The rows lie in the order of their clusters.
struct Clusters {
    const std::int64_t* starts;  // [count + 1]
    std::size_t count;
    const std::int32_t*
        probes;  // [count, probe_count] clusters searched for the rows of one, itself included
    std::size_t probe_count;
};

struct BuildParams {
    std::size_t degree;
    float alpha;  // of the pruning, on squared distances, at least 1
};

struct BuildControl {
    ThreadPool* pool;  // or nullptr
    const CancelFlag* cancel;
    std::function<void(double)> progress;  // share of the call that is done, from any thread
};

// Lists of neighbours [count, degree] are nearest first and end with kNoNeighbour where shorter. All throw
// Cancelled.

// The pruned lists of every row from its `candidates` nearest rows in the clusters probed.
void link_clusters(const BuildRows& rows, const Clusters& clusters, std::size_t candidates,
                   const BuildParams& params, const BuildControl& control, std::uint32_t* neighbours);

// The pruned lists of the rows [first, first + row_count) from candidates [row_count, candidate_count]; those
// that are negative, or the row itself, are passed over.
void link_candidates(const BuildRows& rows, std::size_t first, std::size_t row_count,
                     const std::int64_t* candidates, std::size_t candidate_count, const BuildParams& params,
                     const BuildControl& control, std::uint32_t* neighbours);

// Joins the list of each row with the rows that point to it, and prunes what is too long, in place.
void add_reverse(const BuildRows& rows, const BuildParams& params, const BuildControl& control,
                 std::uint32_t* neighbours);

// Breadth-first order from `entry`: order[i] is the node to be stored at i. Nodes out of reach are first
// linked from a reachable near neighbour, so every node is reachable afterwards; returns how many had to be.
std::size_t connect_and_order(std::size_t count, std::size_t degree, std::uint32_t entry,
                              std::uint32_t* neighbours, std::uint32_t* order);

}  // namespace nearfield::graph
