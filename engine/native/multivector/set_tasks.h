#pragma once

#include <cstddef>
#include <functional>

#include "multivector/fde.h"

namespace nearfield::multivector {

// Runs task(first, last) over ranges of sets of about equal token counts, by the pool where there is one.
// Throws Cancelled soon after the flag is set.
void for_sets(const Work& work, const TokenSets& sets,
              const std::function<void(std::size_t first, std::size_t last)>& task);

// Runs task(first, last) over ranges of `size`, the last one shorter. Throws as `for_sets`.
void for_ranges(const Work& work, std::size_t count, std::size_t size,
                const std::function<void(std::size_t first, std::size_t last)>& task);

}  // namespace nearfield::multivector
