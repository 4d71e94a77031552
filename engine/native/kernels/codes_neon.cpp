// NEON tier of the code kernels: products widened to 16 bits and added pairwise to 32.

#include <arm_neon.h>

#include "kernels/code_kernels.h"

namespace nearfield {
namespace {

using Sums = int32x4_t;

Sums zero_sums() { return vdupq_n_s32(0); }

Sums add_products(Sums sums, int8x16_t a, int8x16_t b) {
    sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    return vpadalq_s16(sums, vmull_s8(vget_high_s8(a), vget_high_s8(b)));
}

// Unsigned by signed: the unsigned side widened first, because it does not fit int8.
Sums add_mixed(Sums sums, uint8x16_t a, int8x16_t b) {
    const int16x8_t low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(a)));
    const int16x8_t high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(a)));
    const int16x8_t low_b = vmovl_s8(vget_low_s8(b));
    const int16x8_t high_b = vmovl_s8(vget_high_s8(b));
    sums = vmlal_s16(sums, vget_low_s16(low), vget_low_s16(low_b));
    sums = vmlal_s16(sums, vget_high_s16(low), vget_high_s16(low_b));
    sums = vmlal_s16(sums, vget_low_s16(high), vget_low_s16(high_b));
    return vmlal_s16(sums, vget_high_s16(high), vget_high_s16(high_b));
}

Sums add_dot4(Sums sums, const std::uint8_t* row, const std::int8_t* query) {
    for (int i = 0; i < 64; i += 16) {
        const uint8x16_t codes = vld1q_u8(row + i);
        sums = add_products(sums, vreinterpretq_s8_u8(vandq_u8(codes, vdupq_n_u8(15))), vld1q_s8(query + i));
        sums = add_products(sums, vreinterpretq_s8_u8(vshrq_n_u8(codes, 4)), vld1q_s8(query + 64 + i));
    }
    return sums;
}

Sums add_dot8(Sums sums, const std::uint8_t* row, const std::int8_t* query) {
    for (int i = 0; i < 64; i += 16) sums = add_mixed(sums, vld1q_u8(row + i), vld1q_s8(query + i));
    return sums;
}

Sums add_dot_signed(Sums sums, const std::int8_t* a, const std::int8_t* b) {
    for (int i = 0; i < 64; i += 16) {
        const uint8x16_t shifted = veorq_u8(vreinterpretq_u8_s8(vld1q_s8(a + i)), vdupq_n_u8(0x80));
        sums = add_mixed(sums, shifted, vld1q_s8(b + i));
    }
    return sums;
}

void reduce4(Sums a, Sums b, Sums c, Sums d, std::int32_t* out) {
    vst1q_s32(out, vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)));
}

constexpr int kLaneQueries = 2;

void lane_dots(const std::int8_t* const* queries, const std::uint8_t* codes, std::size_t quads,
               std::int32_t (*dots)[CodeLanes::kGroup]) {
    int32x4_t sums[kLaneQueries][8];  // two of a row's four products each
    for (auto& line : sums) {
        for (int32x4_t& sum : line) sum = vdupq_n_s32(0);
    }
    for (std::size_t quad = 0; quad < quads; ++quad) {
        int8x8_t query[kLaneQueries];
        for (int i = 0; i < kLaneQueries; ++i) {
            std::int32_t four;
            __builtin_memcpy(&four, queries[i] + 4 * quad, 4);
            query[i] = vreinterpret_s8_s32(vdup_n_s32(four));
        }
        const std::uint8_t* rows = codes + quad * CodeLanes::kRows * 4;
        for (int r = 0; r < 8; ++r) {
            const int8x8_t two = vreinterpret_s8_u8(vld1_u8(rows + 8 * r));
            for (int i = 0; i < kLaneQueries; ++i)
                sums[i][r] = vpadalq_s16(sums[i][r], vmull_s8(two, query[i]));
        }
    }
    for (int i = 0; i < kLaneQueries; ++i) {
        for (int r = 0; r < 8; r += 2) vst1q_s32(dots[i] + 2 * r, vpaddq_s32(sums[i][r], sums[i][r + 1]));
    }
}

#include "kernels/code_scalars.inl"
#include "kernels/code_tiles.inl"
#include "kernels/lane_tiles.inl"

}  // namespace

const CodeKernels kNeonCodeKernels = {"neon",   scan<4>,    scan<8>,      quantize,  dot_rows,
                                      dot_tile, scan4_rest, unpack_lanes, scan_lanes};

}  // namespace nearfield
