#pragma once

#include <cstddef>

namespace nearfield {

// Writes each row of [count, dims] scaled to unit length to `out`. Rows without a direction (all zeros, or an
// infinity or NaN among them) are copied as they are. Plain code in double on purpose: what gets
// stored must not depend on the CPU that stored it.
void unit_rows(const float* rows, std::size_t count, std::size_t dims, float* out);

}  // namespace nearfield
