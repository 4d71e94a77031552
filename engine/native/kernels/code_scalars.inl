// The floating-point parts of the code kernels in plain scalar code; included inside a tier's anonymous
// namespace.

#include "kernels/widen_half.inl"

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

std::uint64_t finish16(const std::int32_t* dots, const float* steps, const float* biases, float scale,
                       float sum, float limit, float* out) {
    std::uint64_t below = 0;
    for (int i = 0; i < 16; ++i) {
        const float product = scale * steps[i] * static_cast<float>(dots[i]);
        out[i] = 0.0f - (sum * biases[i] + product);
        below |= static_cast<std::uint64_t>(out[i] <= limit) << i;
    }
    return below;
}

void read_constants(const std::uint8_t* const* tails, const CodeLanes& lanes, std::size_t row) {
    for (int i = 0; i < 16; ++i) {
        std::uint16_t halves[2];
        __builtin_memcpy(halves, tails[i], sizeof halves);
        lanes.steps[row + i] = widen_half(halves[0]);
        lanes.biases[row + i] = widen_half(halves[1]);
    }
}

QuantizedVector quantize(const float* values, std::size_t dims, std::int8_t* out) {
    float top = 0.0f;
    for (std::size_t i = 0; i < dims; ++i) {
        const float magnitude = __builtin_fabsf(values[i]);
        top = magnitude > top ? magnitude : top;
    }
    const float inverse = top > 0.0f ? 127.0f / top : 0.0f;
    // Adding 1.5 * 2^23 rounds to nearest even, without a call to the mathematics library.
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < dims; ++i) {
        out[i] = static_cast<std::int8_t>((values[i] * inverse + 12582912.0f) - 12582912.0f);
        sum += out[i];
    }
    const float scale = top / 127.0f;
    return {scale, scale * static_cast<float>(sum)};
}
