// AVX-512 tier (F, BW, VL, DQ, VNNI) of the MaxSim kernels: 16 query tokens a register, 64 products of codes
// at once.

#include <immintrin.h>

#include "kernels/maxsim_kernels.h"

namespace nearfield {
namespace {

#include "kernels/maxsim_registers_avx512.inl"

using Vec = __m512;
Vec zero() { return _mm512_setzero_ps(); }
Vec load(const float* from) { return _mm512_loadu_ps(from); }
void store(float* to, Vec a) { _mm512_storeu_ps(to, a); }
Vec spread(const float* from) { return _mm512_set1_ps(*from); }
struct PairSplit {
    static constexpr bool kPays = true;  // one register and 16 tokens: 90 to 76 cycles a token on Zen 5
    static Vec spread(const float* from) {
        double pair;
        __builtin_memcpy(&pair, from, sizeof pair);
        return _mm512_castpd_ps(_mm512_set1_pd(pair));
    }
    static Vec first(Vec pair) { return _mm512_moveldup_ps(pair); }
    static Vec second(Vec pair) { return _mm512_movehdup_ps(pair); }
};
Vec multiply(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
Vec multiply_add(Vec a, Vec b, Vec sum) { return _mm512_fmadd_ps(a, b, sum); }
Vec largest(Vec a, Vec b) { return _mm512_max_ps(a, b); }
template <std::size_t Share>
Vec mix(const Vec* tokens) {
    if constexpr (Share == 1) return tokens[0];
    if constexpr (Share == 2) return _mm512_mask_blend_ps(0xff00, tokens[0], tokens[1]);
    return _mm512_mask_blend_ps(0xff00, _mm512_mask_blend_ps(0x00f0, tokens[0], tokens[1 % Share]),
                                _mm512_mask_blend_ps(0xf000, tokens[2 % Share], tokens[3 % Share]));
}
template <std::size_t Share>
Vec fold(Vec a) {
    if constexpr (Share >= 2) a = largest(a, _mm512_shuffle_f32x4(a, a, 0x4e));
    if constexpr (Share >= 4) a = largest(a, _mm512_shuffle_f32x4(a, a, 0xb1));
    return a;
}
float total(Vec a) { return _mm512_reduce_add_ps(a); }
Vec load_first(const float* from, std::size_t count) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1u), from);
}

constexpr std::size_t kWidened = 16;
void widen_some(const std::uint16_t* from, float* to) {
    store(to, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
}

using Code = std::uint8_t;  // of documents; those of queries are signed
using Codes = __m512i;
// Of the element type of the instruction: with __m512i, g++ 12 copies every sum to and fro and runs out of
// registers.
using Ints = int __attribute__((vector_size(64)));
constexpr std::size_t kGroup = 4;
Ints zero_ints() { return Ints{}; }
Codes load_codes(const Code* from) { return _mm512_loadu_si512(from); }
Codes spread_codes(const Code* from) {
    int group;
    __builtin_memcpy(&group, from, sizeof group);
    return _mm512_set1_epi32(group);
}
template <std::size_t Share>
Codes mix_codes(const Codes* tokens) {
    if constexpr (Share == 1) return tokens[0];
    if constexpr (Share == 2) return _mm512_mask_blend_epi32(0xff00, tokens[0], tokens[1]);
    return _mm512_mask_blend_epi32(0xff00, _mm512_mask_blend_epi32(0x00f0, tokens[0], tokens[1 % Share]),
                                   _mm512_mask_blend_epi32(0xf000, tokens[2 % Share], tokens[3 % Share]));
}
Ints add_products(Ints sums, Codes document, Codes query) {
    return reinterpret_cast<Ints>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sums), document, query));
}
Vec to_floats(Ints a) { return _mm512_cvtepi32_ps(reinterpret_cast<__m512i>(a)); }

void spread4(const std::uint8_t* block, Code* low, Code* high) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i codes = _mm512_loadu_si512(block);
    _mm512_storeu_si512(low, _mm512_and_si512(codes, nibble));
    _mm512_storeu_si512(high, _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble));
}
void spread8(const std::uint8_t* block, Code* out) { _mm512_storeu_si512(out, _mm512_loadu_si512(block)); }

void split_halves(const std::uint32_t* pairs, float* low, float* high) {
    const __m512i both = _mm512_loadu_si512(pairs);
    store(low, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(both)));
    store(high, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(both, 16))));
}

#include "kernels/maxsim_tiles.inl"

}  // namespace

const MaxSimKernels kAvx512MaxSimKernels = {
    "avx512",  kLanes,    kPanelVectors, kMostShare,  kGroup,       sizeof(Code),     widen,
    unpack<4>, unpack<8>, float_maxima,  code_maxima, weighted_sum, &kBf16TokenFilter};

}  // namespace nearfield
