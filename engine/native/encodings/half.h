#pragma once

#include <cstdint>

namespace nearfield::encodings {

// IEEE 754 half precision, rounding to nearest even; values beyond its range become infinite.
std::uint16_t to_half(float value);
float from_half(std::uint16_t half);

}  // namespace nearfield::encodings
