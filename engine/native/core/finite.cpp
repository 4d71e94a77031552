#include "core/finite.h"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace nearfield {

bool all_finite(const float* values, std::size_t count) {
    constexpr std::uint32_t kExponent = 0x7f800000u;
    constexpr std::size_t kBlock = 4096;
    for (std::size_t start = 0; start < count; start += kBlock) {
        const std::size_t end = std::min(count, start + kBlock);
        std::uint32_t found = 0;
        for (std::size_t i = start; i < end; ++i)
            found |= (std::bit_cast<std::uint32_t>(values[i]) & kExponent) == kExponent ? 1u : 0u;
        if (found != 0) return false;
    }
    return true;
}

}  // namespace nearfield
