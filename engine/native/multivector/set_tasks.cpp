#include "multivector/set_tasks.h"

#include <algorithm>
#include <vector>

namespace nearfield::multivector {
namespace {

constexpr std::int64_t kTokensPerTask = 4096;
constexpr std::size_t kSetsPerTask = 1024;

void run_all(const Work& work, std::size_t tasks, const std::function<void(std::size_t)>& task) {
    const auto run = [&](std::size_t number) {
        if (work.cancel != nullptr && work.cancel->is_set()) throw Cancelled();
        task(number);
    };
    if (work.pool != nullptr) {
        work.pool->parallel_for(tasks, run);
    } else {
        for (std::size_t number = 0; number < tasks; ++number) run(number);
    }
}

}  // namespace

void for_sets(const Work& work, const TokenSets& sets,
              const std::function<void(std::size_t first, std::size_t last)>& task) {
    std::vector<std::size_t> starts{0};
    for (std::size_t i = 1; i < sets.count; ++i) {
        const std::int64_t tokens = sets.offsets[i] - sets.offsets[starts.back()];
        if (tokens >= kTokensPerTask || i - starts.back() >= kSetsPerTask) starts.push_back(i);
    }
    run_all(work, sets.count == 0 ? 0 : starts.size(), [&](std::size_t number) {
        task(starts[number], number + 1 < starts.size() ? starts[number + 1] : sets.count);
    });
}

void for_ranges(const Work& work, std::size_t count, std::size_t size,
                const std::function<void(std::size_t first, std::size_t last)>& task) {
    run_all(work, (count + size - 1) / size,
            [&](std::size_t number) { task(number * size, std::min(count, (number + 1) * size)); });
}

}  // namespace nearfield::multivector
