// AVX-512 tier (F, BW, VL, DQ, VNNI) of the code kernels: 64 products per instruction.

#include <immintrin.h>

#include <array>
#include <utility>

#include "kernels/code_kernels.h"

namespace nearfield {
namespace {

using Sums = __m512i;

Sums zero_sums() { return _mm512_setzero_si512(); }

Sums add_dot4(Sums sums, const std::uint8_t* row, const std::int8_t* query) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i codes = _mm512_loadu_si512(row);
    sums = _mm512_dpbusd_epi32(sums, _mm512_and_si512(codes, nibble), _mm512_loadu_si512(query));
    return _mm512_dpbusd_epi32(sums, _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble),
                               _mm512_loadu_si512(query + 64));
}

Sums add_dot8(Sums sums, const std::uint8_t* row, const std::int8_t* query) {
    return _mm512_dpbusd_epi32(sums, _mm512_loadu_si512(row), _mm512_loadu_si512(query));
}

Sums add_dot_signed(Sums sums, const std::int8_t* a, const std::int8_t* b) {
    const __m512i shifted =
        _mm512_xor_si512(_mm512_loadu_si512(a), _mm512_set1_epi8(static_cast<char>(0x80)));
    return _mm512_dpbusd_epi32(sums, shifted, _mm512_loadu_si512(b));
}

// Sums of four registers: two rounds of interleave-and-add bring one row's partial sums into each 32-bit
// column.
__m128i totals(Sums a, Sums b, Sums c, Sums d) {
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

void reduce4(Sums a, Sums b, Sums c, Sums d, std::int32_t* out) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), totals(a, b, c, d));
}

__m128i load_tails(const std::uint8_t* a, const std::uint8_t* b) {
    return _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(a)),
                              _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b)));
}

__m128 finished(const std::uint8_t* const* rows, std::size_t tail, __m128 dot, float scale, float sum,
                float weight) {
    const __m128 ab = _mm_castsi128_ps(load_tails(rows[0] + tail, rows[1] + tail));
    const __m128 cd = _mm_castsi128_ps(load_tails(rows[2] + tail, rows[3] + tail));
    const __m128i halves = _mm_castps_si128(_mm_shuffle_ps(ab, cd, 0x88));
    const __m128 norm = _mm_shuffle_ps(ab, cd, 0xdd);
    const __m128 step = _mm_cvtph_ps(_mm_cvtepi32_epi16(halves));
    const __m128 bias = _mm_cvtph_ps(_mm_cvtepi32_epi16(_mm_srli_epi32(halves, 16)));
    const __m128 product = _mm_mul_ps(_mm_mul_ps(_mm_set1_ps(scale), step), dot);
    const __m128 estimate = _mm_fmadd_ps(_mm_set1_ps(sum), bias, product);
    return _mm_fmsub_ps(_mm_set1_ps(weight), norm, estimate);
}

void finish4(const std::uint8_t* const* rows, std::size_t tail, const std::int32_t* dots, float scale,
             float sum, float weight, float* out) {
    const __m128 dot = _mm_cvtepi32_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(dots)));
    _mm_storeu_ps(out, finished(rows, tail, dot, scale, sum, weight));
}

QuantizedVector quantize(const float* values, std::size_t dims, std::int8_t* out) {
    __m512 largest = _mm512_setzero_ps();
    for (std::size_t i = 0; i < dims; i += 16) {
        const auto mask = static_cast<__mmask16>(dims - i >= 16 ? 0xffff : (1u << (dims - i)) - 1u);
        const __m512 v = _mm512_maskz_loadu_ps(mask, values + i);
        largest = _mm512_max_ps(largest, _mm512_abs_ps(v));
    }
    const float top = _mm512_reduce_max_ps(largest);
    const __m512 inverse = _mm512_set1_ps(top > 0.0f ? 127.0f / top : 0.0f);
    __m512i sums = _mm512_setzero_si512();
    for (std::size_t i = 0; i < dims; i += 16) {
        const auto mask = static_cast<__mmask16>(dims - i >= 16 ? 0xffff : (1u << (dims - i)) - 1u);
        const __m512i code =
            _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, values + i), inverse));
        _mm_mask_storeu_epi8(out + i, mask, _mm512_cvtepi32_epi8(code));
        sums = _mm512_add_epi32(sums, code);
    }
    const float scale = top / 127.0f;
    return {scale, scale * static_cast<float>(_mm512_reduce_add_epi32(sums))};
}

