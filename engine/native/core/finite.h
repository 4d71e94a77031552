#pragma once

#include <cstddef>

namespace nearfield {

// Whether none of the values is an infinity or a NaN.
bool all_finite(const float* values, std::size_t count);

}  // namespace nearfield
