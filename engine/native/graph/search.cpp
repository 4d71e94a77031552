#include "graph/search.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "graph/traversal.h"

namespace nearfield::graph {
namespace {

constexpr std::size_t kQueriesPerTask = 64;

}  // namespace

Searcher::Searcher(const GraphView& graph) : graph_(graph) {}

Searcher::~Searcher() = default;

std::unique_ptr<Traversal> Searcher::borrow() const {
    {
        const std::lock_guard lock(mutex_);
        if (!idle_.empty()) {
            auto traversal = std::move(idle_.back());
            idle_.pop_back();
            return traversal;
        }
    }
    return std::make_unique<Traversal>(graph_);
}

void Searcher::give_back(std::unique_ptr<Traversal> traversal) const {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(traversal));
}

SearchCounts Searcher::search_range(const SearchCall& call, std::size_t first, std::size_t last) const {
    std::vector<std::unique_ptr<Traversal>> flight(
        std::min(std::max<std::size_t>(call.params.in_flight, 1), last - first));
    SearchCounts counts{};
    std::size_t next = first;
    std::size_t active = 0;
    // Gives a traversal the next query that needs more than its first step; false when there is none.
    const auto feed = [&](Traversal& traversal) {
        while (traversal.idle() && next < last) {
            const std::size_t k = call.params.k;
            traversal.begin(call.queries + next * graph_.dims, call.rows + next * k,
                            call.distances + next * k);
            ++next;
        }
        return !traversal.idle();
    };
    for (auto& traversal : flight) {
        traversal = borrow();
        traversal->configure(call.params, call.allow, flight.size() == 1);
        active += feed(*traversal) ? 1 : 0;
    }
    while (active > 0) {
        for (auto& traversal : flight) {
            if (traversal->idle()) continue;
            traversal->step(counts);
            if (traversal->idle() && !feed(*traversal)) --active;
        }
    }
    for (auto& traversal : flight) give_back(std::move(traversal));
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
