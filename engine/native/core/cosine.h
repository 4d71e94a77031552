#pragma once

#include <cstddef>
#include <cstdint>

namespace nearfield {

// Makes the hits of `query_count` searches for negated inner products of unit vectors, k each, hits by cosine
// distance: 1 is added, which rounds, and what is equal then goes by row. Rows of -1 pad at the end.
void cosine_hits(std::int64_t* rows, float* products, std::size_t query_count, std::size_t k);

}  // namespace nearfield
