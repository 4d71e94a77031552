#pragma once

#include <cstddef>

namespace nearfield {

// Scales each row of [count, dims] to unit length in place and writes its former length to norms[count]. Rows
// without a direction (all zeros, or an infinity or NaN among them) are left as they are. Plain code in
// double on purpose: what gets stored must not depend on the CPU that stored it.
void normalize_rows(float* rows, std::size_t count, std::size_t dims, float* norms);

}  // namespace nearfield
