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
constexpr float kHalfMost = 65504.0f;
constexpr float kHalfLeast = 1.0f / 16777216.0f;

// Four coordinates at a time, which every platform has registers for; sums do not depend on the platform.
constexpr std::size_t kLanes = 4;
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

Lanes load(const float* from) {
    Lanes lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

float total(const Lanes& sums) { return (sums[0] + sums[2]) + (sums[1] + sums[3]); }

struct Affine {
    float bias;
    float step;
};

struct Range {
    float low;
    float high;
};

Range range_of(const float* row, std::size_t dims) {
    Range range{row[0], row[0]};
    std::size_t i = 0;
    if (dims >= kLanes) {
        Lanes low = load(row), high = low;
        for (i = kLanes; i + kLanes <= dims; i += kLanes) {
            const Lanes x = load(row + i);
            low = x < low ? x : low;
            high = x > high ? x : high;
        }
        range = {std::min({low[0], low[1], low[2], low[3]}), std::max({high[0], high[1], high[2], high[3]})};
    }
    for (; i < dims; ++i) {
        range.low = std::min(range.low, row[i]);
        range.high = std::max(range.high, row[i]);
    }
    return range;
}

// What half precision can hold of a value; something that is no number is taken for the least.
float storable(float value, float least) {
    const float cut = value > least ? value : least;
    return from_half(to_half(cut < kHalfMost ? cut : kHalfMost));
}

// The stored constants are rounded to half precision before any code is computed with them. What is beyond
// its range is cut off there, a step below it takes its smallest, and a row without a range any step.
Affine stored(float low, float high, float levels) {
    const float reach = high / levels - low / levels;
    return {storable(low, -kHalfMost), reach > 0.0f ? storable(reach, kHalfLeast) : 1.0f};
}

// Codes of a row and their squared error. Adding 1.5 * 2^23 rounds to nearest even without a library call.
float quantize(const float* row, std::size_t dims, Affine affine, float levels, float* codes) {
    constexpr float kRound = 12582912.0f;
    const float inverse = 1.0f / affine.step;
    Lanes errors{};
    std::size_t i = 0;
    for (; i + kLanes <= dims; i += kLanes) {
        const Lanes x = load(row + i);
        Lanes code = (x - affine.bias) * inverse;
        code = code > 0.0f ? code : Lanes{};
        code = code < levels ? code : Lanes{} + levels;
        code = (code + kRound) - kRound;
        std::memcpy(codes + i, &code, sizeof code);
        const Lanes off = x - (affine.bias + affine.step * code);
        errors += off * off;
    }
    float error = total(errors);
    for (; i < dims; ++i) {
        float code = (row[i] - affine.bias) * inverse;
        code = code > 0.0f ? code : 0.0f;
        code = code < levels ? code : levels;
        codes[i] = (code + kRound) - kRound;
        const float off = row[i] - (affine.bias + affine.step * codes[i]);
        error += off * off;
    }
    return error;
}

struct Sums {
    float codes, row, squares, products;
};

Sums sums_of(const float* row, std::size_t dims, const float* codes) {
    Lanes code_sum{}, row_sum{}, squares{}, products{};
    std::size_t i = 0;
    for (; i + kLanes <= dims; i += kLanes) {
        const Lanes c = load(codes + i), x = load(row + i);
        code_sum += c;
        row_sum += x;
        squares += c * c;
        products += c * x;
    }
    Sums sums{total(code_sum), total(row_sum), total(squares), total(products)};
    for (; i < dims; ++i) {
        sums.codes += codes[i];
        sums.row += row[i];
        sums.squares += codes[i] * codes[i];
        sums.products += codes[i] * row[i];
    }
    return sums;
}

// Least squares of row ~ bias + step * codes.
Affine fitted(const float* row, std::size_t dims, const float* codes, Affine fallback) {
    const Sums sums = sums_of(row, dims, codes);
    const auto n = static_cast<float>(dims);
    const float spread = n * sums.squares - sums.codes * sums.codes;
    if (!(spread > 0.0f)) return fallback;
    const float step = (n * sums.products - sums.codes * sums.row) / spread;
    if (!(step > 0.0f)) return fallback;
    const float bias = (sums.row - step * sums.codes) / n;
    return stored(bias, bias + step, 1.0f);
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

void unpack(const std::uint8_t* row, const CodeLayout& layout, Affine affine, float* out) {
    if (layout.bits == 8) {
        for (std::size_t i = 0; i < layout.dims; ++i)
            out[i] = affine.bias + affine.step * static_cast<float>(row[i]);
        return;
    }
    for (std::size_t b = 0; b < layout.blocks(); ++b) {
        const std::uint8_t* block = row + b * CodeLayout::kBlock;
        const std::size_t first = b * 2 * CodeLayout::kBlock;
        const std::size_t half = layout.half(b);
        const std::size_t rest = std::min(half, layout.dims - first - half);
        for (std::size_t i = 0; i < half; ++i)
            out[first + i] = affine.bias + affine.step * static_cast<float>(block[i] & 15);
        for (std::size_t i = 0; i < rest; ++i)
            out[first + half + i] = affine.bias + affine.step * static_cast<float>(block[i] >> 4);
    }
}

void unpack(const CodeRowsView& codes, std::size_t at, float* out) {
    const std::uint8_t* row = codes.rows + at * codes.stride;
    std::uint16_t constants[2];
    std::memcpy(constants, row + codes.stride - CodeLayout::kTail, sizeof constants);
    unpack(row, codes.layout, {from_half(constants[1]), from_half(constants[0])}, out);
}

// Encodes one row after another; keeps the room that takes.
class RowEncoder {
public:
    RowEncoder(const CodeLayout& layout, bool clip)
        : layout_(layout),
          clip_(clip),
          levels_(layout.bits == 4 ? 15.0f : 255.0f),
          codes_(layout.dims),
          tried_(layout.dims),
          decoded_(layout.dims) {}

    // The codes and constants of `row` go to `out`, without the norm; returns what they stand for.
    const float* encode(const float* row, std::uint8_t* out, std::size_t stride) {
        const Affine chosen = choose(row);
        std::memset(out, 0, stride);
        pack(codes_.data(), layout_, out);
        const std::uint16_t constants[2] = {to_half(chosen.step), to_half(chosen.bias)};
        std::memcpy(out + stride - CodeLayout::kTail, constants, sizeof constants);
        for (std::size_t i = 0; i < layout_.dims; ++i) decoded_[i] = chosen.bias + chosen.step * codes_[i];
        return decoded_.data();
    }

private:
    // Leaves the codes in `codes_`.
    Affine choose(const float* row) {
        const std::size_t dims = layout_.dims;
        const auto [low, high] = range_of(row, dims);
        Affine chosen = stored(low, high, levels_);
        float least = quantize(row, dims, chosen, levels_, codes_.data());
        if (!clip_) return chosen;
        const auto consider = [&](Affine affine) {
            const float error = quantize(row, dims, affine, levels_, tried_.data());
            if (error < least) {
                least = error;
                chosen = affine;
                codes_.swap(tried_);
            }
        };
        const float middle = low / 2.0f + high / 2.0f;
        const float reach = high / 2.0f - low / 2.0f;
        for (const float shrink : kShrinks)
            consider(stored(middle - shrink * reach, middle + shrink * reach, levels_));
        consider(fitted(row, dims, codes_.data(), chosen));
        return chosen;
    }

    const CodeLayout layout_;
    const bool clip_;
    const float levels_;
    std::vector<float> codes_, tried_, decoded_;
};

float dot(const float* a, const float* b, std::size_t dims) {
    Lanes products{};
    std::size_t i = 0;
    for (; i + kLanes <= dims; i += kLanes) products += load(a + i) * load(b + i);
    float sum = total(products);
    for (; i < dims; ++i) sum += a[i] * b[i];
    return sum;
}

void store_norm(float norm, std::uint8_t* row, std::size_t stride) {
    std::memcpy(row + stride - sizeof norm, &norm, sizeof norm);
}

}  // namespace

void encode_lvq(const float* rows, std::size_t count, const CodeLayout& layout, const LvqOptions& options,
                const float* norms, std::uint8_t* out, std::size_t stride) {
    RowEncoder encoder(layout, options.clip);
    for (std::size_t r = 0; r < count; ++r) {
        const float* decoded = encoder.encode(rows + r * layout.dims, out + r * stride, stride);
        store_norm(norms != nullptr ? norms[r] : dot(decoded, decoded, layout.dims), out + r * stride,
                   stride);
    }
}

void encode_lvq_residual(const float* rows, std::size_t count, const CodeRowsView& first,
                         const CodeLayout& layout, const float* norms, std::uint8_t* out,
                         std::size_t stride) {
    RowEncoder encoder(layout, false);
    std::vector<float> base(layout.dims), residual(layout.dims);
    for (std::size_t r = 0; r < count; ++r) {
        unpack(first, r, base.data());
        for (std::size_t i = 0; i < layout.dims; ++i) residual[i] = rows[r * layout.dims + i] - base[i];
        const float* decoded = encoder.encode(residual.data(), out + r * stride, stride);
        const float growth =
            2.0f * dot(base.data(), decoded, layout.dims) + dot(decoded, decoded, layout.dims);
        store_norm(norms != nullptr ? norms[r] : growth, out + r * stride, stride);
    }
}

void decode_lvq(const CodeRowsView& codes, std::size_t count, float* out) {
    for (std::size_t r = 0; r < count; ++r) unpack(codes, r, out + r * codes.layout.dims);
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
