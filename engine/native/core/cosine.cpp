#include "core/cosine.h"

#include <algorithm>

namespace nearfield {

void cosine_hits(std::int64_t* rows, float* products, std::size_t query_count, std::size_t k) {
    for (std::size_t i = 0; i < query_count * k; ++i) products[i] += 1.0f;
    for (std::size_t query = 0; query < query_count; ++query, rows += k, products += k) {
        const auto found = static_cast<std::size_t>(std::find(rows, rows + k, -1) - rows);
        for (std::size_t first = 0, last; first < found; first = last) {
            last = first + 1;
            while (last < found && products[last] == products[first]) ++last;
            std::sort(rows + first, rows + last);
        }
    }
}

}  // namespace nearfield
