// NEON tier of the MaxSim kernels: 4 query tokens a register; codes are widened to 16 bits.

#include <arm_neon.h>

#include "kernels/maxsim_kernels.h"

namespace nearfield {
namespace {

constexpr std::size_t kLanes = 4;
constexpr std::size_t kPanelVectors = 4;
// 24 sums at most, 4 registers of query tokens and one broadcast.
constexpr std::size_t kMostShare = 1;
constexpr std::size_t rows_of(std::size_t vectors, std::size_t) { return vectors == 4 ? 6 : 8; }

using Vec = float32x4_t;
Vec zero() { return vdupq_n_f32(0.0f); }
Vec load(const float* from) { return vld1q_f32(from); }
void store(float* to, Vec a) { vst1q_f32(to, a); }
Vec spread(const float* from) { return vld1q_dup_f32(from); }
struct PairSplit {
    static constexpr bool kPays = false;
};
Vec multiply(Vec a, Vec b) { return vmulq_f32(a, b); }
Vec multiply_add(Vec a, Vec b, Vec sum) { return vfmaq_f32(sum, a, b); }
Vec largest(Vec a, Vec b) { return vmaxq_f32(a, b); }
template <std::size_t>
Vec mix(const Vec* tokens) {
    return tokens[0];
}
template <std::size_t>
Vec fold(Vec a) {
    return a;
}
float total(Vec a) { return vaddvq_f32(a); }
Vec load_first(const float* from, std::size_t count) {
    float padded[kLanes] = {};
    __builtin_memcpy(padded, from, count * sizeof *from);
    return load(padded);
}

constexpr std::size_t kWidened = 4;
void widen_some(const std::uint16_t* from, float* to) {
    store(to, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))));
}

using Code = std::int16_t;
using Codes = int16x4_t;
using Ints = int32x4_t;
constexpr std::size_t kGroup = 1;
Ints zero_ints() { return vdupq_n_s32(0); }
Codes load_codes(const Code* from) { return vld1_s16(from); }
Codes spread_codes(const Code* from) { return vld1_dup_s16(from); }
template <std::size_t>
Codes mix_codes(const Codes* tokens) {
    return tokens[0];
}
Ints add_products(Ints sums, Codes document, Codes query) { return vmlal_s16(sums, document, query); }
Vec to_floats(Ints a) { return vcvtq_f32_s32(a); }

void spread16(uint8x16_t bytes, Code* out) {
    vst1q_s16(out, vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))));
    vst1q_s16(out + 8, vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes))));
}
void spread4(const std::uint8_t* block, Code* low, Code* high) {
    for (int i = 0; i < 64; i += 16) spread16(vandq_u8(vld1q_u8(block + i), vdupq_n_u8(15)), low + i);
    for (int i = 0; i < 64; i += 16) spread16(vshrq_n_u8(vld1q_u8(block + i), 4), high + i);
}
void spread8(const std::uint8_t* block, Code* out) {
    for (int i = 0; i < 64; i += 16) spread16(vld1q_u8(block + i), out + i);
}

void split_halves(const std::uint32_t* pairs, float* low, float* high) {
    for (int i = 0; i < 16; i += 4) {
        const uint32x4_t both = vld1q_u32(pairs + i);
        store(low + i, vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(both))));
        store(high + i, vcvt_f32_f16(vreinterpret_f16_u16(vshrn_n_u32(both, 16))));
    }
}

#include "kernels/maxsim_tiles.inl"

}  // namespace

const MaxSimKernels kNeonMaxSimKernels = {"neon",       kLanes,       kPanelVectors, kMostShare, kGroup,
                                          sizeof(Code), widen,        unpack<4>,     unpack<8>,  float_maxima,
                                          code_maxima,  weighted_sum, nullptr};

}  // namespace nearfield
