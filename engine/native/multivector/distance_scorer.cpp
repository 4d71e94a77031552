#include "multivector/distance_scorer.h"

#include <algorithm>
#include <limits>

namespace nearfield::multivector {
namespace {

constexpr std::size_t kBlockTokens = 64;  // document tokens that all query tokens meet while they are cached
constexpr std::size_t kChains = 16;       // minima taken side by side, in registers

float smallest(const float* values, std::size_t count, float start) {
    float least[kChains];
    std::fill_n(least, kChains, start);
    std::size_t i = 0;
    for (; i + kChains <= count; i += kChains) {
        for (std::size_t j = 0; j < kChains; ++j) {
            least[j] = values[i + j] < least[j] ? values[i + j] : least[j];
        }
    }
    for (; i < count; ++i) least[0] = std::min(values[i], least[0]);
    return *std::min_element(least, least + kChains);
}

std::size_t token_count(const Queries& queries) {
    return static_cast<std::size_t>(queries.offsets[queries.count] - queries.offsets[0]);
}

}  // namespace

DistanceScorer::DistanceScorer(const KernelTable& kernels, const Queries& queries, const Documents& documents,
                               Metric metric)
    : kernel_(kernels.distances[static_cast<int>(metric)][static_cast<int>(
          documents.type == TokenType::f16 ? RowType::f16 : RowType::f32)]),
      queries_(queries),
      documents_(documents),
      distances_(token_count(queries) * kBlockTokens),
      nearest_(token_count(queries)) {}

void DistanceScorer::score(const std::int64_t* documents, std::size_t count, float* out) {
    for (std::size_t i = 0; i < count; ++i) {
        const auto document = static_cast<std::size_t>(documents[i]);
        const std::size_t last = documents_.end(document);
        std::fill(nearest_.begin(), nearest_.end(), std::numeric_limits<float>::infinity());
        for (std::size_t first = documents_.begin(document); first < last; first += kBlockTokens) {
            lower_nearest(first, std::min(kBlockTokens, last - first));
        }
        const float* nearest = nearest_.data();
        for (std::size_t q = 0; q < queries_.count; ++q) {
            float sum = 0.0f;
            for (std::int64_t t = queries_.offsets[q]; t < queries_.offsets[q + 1]; ++t) sum += *nearest++;
            out[q * count + i] = -sum;
        }
    }
}

void DistanceScorer::lower_nearest(std::size_t first, std::size_t count) {
    const std::size_t tokens = nearest_.size();
    const float* queries = queries_.tokens + static_cast<std::size_t>(queries_.offsets[0]) * documents_.dims;
    kernel_({queries, tokens, documents_.tokens + first * documents_.row_bytes, nullptr, count,
             documents_.dims, false, distances_.data(), kBlockTokens});
    for (std::size_t t = 0; t < tokens; ++t) {
        nearest_[t] = smallest(distances_.data() + t * kBlockTokens, count, nearest_[t]);
    }
}

}  // namespace nearfield::multivector
