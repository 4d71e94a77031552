#include "multivector/responses.h"

#include <cstdint>
#include <numeric>
#include <vector>

#include "multivector/document_scorer.h"
#include "multivector/maxsim.h"
#include "multivector/packed_queries.h"
#include "multivector/set_tasks.h"

namespace nearfield::multivector {

void responses(const Work& work, const TokenSets& sets, const float* tokens, std::size_t count, float* out) {
    // Every token is a query of its own.
    std::vector<std::int64_t> bounds(count + 1);
    std::iota(bounds.begin(), bounds.end(), std::int64_t{0});
    const PackedQueries packed(work.kernels, {tokens, bounds.data(), count}, sets.dims, TokenType::f32);
    const Documents documents{reinterpret_cast<const unsigned char*>(sets.values),
                              TokenType::f32,
                              sets.dims,
                              sets.dims * sizeof(float),
                              sets.count,
                              sets.offsets,
                              0};
    for_ranges(work, sets.count, DocumentScorer::kBatch, [&](std::size_t first, std::size_t last) {
        DocumentScorer scorer(*work.kernels.maxsim, packed, documents);
        std::vector<std::int64_t> batch(last - first);
        std::iota(batch.begin(), batch.end(), static_cast<std::int64_t>(first));
        std::vector<float> found(count * batch.size());
        scorer.score(batch.data(), batch.size(), found.data());
        for (std::size_t i = 0; i < batch.size(); ++i) {
            for (std::size_t t = 0; t < count; ++t)
                out[(first + i) * count + t] = found[t * batch.size() + i];
        }
    });
}

}  // namespace nearfield::multivector
