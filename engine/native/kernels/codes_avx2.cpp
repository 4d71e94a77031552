// AVX2 tier of the code kernels. 4-bit codes go through vpmaddubsw (2 * 15 * 127 fits 16 bits); 8-bit ones
// are widened, because 2 * 255 * 127 does not.

#include <immintrin.h>

#include "kernels/code_kernels.h"

namespace nearfield {
namespace {

using Sums = __m256i;

Sums zero_sums() { return _mm256_setzero_si256(); }

__m256i load32(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
__m128i load16(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }

Sums add_small(Sums sums, __m256i codes, const std::int8_t* query) {
    return _mm256_add_epi32(
        sums, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, load32(query)), _mm256_set1_epi16(1)));
}

Sums add_dot4(Sums sums, const std::uint8_t* row, const std::int8_t* query) {
    const __m256i nibble = _mm256_set1_epi8(15);
    for (int half = 0; half < 2; ++half) {
        const __m256i codes = load32(row + 32 * half);
        sums = add_small(sums, _mm256_and_si256(codes, nibble), query + 32 * half);
        sums = add_small(sums, _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble), query + 64 + 32 * half);
    }
    return sums;
}

Sums add_dot8(Sums sums, const std::uint8_t* row, const std::int8_t* query) {
    for (int i = 0; i < 64; i += 16) {
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_cvtepu8_epi16(load16(row + i)),
                                                        _mm256_cvtepi8_epi16(load16(query + i))));
    }
    return sums;
}

Sums add_dot_signed(Sums sums, const std::int8_t* a, const std::int8_t* b) {
    const __m128i flip = _mm_set1_epi8(static_cast<char>(0x80));
    for (int i = 0; i < 64; i += 16) {
        const __m256i shifted = _mm256_cvtepu8_epi16(_mm_xor_si128(load16(a + i), flip));
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(shifted, _mm256_cvtepi8_epi16(load16(b + i))));
    }
    return sums;
}

void reduce4(Sums a, Sums b, Sums c, Sums d, std::int32_t* out) {
    const __m256i all = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                     _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
}

__m128i load_tails(const std::uint8_t* a, const std::uint8_t* b) {
    return _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(a)),
                              _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b)));
}

void finish4(const std::uint8_t* const* rows, std::size_t tail, const std::int32_t* dots, float scale,
             float sum, float weight, float* out) {
    const __m128 ab = _mm_castsi128_ps(load_tails(rows[0] + tail, rows[1] + tail));
    const __m128 cd = _mm_castsi128_ps(load_tails(rows[2] + tail, rows[3] + tail));
    const __m128i halves = _mm_castps_si128(_mm_shuffle_ps(ab, cd, 0x88));
    const __m128 norm = _mm_shuffle_ps(ab, cd, 0xdd);
    const __m128i split =
        _mm_shuffle_epi8(halves, _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    const __m128 step = _mm_cvtph_ps(split);
    const __m128 bias = _mm_cvtph_ps(_mm_unpackhi_epi64(split, split));
    const __m128 dot = _mm_cvtepi32_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(dots)));
    const __m128 product = _mm_mul_ps(_mm_mul_ps(_mm_set1_ps(scale), step), dot);
    const __m128 estimate = _mm_fmadd_ps(_mm_set1_ps(sum), bias, product);
    _mm_storeu_ps(out, _mm_fmsub_ps(_mm_set1_ps(weight), norm, estimate));
}

float reduce_max(__m256 v) {
    const __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)));
}

__m256 load_floats(const float* from, std::size_t count) {
    if (count >= 8) return _mm256_loadu_ps(from);
    float padded[8] = {};
    for (std::size_t i = 0; i < count; ++i) padded[i] = from[i];
    return _mm256_loadu_ps(padded);
}

QuantizedVector quantize(const float* values, std::size_t dims, std::int8_t* out) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 largest = _mm256_setzero_ps();
    for (std::size_t i = 0; i < dims; i += 8) {
        const __m256 v = load_floats(values + i, dims - i);
        largest = _mm256_max_ps(largest, _mm256_andnot_ps(sign, v));
    }
    const float top = reduce_max(largest);
    const __m256 inverse = _mm256_set1_ps(top > 0.0f ? 127.0f / top : 0.0f);
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < dims; i += 8) {
        const __m256i code = _mm256_cvtps_epi32(_mm256_mul_ps(load_floats(values + i, dims - i), inverse));
        const __m128i words =
            _mm_packs_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
        std::int8_t bytes[16];
        _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), _mm_packs_epi16(words, words));
        for (std::size_t j = 0; j < 8 && i + j < dims; ++j) {
            out[i + j] = bytes[j];
            sum += bytes[j];
        }
    }
    const float scale = top / 127.0f;
    return {scale, scale * static_cast<float>(sum)};
}

