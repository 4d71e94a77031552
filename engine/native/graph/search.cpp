#include "graph/search.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "core/dispatch.h"
#include "graph/query_batch.h"
#include "graph/traversal.h"

namespace nearfield::graph {
namespace {

constexpr std::size_t kQueriesPerTask = 64;

}  // namespace

// What one thread searches with: queries made ready, and traversals that take turns.
struct Flight {
    explicit Flight(const GraphView& graph) : batch(graph, kernels()) {}

    QueryBatch batch;
    std::vector<std::unique_ptr<Traversal>> traversals;
};

Searcher::Searcher(const GraphView& graph) : graph_(graph) {}

Searcher::~Searcher() = default;

std::unique_ptr<Flight> Searcher::borrow() const {
    {
        const std::lock_guard lock(mutex_);
        if (!idle_.empty()) {
            auto flight = std::move(idle_.back());
            idle_.pop_back();
            return flight;
        }
    }
    return std::make_unique<Flight>(graph_);
}

void Searcher::give_back(std::unique_ptr<Flight> flight) const {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(flight));
}

SearchCounts Searcher::search_range(const SearchCall& call, std::size_t first, std::size_t last) const {
    auto flight = borrow();
    QueryBatch& batch = flight->batch;
    auto& traversals = flight->traversals;
    const std::size_t in_flight = std::min(std::max<std::size_t>(call.params.in_flight, 1), last - first);
    while (traversals.size() < in_flight) traversals.push_back(std::make_unique<Traversal>(graph_));
    SearchCounts counts{};
    std::size_t next = first;
    std::size_t batch_first = first;
    std::size_t batch_last = first;
    std::size_t active = 0;
    // Gives a traversal the next query that needs more than its first step; false when there is none.
    const auto feed = [&](Traversal& traversal) {
        while (traversal.idle() && next < last) {
            if (next == batch_last) {
                batch_first = next;
                batch_last = std::min(next + QueryBatch::kMost, last);
                batch.prepare(call.queries + next * graph_.dims, batch_last - batch_first);
            }
            const std::size_t k = call.params.k;
            traversal.begin(batch.at(next - batch_first), call.rows + next * k, call.distances + next * k);
            ++next;
        }
        return !traversal.idle();
    };
    for (std::size_t i = 0; i < in_flight; ++i) {
        traversals[i]->configure(call.params, call.allow, in_flight == 1);
        active += feed(*traversals[i]) ? 1 : 0;
    }
    while (active > 0) {
        for (std::size_t i = 0; i < in_flight; ++i) {
            Traversal& traversal = *traversals[i];
            if (traversal.idle()) continue;
            traversal.step(counts);
            if (traversal.idle() && !feed(traversal)) --active;
        }
    }
    give_back(std::move(flight));
    return counts;
}

SearchCounts Searcher::search(const SearchCall& call, ThreadPool* pool, const CancelFlag* cancel) const {
    std::atomic<std::uint64_t> distances{0};
    std::atomic<std::uint64_t> hops{0};
    const std::size_t threads = pool != nullptr ? pool->threads() : 1;
    const std::size_t per_task =
        std::min(kQueriesPerTask, std::max<std::size_t>(1, (call.query_count + threads - 1) / threads));
    const auto run = [&](std::size_t task) {
        if (cancel != nullptr && cancel->is_set()) throw Cancelled();
        const std::size_t first = task * per_task;
        const SearchCounts counts = search_range(call, first, std::min(call.query_count, first + per_task));
        distances += counts.distances;
        hops += counts.hops;
    };
    const std::size_t tasks = (call.query_count + per_task - 1) / per_task;
    if (threads == 1) {
        for (std::size_t task = 0; task < tasks; ++task) run(task);
    } else {
        pool->parallel_for(tasks, run);
    }
    return {distances.load(), hops.load()};
}

}  // namespace nearfield::graph