#include "kernels/code_tiles.inl"

// The scan of rows of few blocks: the query stays in registers, four rows take turns.
template <int Bits, std::size_t Blocks>
void scan_blocks(const CodeScan& s) {
    constexpr std::size_t kParts = Bits == 4 ? 2 * Blocks : Blocks;
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i query[kParts];
    for (std::size_t p = 0; p < kParts; ++p) query[p] = _mm512_loadu_si512(s.query + p * kBlock);
    const std::size_t tail = s.stride - kTail;
    for (std::size_t i = 0; i < s.count; i += 4) {
        const std::uint8_t* rows[4];
        for (std::size_t j = 0; j < 4; ++j) {
            const std::size_t at = i + j < s.count ? i + j : s.count - 1;
            rows[j] = s.rows + (s.ids != nullptr ? s.ids[at] : at) * s.stride;
        }
        __m512i sums[4];
        for (__m512i& sum : sums) sum = _mm512_setzero_si512();
        for (std::size_t b = 0; b < Blocks; ++b) {
            for (std::size_t j = 0; j < 4; ++j) {
                const __m512i codes = _mm512_loadu_si512(rows[j] + b * kBlock);
                if constexpr (Bits == 4) {
                    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble);
                    sums[j] = _mm512_dpbusd_epi32(sums[j], _mm512_and_si512(codes, nibble), query[2 * b]);
                    sums[j] = _mm512_dpbusd_epi32(sums[j], high, query[2 * b + 1]);
                } else {
                    sums[j] = _mm512_dpbusd_epi32(sums[j], codes, query[b]);
                }
            }
        }
        const __m128 dot = _mm_cvtepi32_ps(totals(sums[0], sums[1], sums[2], sums[3]));
        const __m128 found = finished(rows, tail, dot, s.scale, s.sum, s.weight);
        if (i + 4 <= s.count) {
            _mm_storeu_ps(s.out + i, found);
        } else {
            _mm_mask_storeu_ps(s.out + i, static_cast<__mmask8>((1u << (s.count - i)) - 1u), found);
        }
    }
}

template <int Bits>
void scan_rows(const CodeScan& s) {
    switch (s.blocks) {
        case 1:
            return scan_blocks<Bits, 1>(s);
        case 2:
            return scan_blocks<Bits, 2>(s);
        case 3:
            return scan_blocks<Bits, 3>(s);
        case 4:
            return scan_blocks<Bits, 4>(s);
        default:
            return scan<Bits>(s);
    }
}

// The vector stays in registers, made unsigned once instead of at every row.
template <std::size_t Blocks>
void dot_blocks(const std::int8_t* vector, const std::int8_t* rows, const std::int32_t* sums,
                std::size_t count, std::int32_t* out) {
    const __m512i top = _mm512_set1_epi8(static_cast<char>(0x80));
    __m512i shifted[Blocks];
    for (std::size_t b = 0; b < Blocks; ++b)
        shifted[b] = _mm512_xor_si512(_mm512_loadu_si512(vector + b * kBlock), top);
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const std::int8_t* row = rows + i * Blocks * kBlock;
        __m512i total[4];
        for (__m512i& sum : total) sum = _mm512_setzero_si512();
        for (std::size_t b = 0; b < Blocks; ++b) {
            for (std::size_t j = 0; j < 4; ++j) {
                total[j] = _mm512_dpbusd_epi32(total[j], shifted[b],
                                               _mm512_loadu_si512(row + (j * Blocks + b) * kBlock));
            }
        }
        const __m128i excess = _mm_slli_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(sums + i)), 7);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                         _mm_sub_epi32(totals(total[0], total[1], total[2], total[3]), excess));
    }
    if (i < count)
        dot_rows(vector, rows + i * Blocks * kBlock, sums + i, Blocks * kBlock, count - i, out + i);
}

