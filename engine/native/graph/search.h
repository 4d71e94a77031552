#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/cancel_flag.h"
#include "core/thread_pool.h"
#include "graph/graph_view.h"

namespace nearfield::graph {

// A batch of queries, and where their answers go.
struct SearchCall {
    const float* queries;  // [query_count, dims]
    std::size_t query_count;
    SearchParams params;
    const std::uint64_t*
        allow;  // bitmap over row numbers, or nullptr; with one, fewer than k allowed rows may come back
    std::int64_t* rows;  // [query_count, k], -1 pads
    float* distances;    // [query_count, k], +inf pads: squared Euclidean, or the negated inner product
};

struct Flight;

// Searches one graph from any number of threads; keeps the workspaces of past searches for the next.
class Searcher {
public:
    // `graph` must outlive the searcher.
    explicit Searcher(const GraphView& graph);
    ~Searcher();

    // Throws Cancelled soon after `cancel` is set.
    SearchCounts search(const SearchCall& call, ThreadPool* pool, const CancelFlag* cancel) const;

private:
    std::unique_ptr<Flight> borrow() const;
    void give_back(std::unique_ptr<Flight> flight) const;
    SearchCounts search_range(const SearchCall& call, std::size_t first, std::size_t last) const;

    const GraphView& graph_;
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Flight>> idle_;
};

}  // namespace nearfield::graph
