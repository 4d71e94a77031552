#include "core/unit_rows.h"

#include <cmath>

namespace nearfield {

void unit_rows(const float* rows, std::size_t count, std::size_t dims, float* out) {
    constexpr std::size_t kSums = 8;
    for (std::size_t r = 0; r < count; ++r, rows += dims, out += dims) {
        double sums[kSums] = {};
        std::size_t i = 0;
        for (; i + kSums <= dims; i += kSums) {
            for (std::size_t j = 0; j < kSums; ++j) sums[j] += double{rows[i + j]} * double{rows[i + j]};
        }
        for (; i < dims; ++i) sums[0] += double{rows[i]} * double{rows[i]};
        double total = 0.0;
        for (const double sum : sums) total += sum;
        const double norm = std::sqrt(total);
        const double scale = norm == 0.0 || !std::isfinite(norm) ? 1.0 : 1.0 / norm;
        for (i = 0; i < dims; ++i) out[i] = static_cast<float>(rows[i] * scale);
    }
}

}  // namespace nearfield
