#include "multivector/carving.h"

#include <cstddef>

namespace nearfield::multivector {

Carved carve(const KernelTable& kernels, const Queries& queries, std::size_t dims, float threshold) {
    const DistanceKernel distances =
        kernels.distances[static_cast<int>(Metric::ip)][static_cast<int>(RowType::f32)];
    Carved carved;
    carved.offsets.push_back(0);
    std::vector<float> products;
    std::vector<bool> taken;
    for (std::size_t q = 0; q < queries.count; ++q) {
        const float* tokens = queries.tokens + static_cast<std::size_t>(queries.offsets[q]) * dims;
        const auto count = static_cast<std::size_t>(queries.offsets[q + 1] - queries.offsets[q]);
        taken.assign(count, false);
        products.resize(count);
        for (std::size_t first = 0; first < count; ++first) {
            if (taken[first]) continue;
            const std::size_t at = carved.tokens.size();
            carved.tokens.insert(carved.tokens.end(), tokens + first * dims, tokens + (first + 1) * dims);
            const std::size_t later = count - first - 1;
            if (later == 0) break;
            const float* rows = tokens + (first + 1) * dims;
            distances({tokens + first * dims, 1, rows, nullptr, later, dims, false, products.data(), later});
            for (std::size_t i = 0; i < later; ++i) {
                if (taken[first + 1 + i] || !(-products[i] >= threshold)) continue;
                taken[first + 1 + i] = true;
                for (std::size_t k = 0; k < dims; ++k) carved.tokens[at + k] += rows[i * dims + k];
            }
        }
        carved.offsets.push_back(static_cast<std::int64_t>(carved.tokens.size() / dims));
    }
    return carved;
}

}  // namespace nearfield::multivector
