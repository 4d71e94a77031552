// The floating-point parts of the code kernels in plain scalar code; included inside a tier's anonymous
// namespace.

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

void finish4(const std::uint8_t* const* rows, std::size_t tail, const std::int32_t* dots, float scale,
             float sum, float weight, float* out) {
    for (int i = 0; i < 4; ++i) {
        std::uint16_t step, bias;
        float norm;
        __builtin_memcpy(&step, rows[i] + tail, sizeof step);
        __builtin_memcpy(&bias, rows[i] + tail + 2, sizeof bias);
        __builtin_memcpy(&norm, rows[i] + tail + 4, sizeof norm);
        const float product = scale * widen_half(step) * static_cast<float>(dots[i]);
        out[i] = weight * norm - (sum * widen_half(bias) + product);
    }
}

QuantizedVector quantize(const float* values, std::size_t dims, std::int8_t* out) {
    float top = 0.0f;
    float sum = 0.0f;
    for (std::size_t i = 0; i < dims; ++i) {
        const float magnitude = __builtin_fabsf(values[i]);
        top = magnitude > top ? magnitude : top;
        sum += values[i];
    }
    const float inverse = top > 0.0f ? 127.0f / top : 0.0f;
    // Adding 1.5 * 2^23 rounds to nearest even, without a call to the mathematics library.
    for (std::size_t i = 0; i < dims; ++i) {
        out[i] = static_cast<std::int8_t>((values[i] * inverse + 12582912.0f) - 12582912.0f);
    }
    return {top / 127.0f, sum};
}
