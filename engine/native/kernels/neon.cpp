// NEON tier (ARMv8-A with the CRC extension): 4 floats per register, 32 registers.

#include <arm_acle.h>
#include <arm_neon.h>

#include <cstring>

#include "core/kernel_table.h"
#include "kernels/bit_kernels.h"
#include "kernels/code_kernels.h"
#include "kernels/graph_kernels.h"
#include "kernels/maxsim_kernels.h"
#include "kernels/panel_product.h"

namespace nearfield {
namespace {

struct Half {
    std::uint16_t bits;
};

using Vec = float32x4_t;
constexpr std::size_t kLanes = 4;
constexpr std::size_t kRowsPerQueryTile = 4;  // 16 sums, 4 rows, 1 query and a temporary: 22 of 32 registers

Vec zero() { return vdupq_n_f32(0.0f); }
Vec subtract(Vec a, Vec b) { return vsubq_f32(a, b); }
Vec add(Vec a, Vec b) { return vaddq_f32(a, b); }
Vec absolute(Vec a) { return vabsq_f32(a); }
Vec multiply_add(Vec a, Vec b, Vec sum) { return vfmaq_f32(sum, a, b); }
float reduce(Vec a) { return vaddvq_f32(a); }

Vec load(const float* from) { return vld1q_f32(from); }
Vec load(const Half* from) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const std::uint16_t*>(from))));
}
Vec load(const std::uint8_t* from) {
    std::uint32_t four;
    std::memcpy(&four, from, sizeof four);
    const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(four));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
}

template <class Element>
Vec load_tail(const Element* from, std::size_t count) {
    Element padded[kLanes] = {};
    std::memcpy(padded, from, count * sizeof(Element));
    return load(padded);
}

// Inlined by force: g++ takes a function that only prefetches for one without effect, and drops the calls.
inline __attribute__((always_inline)) void prefetch(const void* line) { __builtin_prefetch(line); }

using Bits = uint64x2_t;
Bits zero_bits() { return vdupq_n_u64(0); }
Bits load_bits(const unsigned char* from) { return vreinterpretq_u64_u8(vld1q_u8(from)); }
Bits exclusive_or(Bits a, Bits b) { return veorq_u64(a, b); }
std::uint64_t fold(Bits a) { return vgetq_lane_u64(a, 0) ^ vgetq_lane_u64(a, 1); }

std::uint64_t load_word(const unsigned char* from) {
    std::uint64_t word;
    std::memcpy(&word, from, sizeof word);
    return word;
}
std::uint32_t crc_step(std::uint32_t crc, std::uint64_t word) { return __crc32cd(crc, word); }
std::uint32_t crc_step(std::uint32_t crc, unsigned char byte) { return __crc32cb(crc, byte); }

#include "kernels/crc32c_interleaved.inl"
#include "kernels/distance_tiles.inl"
#include "kernels/stream_read.inl"

}  // namespace

const KernelTable kNeonKernels = {
    "neon",
    {{distances<L2, float>, distances<L2, Half>, distances<L2, std::uint8_t>},
     {distances<Ip, float>, distances<Ip, Half>, distances<Ip, std::uint8_t>},
     {distances<L1, float>, distances<L1, Half>, distances<L1, std::uint8_t>}},
    crc32c,
    stream_read,
    &kBaselineBitKernels,
    &kNeonCodeKernels,
    &kBaselineGraphKernels,
    &kNeonMaxSimKernels,
    panel_product_neon,
};

}  // namespace nearfield
