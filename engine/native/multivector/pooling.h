#pragma once

#include <cstddef>
#include <cstdint>

#include "multivector/fde.h"

namespace nearfield::multivector {

// Token pooling (arXiv 2409.14683): set i becomes the out_offsets[i + 1] - out_offsets[i] rows of `out` from
// out_offsets[i] on: its first `kept` tokens as they are, then the means of clusters of the others, in the
// order of their first tokens. Clusters are Ward's on 1 - cosine. Where more rows than tokens are wanted the
// tokens are repeated. Sets longer than kPoolTokensMax are clustered in parts of that length.
struct PoolOptions {
    std::size_t kept;
    bool normalize;  // means are brought to unit length
};

inline constexpr std::size_t kPoolTokensMax = 1024;

void pool_sets(const Work& work, const TokenSets& sets, const std::int64_t* out_offsets,
               const PoolOptions& options, float* out);

}  // namespace nearfield::multivector
