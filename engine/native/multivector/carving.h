// Query ball carving (MUVERA, arXiv 2405.19504, C.3): fewer query tokens before a re-rank.
#pragma once

#include <cstdint>
#include <vector>

#include "core/kernel_table.h"
#include "multivector/maxsim.h"

namespace nearfield::multivector {

struct Carved {
    std::vector<float> tokens;          // [offsets.back(), dims]
    std::vector<std::int64_t> offsets;  // [queries + 1]
};

// Replaces groups of a query's tokens by their sums. A group is the first token not yet in one, with all
// later such tokens whose inner product with it is at least `threshold`. Sums keep a document's MaxSim from
// rising: the largest product of a sum is at most the sum of the largest.
Carved carve(const KernelTable& kernels, const Queries& queries, std::size_t dims, float threshold);

}  // namespace nearfield::multivector