using DotBlocks = void (*)(const std::int8_t*, const std::int8_t*, const std::int32_t*, std::size_t,
                           std::int32_t*);

template <std::size_t... Blocks>
constexpr std::array<DotBlocks, sizeof...(Blocks)> dots_by_blocks(std::index_sequence<Blocks...>) {
    return {dot_blocks<Blocks + 1>...};
}
constexpr auto kDotsByBlocks = dots_by_blocks(std::make_index_sequence<16>());

void dot_rows_by_blocks(const std::int8_t* vector, const std::int8_t* rows, const std::int32_t* sums,
                        std::size_t dims, std::size_t count, std::int32_t* out) {
    const std::size_t blocks = dims / kBlock;
    if (blocks == 0 || blocks > kDotsByBlocks.size()) return dot_rows(vector, rows, sums, dims, count, out);
    kDotsByBlocks[blocks - 1](vector, rows, sums, count, out);
}

// Rows become columns: in[i] holds 16 words of row i, out[w] word w of all rows.
void transpose(const __m512i* in, __m512i* out) {
    __m512i pairs[16], fours[16];
    for (int i = 0; i < 16; i += 2) {
        pairs[i] = _mm512_unpacklo_epi32(in[i], in[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(in[i], in[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    for (int w = 0; w < 4; ++w) {
        const __m512i even = _mm512_shuffle_i32x4(fours[w], fours[4 + w], 0x88);
        const __m512i odd = _mm512_shuffle_i32x4(fours[w], fours[4 + w], 0xdd);
        const __m512i even_behind = _mm512_shuffle_i32x4(fours[8 + w], fours[12 + w], 0x88);
        const __m512i odd_behind = _mm512_shuffle_i32x4(fours[8 + w], fours[12 + w], 0xdd);
        out[w] = _mm512_shuffle_i32x4(even, even_behind, 0x88);
        out[4 + w] = _mm512_shuffle_i32x4(odd, odd_behind, 0x88);
        out[8 + w] = _mm512_shuffle_i32x4(even, even_behind, 0xdd);
        out[12 + w] = _mm512_shuffle_i32x4(odd, odd_behind, 0xdd);
    }
}

void unpack_lanes(const LaneRows& r, const CodeLanes& lanes) {
    const __m512i nibble = _mm512_set1_epi8(15);
    for (std::size_t first = 0; first < CodeLanes::kRows; first += CodeLanes::kGroup) {
        const std::uint8_t* rows[CodeLanes::kGroup];
        alignas(64) std::uint32_t constants[CodeLanes::kGroup];
        for (std::size_t i = 0; i < CodeLanes::kGroup; ++i) {
            const std::size_t at = first + i < r.count ? first + i : r.count - 1;
            rows[i] = r.rows + (r.ids != nullptr ? r.ids[at] : at) * r.stride;
            __builtin_memcpy(constants + i, rows[i] + r.stride - kTail, 4);
        }
        for (std::size_t quad = 0; quad < lanes.quads; quad += 32) {
            __m512i words[16], turned[16];
            for (std::size_t i = 0; i < 16; ++i) words[i] = _mm512_loadu_si512(rows[i] + quad * 2);
            transpose(words, turned);
            std::uint8_t* to = lanes.codes + quad * CodeLanes::kRows * 4 + first * 4;
            for (std::size_t w = 0; w < 16; ++w, to += CodeLanes::kRows * 4) {
                const __m512i high = _mm512_and_si512(_mm512_srli_epi16(turned[w], 4), nibble);
                _mm512_store_si512(to, _mm512_and_si512(turned[w], nibble));
                _mm512_store_si512(to + 16 * CodeLanes::kRows * 4, high);
            }
        }
        const __m512i both = _mm512_load_si512(constants);
        _mm512_storeu_ps(lanes.steps + first, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(both)));
        _mm512_storeu_ps(lanes.biases + first,
                         _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(both, 16))));
    }
}

// `Queries` queries from `first` on: their sums for all 64 rows stay in registers.
template <std::size_t Queries>
void scan_lanes_of(const LaneQueries& queries, std::size_t first, const CodeLanes& lanes, float* out,
                   std::uint64_t* below) {
    constexpr std::size_t kGroups = CodeLanes::kRows / CodeLanes::kGroup;
    static_assert(kGroups == 4);  // masks of 16 rows make a word
    const std::int8_t* query = queries.codes + first * 4 * lanes.quads;
    const std::uint8_t* codes = lanes.codes;
    __m512i sums[Queries][kGroups];
    for (auto& line : sums) {
        for (__m512i& sum : line) sum = _mm512_setzero_si512();
    }
    for (std::size_t quad = 0; quad < lanes.quads; ++quad, codes += CodeLanes::kRows * 4) {
        __m512i rows[kGroups];
        for (std::size_t g = 0; g < kGroups; ++g) rows[g] = _mm512_load_si512(codes + g * kBlock);
        for (std::size_t i = 0; i < Queries; ++i) {
            std::int32_t four;
            __builtin_memcpy(&four, query + 4 * (i * lanes.quads + quad), 4);
            const __m512i same = _mm512_set1_epi32(four);
            for (std::size_t g = 0; g < kGroups; ++g)
                sums[i][g] = _mm512_dpbusd_epi32(sums[i][g], rows[g], same);
        }
    }
    for (std::size_t i = 0; i < Queries; ++i) {
        const std::size_t q = first + i;
        const __m512 scale = _mm512_set1_ps(queries.scales[q]), sum = _mm512_set1_ps(queries.sums[q]);
        const __m512 limit = _mm512_set1_ps(queries.limits[q]);
        __mmask16 found[kGroups];
        for (std::size_t g = 0; g < kGroups; ++g) {
            const __m512 step = _mm512_mul_ps(scale, _mm512_loadu_ps(lanes.steps + g * 16));
            const __m512 product = _mm512_mul_ps(step, _mm512_cvtepi32_ps(sums[i][g]));
            const __m512 estimate = _mm512_fmadd_ps(sum, _mm512_loadu_ps(lanes.biases + g * 16), product);
            const __m512 distance = _mm512_sub_ps(_mm512_setzero_ps(), estimate);
            _mm512_storeu_ps(out + q * CodeLanes::kRows + g * 16, distance);
            found[g] = _mm512_cmp_ps_mask(distance, limit, _CMP_LE_OQ);
        }
        below[q] = _mm512_kunpackd(_mm512_kunpackw(found[3], found[2]), _mm512_kunpackw(found[1], found[0]));
    }
}

void scan_lanes(const LaneQueries& queries, const CodeLanes& lanes, float* out, std::uint64_t* below) {
    std::size_t q = 0;
    for (; q + 4 <= queries.count; q += 4) scan_lanes_of<4>(queries, q, lanes, out, below);
    for (; q + 2 <= queries.count; q += 2) scan_lanes_of<2>(queries, q, lanes, out, below);
    if (q < queries.count) scan_lanes_of<1>(queries, q, lanes, out, below);
}

}  // namespace

const CodeKernels kAvx512CodeKernels = {"avx512", scan_rows<4>, scan_rows<8>, quantize,  dot_rows_by_blocks,
                                        dot_tile, scan4_rest,   unpack_lanes, scan_lanes};

}  // namespace nearfield
