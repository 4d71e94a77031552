// AVX2 tier (with FMA, F16C and the SSE4.2 CRC instruction): 8 floats per register, 16 registers.

#include <immintrin.h>

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

using Vec = __m256;
constexpr std::size_t kLanes = 8;
constexpr std::size_t kRowsPerQueryTile = 2;  // 8 sums, 2 rows, 1 query and a temporary: 12 of 16 registers

Vec zero() { return _mm256_setzero_ps(); }
Vec subtract(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
Vec absolute(Vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
Vec multiply_add(Vec a, Vec b, Vec sum) { return _mm256_fmadd_ps(a, b, sum); }

float reduce(Vec a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

Vec load(const float* from) { return _mm256_loadu_ps(from); }
Vec load(const Half* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
Vec load(const std::uint8_t* from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}

template <class Element>
Vec load_tail(const Element* from, std::size_t count) {
    Element padded[kLanes] = {};
    std::memcpy(padded, from, count * sizeof(Element));
    return load(padded);
}

// Inlined by force: g++ takes a function that only prefetches for one without effect, and drops the calls.
inline __attribute__((always_inline)) void prefetch(const void* line) {
    _mm_prefetch(static_cast<const char*>(line), _MM_HINT_T0);
}

#include "kernels/crc32c_sse42.inl"

using Bits = __m256i;
Bits zero_bits() { return _mm256_setzero_si256(); }
Bits load_bits(const unsigned char* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
Bits exclusive_or(Bits a, Bits b) { return _mm256_xor_si256(a, b); }
std::uint64_t fold(Bits a) {
    const __m128i two = _mm_xor_si128(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(two) ^ _mm_extract_epi64(two, 1));
}

#include "kernels/crc32c_interleaved.inl"
#include "kernels/distance_tiles.inl"
#include "kernels/stream_read.inl"

}  // namespace

const KernelTable kAvx2Kernels = {
    "avx2",
    {{distances<L2, float>, distances<L2, Half>, distances<L2, std::uint8_t>},
     {distances<Ip, float>, distances<Ip, Half>, distances<Ip, std::uint8_t>},
     {distances<L1, float>, distances<L1, Half>, distances<L1, std::uint8_t>}},
    crc32c,
    stream_read,
    &kAvx2BitKernels,
    &kAvx2CodeKernels,
    &kAvx2GraphKernels,
    &kAvx2MaxSimKernels,
    panel_product_avx2,
};

}  // namespace nearfield
