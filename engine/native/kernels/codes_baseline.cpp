// Baseline tier of the code kernels: plain scalar loops, the oracle the other tiers are tested against.

#include "kernels/code_kernels.h"

namespace nearfield {
namespace {

using Sums = std::int32_t;

Sums zero_sums() { return 0; }

Sums add_dot4(Sums sums, const std::uint8_t* row, const std::int8_t* query) {
    for (int i = 0; i < 64; ++i) sums += (row[i] & 15) * query[i] + (row[i] >> 4) * query[64 + i];
    return sums;
}

Sums add_dot8(Sums sums, const std::uint8_t* row, const std::int8_t* query) {
    for (int i = 0; i < 64; ++i) sums += row[i] * query[i];
    return sums;
}

Sums add_dot_signed(Sums sums, const std::int8_t* a, const std::int8_t* b) {
    for (int i = 0; i < 64; ++i) sums += (a[i] + 128) * b[i];
    return sums;
}

void reduce4(Sums a, Sums b, Sums c, Sums d, std::int32_t* out) {
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
}

constexpr int kLaneQueries = 1;

void lane_dots(const std::int8_t* const* queries, const std::uint8_t* codes, std::size_t quads,
               std::int32_t (*dots)[CodeLanes::kGroup]) {
    for (std::int32_t& dot : dots[0]) dot = 0;
    for (std::size_t quad = 0; quad < quads; ++quad) {
        const std::int8_t* query = queries[0] + 4 * quad;
        const std::uint8_t* row = codes + quad * CodeLanes::kRows * 4;
        for (std::size_t i = 0; i < CodeLanes::kGroup; ++i, row += 4)
            dots[0][i] += row[0] * query[0] + row[1] * query[1] + row[2] * query[2] + row[3] * query[3];
    }
}

#include "kernels/code_scalars.inl"
#include "kernels/code_tiles.inl"
#include "kernels/lane_tiles.inl"

}  // namespace

const CodeKernels kBaselineCodeKernels = {"baseline", scan<4>,    scan<8>,      quantize,  dot_rows,
                                          dot_tile,   scan4_rest, unpack_lanes, scan_lanes};

}  // namespace nearfield
