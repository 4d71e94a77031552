// AVX-512 tier (F, BW, VL, DQ, VNNI): 16 floats per register, 32 registers, masked loads at the end.

#include <immintrin.h>

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

using Vec = __m512;
constexpr std::size_t kLanes = 16;
constexpr std::size_t kRowsPerQueryTile = 4;  // 16 sums, 4 rows, 1 query and a temporary: 22 of 32 registers

Vec zero() { return _mm512_setzero_ps(); }
Vec subtract(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
Vec absolute(Vec a) { return _mm512_abs_ps(a); }
Vec multiply_add(Vec a, Vec b, Vec sum) { return _mm512_fmadd_ps(a, b, sum); }
float reduce(Vec a) { return _mm512_reduce_add_ps(a); }

Vec load(const float* from) { return _mm512_loadu_ps(from); }
Vec load(const Half* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
Vec load(const std::uint8_t* from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}

__mmask16 first_lanes(std::size_t count) { return static_cast<__mmask16>((1u << count) - 1u); }
Vec load_tail(const float* from, std::size_t count) {
    return _mm512_maskz_loadu_ps(first_lanes(count), from);
}
Vec load_tail(const Half* from, std::size_t count) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(count), from));
}
Vec load_tail(const std::uint8_t* from, std::size_t count) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first_lanes(count), from)));
}

// Inlined by force: g++ takes a function that only prefetches for one without effect, and drops the calls.
inline __attribute__((always_inline)) void prefetch(const void* line) {
    _mm_prefetch(static_cast<const char*>(line), _MM_HINT_T0);
}

#include "kernels/crc32c_sse42.inl"

using Bits = __m512i;
Bits zero_bits() { return _mm512_setzero_si512(); }
Bits load_bits(const unsigned char* from) { return _mm512_loadu_si512(from); }
Bits exclusive_or(Bits a, Bits b) { return _mm512_xor_si512(a, b); }
std::uint64_t fold(Bits a) {
    const __m256i four = _mm256_xor_si256(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    const __m128i two = _mm_xor_si128(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(two) ^ _mm_extract_epi64(two, 1));
}

#include "kernels/crc32c_interleaved.inl"
#include "kernels/distance_tiles.inl"
#include "kernels/stream_read.inl"

}  // namespace

const KernelTable kAvx512Kernels = {
    "avx512",
    {{distances<L2, float>, distances<L2, Half>, distances<L2, std::uint8_t>},
     {distances<Ip, float>, distances<Ip, Half>, distances<Ip, std::uint8_t>},
     {distances<L1, float>, distances<L1, Half>, distances<L1, std::uint8_t>}},
    crc32c,
    stream_read,
    &kAvx512BitKernels,
    &kAvx512CodeKernels,
    &kAvx512GraphKernels,
    &kAvx512MaxSimKernels,
    panel_product_avx512,
};

}  // namespace nearfield
