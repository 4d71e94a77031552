#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/kernel_table.h"
#include "multivector/maxsim.h"

namespace nearfield::multivector {

// MaxSim by distances: similarity is the negative squared Euclidean distance or the negative sum of absolute
// differences. Documents of floats or halves. One thread's.
class DistanceScorer {
public:
    static constexpr std::size_t kBatch = 64;  // most documents at once

    DistanceScorer(const KernelTable& kernels, const Queries& queries, const Documents& documents,
                   Metric metric);

    // out[q * count + i] = MaxSim of query q with documents[i], none of which may be empty.
    void score(const std::int64_t* documents, std::size_t count, float* out);

private:
    void lower_nearest(std::size_t first, std::size_t count);

    DistanceKernel kernel_;
    const Queries& queries_;
    const Documents& documents_;
    std::vector<float> distances_;  // [query token][document token of a block]
    std::vector<float> nearest_;    // [query token]
};

}  // namespace nearfield::multivector
