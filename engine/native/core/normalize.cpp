#include "core/normalize.h"

#include <cmath>

namespace nearfield {

void normalize_rows(float* rows, std::size_t count, std::size_t dims, float* norms) {
    constexpr std::size_t kSums = 8;
    for (std::size_t r = 0; r < count; ++r) {
        float* row = rows + r * dims;
        double sums[kSums] = {};
        std::size_t i = 0;
        for (; i + kSums <= dims; i += kSums) {
            for (std::size_t j = 0; j < kSums; ++j) sums[j] += double{row[i + j]} * double{row[i + j]};
        }
        for (; i < dims; ++i) sums[0] += double{row[i]} * double{row[i]};
        double total = 0.0;
        for (const double sum : sums) total += sum;
        const double norm = std::sqrt(total);
        norms[r] = static_cast<float>(norm);
        if (norm == 0.0 || !std::isfinite(norm)) continue;
        const double scale = 1.0 / norm;
        for (i = 0; i < dims; ++i) row[i] = static_cast<float>(row[i] * scale);
    }
}

}  // namespace nearfield
