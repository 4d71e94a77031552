// Included inside a tier's anonymous namespace.

// Exact widening of an IEEE 754 half without hardware.
float widen_half(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
    const std::uint32_t exponent = half >> 10 & 31u;
    const std::uint32_t fraction = half & 1023u;
    if (exponent == 0) {
        const float magnitude =
            static_cast<float>(fraction) * (1.0f / 16777216.0f);  // subnormal: multiples of 2^-24
        return sign != 0 ? -magnitude : magnitude;
    }
    const std::uint32_t bits =
        sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
