#include "encodings/half.h"

#include <bit>
#include <cmath>

namespace nearfield::encodings {

std::uint16_t to_half(float value) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
    if (magnitude < 0x38800000u) {  // subnormal: a multiple of 2^-24
        return static_cast<std::uint16_t>(
            sign | static_cast<std::uint32_t>(std::nearbyint(std::fabs(value) * 16777216.0f)));
    }
    const std::uint32_t rebased = magnitude - 0x38000000u;
    return static_cast<std::uint16_t>(sign | (rebased + 0xfffu + (rebased >> 13 & 1u)) >> 13);
}

float from_half(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
    const std::uint32_t exponent = half >> 10 & 31u;
    const std::uint32_t fraction = half & 1023u;
    if (exponent == 0) {
        const float magnitude = static_cast<float>(fraction) / 16777216.0f;
        return sign != 0 ? -magnitude : magnitude;
    }
    return std::bit_cast<float>(sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) |
                                fraction << 13);
}

}  // namespace nearfield::encodings
