// AVX2 tier of the MaxSim kernels: 8 query tokens a register. Codes are widened to 16 bits, because the sum
// of two products of 8-bit codes does not fit 16.

#include <immintrin.h>

#include "kernels/maxsim_kernels.h"

namespace nearfield {
namespace {

constexpr std::size_t kLanes = 8;
constexpr std::size_t kPanelVectors = 2;
constexpr std::size_t kMostShare = 2;
// 12 sums at most, 2 registers of query tokens, up to 2 broadcasts and their mixture.
constexpr std::size_t rows_of(std::size_t vectors, std::size_t) { return vectors == 2 ? 6 : 12; }

using Vec = __m256;
Vec zero() { return _mm256_setzero_ps(); }
Vec load(const float* from) { return _mm256_loadu_ps(from); }
void store(float* to, Vec a) { _mm256_storeu_ps(to, a); }
Vec spread(const float* from) { return _mm256_broadcast_ss(from); }
struct PairSplit {
    static constexpr bool kPays = false;
};
Vec multiply(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
Vec multiply_add(Vec a, Vec b, Vec sum) { return _mm256_fmadd_ps(a, b, sum); }
Vec largest(Vec a, Vec b) { return _mm256_max_ps(a, b); }
template <std::size_t Share>
Vec mix(const Vec* tokens) {
    if constexpr (Share == 1) return tokens[0];
    return _mm256_blend_ps(tokens[0], tokens[1 % Share], 0xf0);
}
template <std::size_t Share>
Vec fold(Vec a) {
    if constexpr (Share == 1) return a;
    return largest(a, _mm256_permute2f128_ps(a, a, 1));
}
float total(Vec a) {
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
Vec load_first(const float* from, std::size_t count) {
    float padded[kLanes] = {};
    __builtin_memcpy(padded, from, count * sizeof *from);
    return load(padded);
}

constexpr std::size_t kWidened = 8;
void widen_some(const std::uint16_t* from, float* to) {
    store(to, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}

using Code = std::int16_t;
using Codes = __m256i;
using Ints = __m256i;
constexpr std::size_t kGroup = 2;
Ints zero_ints() { return _mm256_setzero_si256(); }
Codes load_codes(const Code* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
Codes spread_codes(const Code* from) {
    int group;
    __builtin_memcpy(&group, from, sizeof group);
    return _mm256_set1_epi32(group);
}
template <std::size_t Share>
Codes mix_codes(const Codes* tokens) {
    if constexpr (Share == 1) return tokens[0];
    return _mm256_blend_epi32(tokens[0], tokens[1 % Share], 0xf0);
}
Ints add_products(Ints sums, Codes document, Codes query) {
    return _mm256_add_epi32(sums, _mm256_madd_epi16(document, query));
}
Vec to_floats(Ints a) { return _mm256_cvtepi32_ps(a); }

void spread16(__m128i bytes, Code* out) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_cvtepu8_epi16(bytes));
}
void spread4(const std::uint8_t* block, Code* low, Code* high) {
    const __m128i nibble = _mm_set1_epi8(15);
    __m128i parts[4];
    for (int i = 0; i < 4; ++i) {
        parts[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 16 * i));
        spread16(_mm_and_si128(parts[i], nibble), low + 16 * i);
    }
    for (int i = 0; i < 4; ++i) spread16(_mm_and_si128(_mm_srli_epi16(parts[i], 4), nibble), high + 16 * i);
}
void spread8(const std::uint8_t* block, Code* out) {
    for (int i = 0; i < 64; i += 16) {
        spread16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block + i)), out + i);
    }
}

void split_halves(const std::uint32_t* pairs, float* low, float* high) {
    std::uint16_t halves[2][16];
    for (int i = 0; i < 16; ++i) {
        halves[0][i] = static_cast<std::uint16_t>(pairs[i]);
        halves[1][i] = static_cast<std::uint16_t>(pairs[i] >> 16);
    }
    for (int i = 0; i < 16; i += 8) {
        widen_some(halves[0] + i, low + i);
        widen_some(halves[1] + i, high + i);
    }
}

#include "kernels/maxsim_tiles.inl"

}  // namespace

const MaxSimKernels kAvx2MaxSimKernels = {"avx2",       kLanes,       kPanelVectors, kMostShare, kGroup,
                                          sizeof(Code), widen,        unpack<4>,     unpack<8>,  float_maxima,
                                          code_maxima,  weighted_sum, nullptr};

}  // namespace nearfield
