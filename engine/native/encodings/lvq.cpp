#include "encodings/lvq.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "encodings/half.h"

namespace nearfield::encodings {
namespace {

// Shares of a row's range that are tried when clipping; 1 keeps all of it.
constexpr float kShrinks[] = {1.0f, 0.92f, 0.85f, 0.78f, 0.72f, 0.66f, 0.6f};

struct Affine {
    float bias;
    float step;
};

// The stored constants are rounded to half precision before any code is computed with them.
Affine stored(float low, float high, float levels) {
    const float bias = from_half(to_half(low));
    const float step = from_half(to_half((high - low) / levels));
    return {bias, step > 0.0f ? step : 1.0f};
}

float quantize(const float* row, std::size_t dims, Affine affine, float levels, float* codes) {
    const float inverse = 1.0f / affine.step;
    float error = 0.0f;
    for (std::size_t i = 0; i < dims; ++i) {
        // Round to nearest even without a library call: adding 1.5 * 2^23 drops the fraction.
        float code = (row[i] - affine.bias) * inverse;
        code = code < 0.0f ? 0.0f : (code > levels ? levels : code);
        code = (code + 12582912.0f) - 12582912.0f;
        codes[i] = code;
        const float off = row[i] - (affine.bias + affine.step * code);
        error += off * off;
    }
    return error;
}

// Least squares of row ~ bias + step * codes.
Affine fitted(const float* row, std::size_t dims, const float* codes, Affine fallback) {
    float sum_code = 0.0f, sum_row = 0.0f, sum_square = 0.0f, sum_product = 0.0f;
    for (std::size_t i = 0; i < dims; ++i) {
        sum_code += codes[i];
        sum_row += row[i];
        sum_square += codes[i] * codes[i];
        sum_product += codes[i] * row[i];
    }
    const auto n = static_cast<float>(dims);
    const float spread = n * sum_square - sum_code * sum_code;
    if (!(spread > 0.0f)) return fallback;
    const float step = (n * sum_product - sum_code * sum_row) / spread;
    if (!(step > 0.0f)) return fallback;
    return stored((sum_row - step * sum_code) / n, (sum_row - step * sum_code) / n + step, 1.0f);
}

void pack(const float* codes, const CodeLayout& layout, std::uint8_t* out) {
    if (layout.bits == 8) {
        for (std::size_t i = 0; i < layout.dims; ++i) out[i] = static_cast<std::uint8_t>(codes[i]);
        return;
    }
    for (std::size_t b = 0; b < layout.blocks(); ++b) {
        const std::size_t first = b * 2 * CodeLayout::kBlock;
        const std::size_t half = layout.half(b);
        for (std::size_t i = 0; i < half; ++i) {
            const auto low = static_cast<unsigned>(codes[first + i]);
            const bool has_high = first + half + i < layout.dims;
            const unsigned high = has_high ? static_cast<unsigned>(codes[first + half + i]) : 0u;
            out[b * CodeLayout::kBlock + i] = static_cast<std::uint8_t>(low | high << 4);
        }
    }
}

}  // namespace

void encode_lvq(const float* rows, std::size_t count, const CodeLayout& layout, const LvqOptions& options,
                const float* norms, std::uint8_t* out, std::size_t stride) {
    const std::size_t dims = layout.dims;
    const float levels = layout.bits == 4 ? 15.0f : 255.0f;
    std::vector<float> best(dims), codes(dims);
    for (std::size_t r = 0; r < count; ++r) {
        const float* row = rows + r * dims;
        const auto [low, high] = std::minmax_element(row, row + dims);
        const float middle = (*low + *high) / 2.0f;
        const float reach = (*high - *low) / 2.0f;
        Affine chosen = stored(*low, *high, levels);
        float least = quantize(row, dims, chosen, levels, best.data());
        const auto consider = [&](Affine affine) {
            const float error = quantize(row, dims, affine, levels, codes.data());
            if (error < least) {
                least = error;
                chosen = affine;
                best.swap(codes);
            }
        };
        if (options.clip) {
            for (const float shrink : kShrinks) {
                consider(stored(middle - shrink * reach, middle + shrink * reach, levels));
            }
            consider(fitted(row, dims, best.data(), chosen));
        }
        std::uint8_t* target = out + r * stride;
        std::memset(target, 0, stride);
        pack(best.data(), layout, target);
        float norm = 0.0f;
        for (std::size_t i = 0; i < dims; ++i) {
            const float x = chosen.bias + chosen.step * best[i];
            norm += x * x;
        }
        if (norms != nullptr) norm = norms[r];
        const std::uint16_t constants[2] = {to_half(chosen.step), to_half(chosen.bias)};
        std::memcpy(target + stride - CodeLayout::kTail, constants, sizeof constants);
        std::memcpy(target + stride - sizeof norm, &norm, sizeof norm);
    }
}

void decode_lvq(const std::uint8_t* rows, std::size_t count, const CodeLayout& layout, std::size_t stride,
                float* out) {
    for (std::size_t r = 0; r < count; ++r) {
        const std::uint8_t* row = rows + r * stride;
        std::uint16_t constants[2];
        std::memcpy(constants, row + stride - CodeLayout::kTail, sizeof constants);
        const float step = from_half(constants[0]);
        const float bias = from_half(constants[1]);
        float* target = out + r * layout.dims;
        for (std::size_t i = 0; i < layout.dims; ++i) {
            unsigned code = row[i];
            if (layout.bits == 4) {
                const std::size_t block = i / (2 * CodeLayout::kBlock);
                const std::size_t within = i % (2 * CodeLayout::kBlock);
                const std::size_t half = layout.half(block);
                const std::uint8_t pair = row[block * CodeLayout::kBlock + within % half];
                code = within < half ? pair & 15u : pair >> 4;
            }
            target[i] = bias + step * static_cast<float>(code);
        }
    }
}

void order_query(const std::int8_t* vector, const CodeLayout& layout, std::int8_t* out) {
    std::memset(out, 0, layout.blocks() * layout.dims_per_block());
    if (layout.bits == 8) {
        std::memcpy(out, vector, layout.dims);
        return;
    }
    for (std::size_t b = 0; b < layout.blocks(); ++b) {
        const std::size_t first = b * 2 * CodeLayout::kBlock;
        const std::size_t half = layout.half(b);
        const std::size_t rest = std::min(half, layout.dims - first - half);
        std::memcpy(out + first, vector + first, half);
        std::memcpy(out + first + CodeLayout::kBlock, vector + first + half, rest);
    }
}

}  // namespace nearfield::encodings
