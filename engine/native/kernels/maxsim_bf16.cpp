// What AVX-512 BF16 adds to the AVX-512 tier's MaxSim kernels: products of bfloat16, two of them for the time
// of one of floats, that tell which tokens can hold a maximum.

#include <immintrin.h>

#include "kernels/maxsim_kernels.h"

namespace nearfield {
namespace {

#include "kernels/maxsim_registers_avx512.inl"

using Vec = __m512;
using Code = std::uint16_t;  // bfloat16
using Codes = __m512i;
constexpr std::size_t kGroup = 2;
constexpr std::size_t kRegister = 32;   // bfloat16 of a register
constexpr std::size_t kFetchPairs = 8;  // a divisor of the pairs of one

Codes load_codes(const Code* from) { return _mm512_loadu_si512(from); }
Codes spread_codes(const Code* from) {
    int pair;
    __builtin_memcpy(&pair, from, sizeof pair);
    return _mm512_set1_epi32(pair);
}
template <std::size_t Share>
Codes mix_codes(const Codes* tokens) {
    if constexpr (Share == 1) return tokens[0];
    if constexpr (Share == 2) return _mm512_mask_blend_epi32(0xff00, tokens[0], tokens[1]);
    return _mm512_mask_blend_epi32(0xff00, _mm512_mask_blend_epi32(0x00f0, tokens[0], tokens[1 % Share]),
                                   _mm512_mask_blend_epi32(0xf000, tokens[2 % Share], tokens[3 % Share]));
}
Vec add_products(Vec sums, Codes document, Codes query) {
    return _mm512_dpbf16_ps(sums, reinterpret_cast<__m512bh>(document), reinterpret_cast<__m512bh>(query));
}

#include "kernels/maxsim_shapes.inl"

// Part i of the lanes, in the first part.
template <std::size_t Share>
Vec part(Vec a, std::size_t i) {
    if constexpr (Share == 2) return i == 0 ? a : _mm512_shuffle_f32x4(a, a, 0x4e);
    if constexpr (Share == 4) {
        if (i == 1) return _mm512_shuffle_f32x4(a, a, 0xb1);
        if (i == 2) return _mm512_shuffle_f32x4(a, a, 0x4e);
        if (i == 3) return _mm512_shuffle_f32x4(a, a, 0x1b);
    }
    return a;
}

struct RoundedTiles {
    using Tokens = RoundedTokens;
    static std::size_t steps(const Tokens& t) { return t.pairs / kFetchPairs; }

    template <std::size_t Vectors, std::size_t Rows, std::size_t Share>
    static void tile(const Tokens& t, std::size_t first, Fetcher& fetcher) {
        Sums<Vec, Vectors, Rows, Share> sums;
        clear(sums, _mm512_setzero_ps());
        const Code* tokens = t.tokens + first * t.stride;
        for (std::size_t pair = 0; pair < t.pairs; pair += kFetchPairs) {
            fetcher.step();
            multiply_groups(sums, t.panel + pair * Vectors * kLanes * kGroup, tokens + pair * kGroup,
                            t.stride, kFetchPairs);
        }
        float* out = t.products + first * Vectors * kLanes;
        Vec maxima[Vectors];
#pragma GCC unroll 16
        for (std::size_t v = 0; v < Vectors; ++v) maxima[v] = _mm512_loadu_ps(t.maxima + v * kLanes);
#pragma GCC unroll 16
        for (std::size_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
            for (std::size_t v = 0; v < Vectors; ++v) {
                const Vec products =
                    v + 1 < Vectors ? sums.whole[r][v] : part<Share>(sums.shared[r / Share], r % Share);
                maxima[v] = _mm512_max_ps(maxima[v], products);
                _mm512_storeu_ps(out + (r * Vectors + v) * kLanes, products);
            }
        }
#pragma GCC unroll 16
        for (std::size_t v = 0; v < Vectors; ++v) _mm512_storeu_ps(t.maxima + v * kLanes, maxima[v]);
    }
};

void rounded_maxima(const RoundedTokens& tokens) {
    if (tokens.share == 4) return maxima_of<RoundedTiles, kPanelVectors, 4>(tokens);
    if (tokens.share == 2) return maxima_of<RoundedTiles, kPanelVectors, 2>(tokens);
    maxima_of<RoundedTiles, kPanelVectors, 1>(tokens);
}

__mmask16 first_lanes(std::size_t count) {
    return static_cast<__mmask16>(count >= kLanes ? 0xffffu : (1u << count) - 1u);
}

Vec load_halves(const std::uint16_t* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

Vec load_first_halves(const std::uint16_t* from, std::size_t count) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(count), from));
}

void round_halves(const std::uint16_t* tokens, std::size_t count, std::size_t dims, std::size_t stride,
                  std::uint16_t* out, float* squares) {
    Vec largest = _mm512_loadu_ps(squares);
    for (std::size_t token = 0; token < count; ++token, tokens += dims, out += stride) {
        Vec sum = _mm512_setzero_ps();
        const auto write = [&](std::size_t k, Vec low, Vec high) {
            const __m512bh rounded = _mm512_cvtne2ps_pbh(high, low);
            sum = _mm512_dpbf16_ps(sum, rounded, rounded);
            _mm512_storeu_si512(out + k, reinterpret_cast<__m512i>(rounded));
        };
        std::size_t k = 0;
        for (; k + kRegister <= dims; k += kRegister) {
            write(k, load_halves(tokens + k), load_halves(tokens + k + kLanes));
        }
        if (k < dims) {
            const std::size_t left = dims - k;
            write(
                k, load_first_halves(tokens + k, left),
                left > kLanes ? load_first_halves(tokens + k + kLanes, left - kLanes) : _mm512_setzero_ps());
        }
        largest = _mm512_max_ps(largest, sum);
    }
    _mm512_storeu_ps(squares, largest);
}

template <std::size_t Vectors>
std::size_t list_near(const float* products, std::size_t count, const float* floors, std::uint32_t* near) {
    Vec floor[Vectors];
    for (std::size_t v = 0; v < Vectors; ++v) floor[v] = _mm512_loadu_ps(floors + v * kLanes);
    std::size_t found = 0;
    for (std::size_t token = 0; token < count; ++token, products += Vectors * kLanes) {
        unsigned reached = 0;
        for (std::size_t v = 0; v < Vectors; ++v) {
            reached |= _mm512_cmp_ps_mask(_mm512_loadu_ps(products + v * kLanes), floor[v], _CMP_NLT_UQ);
        }
        near[found] = static_cast<std::uint32_t>(token);
        found += reached != 0 ? 1 : 0;
    }
    return found;
}

std::size_t near_tokens(const float* products, std::size_t count, std::size_t vectors, const float* floors,
                        std::uint32_t* near) {
    if (vectors == 1) return list_near<1>(products, count, floors, near);
    if (vectors == 2) return list_near<2>(products, count, floors, near);
    return list_near<3>(products, count, floors, near);
}

bool usable() { return __builtin_cpu_supports("avx512bf16") != 0; }

}  // namespace

const TokenFilter kBf16TokenFilter = {kRegister, usable, round_halves, rounded_maxima, near_tokens};

}  // namespace nearfield