#include "kernels/code_tiles.inl"

constexpr int kLaneQueries = 3;

void lane_dots(const std::int8_t* const* queries, const std::uint8_t* codes, std::size_t quads,
               std::int32_t (*dots)[CodeLanes::kGroup]) {
    constexpr std::size_t kQuads = 8;  // 8 * 2 * 15 * 127 fits 16 bits
    __m256i sums[kLaneQueries][2];
    for (auto& line : sums) line[0] = line[1] = _mm256_setzero_si256();
    for (std::size_t first = 0; first < quads; first += kQuads) {
        __m256i small[kLaneQueries][2];
        for (auto& line : small) line[0] = line[1] = _mm256_setzero_si256();
        for (std::size_t quad = first; quad < first + kQuads; ++quad) {
            const __m256i low = load32(codes + quad * CodeLanes::kRows * 4);
            const __m256i high = load32(codes + quad * CodeLanes::kRows * 4 + 32);
            for (int i = 0; i < kLaneQueries; ++i) {
                std::int32_t four;
                __builtin_memcpy(&four, queries[i] + 4 * quad, 4);
                const __m256i query = _mm256_set1_epi32(four);
                small[i][0] = _mm256_add_epi16(small[i][0], _mm256_maddubs_epi16(low, query));
                small[i][1] = _mm256_add_epi16(small[i][1], _mm256_maddubs_epi16(high, query));
            }
        }
        for (int i = 0; i < kLaneQueries; ++i) {
            for (int half = 0; half < 2; ++half) {
                const __m256i pairs = _mm256_madd_epi16(small[i][half], _mm256_set1_epi16(1));
                sums[i][half] = _mm256_add_epi32(sums[i][half], pairs);
            }
        }
    }
    for (int i = 0; i < kLaneQueries; ++i) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(dots[i]), sums[i][0]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(dots[i] + 8), sums[i][1]);
    }
}

std::uint64_t finish16(const std::int32_t* dots, const float* steps, const float* biases, float scale,
                       float sum, float limit, float* out) {
    std::uint64_t below = 0;
    for (int i = 0; i < 16; i += 8) {
        const __m256 dot = _mm256_cvtepi32_ps(load32(dots + i));
        const __m256 step = _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_loadu_ps(steps + i));
        const __m256 product = _mm256_mul_ps(step, dot);
        const __m256 estimate = _mm256_fmadd_ps(_mm256_set1_ps(sum), _mm256_loadu_ps(biases + i), product);
        const __m256 distance = _mm256_sub_ps(_mm256_setzero_ps(), estimate);
        _mm256_storeu_ps(out + i, distance);
        const int bits = _mm256_movemask_ps(_mm256_cmp_ps(distance, _mm256_set1_ps(limit), _CMP_LE_OQ));
        below |= static_cast<std::uint64_t>(bits) << i;
    }
    return below;
}

void read_constants(const std::uint8_t* const* tails, const CodeLanes& lanes, std::size_t row) {
    for (std::size_t i = 0; i < CodeLanes::kGroup; i += 4) {
        const __m128i ab = load_tails(tails[i], tails[i + 1]);
        const __m128i cd = load_tails(tails[i + 2], tails[i + 3]);
        const __m128i halves =
            _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(ab), _mm_castsi128_ps(cd), 0x88));
        const __m128i split =
            _mm_shuffle_epi8(halves, _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
        _mm_storeu_ps(lanes.steps + row + i, _mm_cvtph_ps(split));
        _mm_storeu_ps(lanes.biases + row + i, _mm_cvtph_ps(_mm_unpackhi_epi64(split, split)));
    }
}

#include "kernels/lane_tiles.inl"

}  // namespace

const CodeKernels kAvx2CodeKernels = {"avx2",   scan<4>,    scan<8>,      quantize,  dot_rows,
                                      dot_tile, scan4_rest, unpack_lanes, scan_lanes};

}  // namespace nearfield
