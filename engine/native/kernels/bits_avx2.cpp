// AVX2 tier of the bitmap kernels: the same code, with the CPU's own count of a word's bits; codes are
// compared 32 bytes at a time.

#include <immintrin.h>

#include "kernels/bit_kernels.h"

namespace nearfield {
namespace {

#include "kernels/bit_lists.inl"
#include "kernels/bit_scalars.inl"
#include "kernels/code_words.inl"

__m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

// There is no unsigned comparison: a <= b where a is the smaller of both.
__m256i inside8(const std::uint8_t* codes, __m256i first, __m256i most) {
    const __m256i from_first = _mm256_sub_epi8(load(codes), first);
    return _mm256_cmpeq_epi8(_mm256_min_epu8(from_first, most), from_first);
}
__m256i inside16(const std::uint16_t* codes, __m256i first, __m256i most) {
    const __m256i from_first = _mm256_sub_epi16(load(codes), first);
    return _mm256_cmpeq_epi16(_mm256_min_epu16(from_first, most), from_first);
}
__m256i inside32(const std::uint32_t* codes, __m256i first, __m256i most) {
    const __m256i from_first = _mm256_sub_epi32(load(codes), first);
    return _mm256_cmpeq_epi32(_mm256_min_epu32(from_first, most), from_first);
}

std::uint64_t bits_of_bytes(__m256i bytes) { return static_cast<std::uint32_t>(_mm256_movemask_epi8(bytes)); }

std::uint64_t full_word(const std::uint8_t* codes, std::uint8_t first, std::uint8_t width) {
    const __m256i low = _mm256_set1_epi8(static_cast<char>(first));
    const __m256i most = _mm256_set1_epi8(static_cast<char>(width - 1));
    return bits_of_bytes(inside8(codes, low, most)) | bits_of_bytes(inside8(codes + 32, low, most)) << 32;
}

std::uint64_t full_word(const std::uint16_t* codes, std::uint16_t first, std::uint16_t width) {
    const __m256i low = _mm256_set1_epi16(static_cast<short>(first));
    const __m256i most = _mm256_set1_epi16(static_cast<short>(width - 1));
    std::uint64_t word = 0;
    for (int half = 0; half < 2; ++half, codes += 32) {
        // Packing takes turns between the operands' lanes.
        const __m256i bytes = _mm256_packs_epi16(inside16(codes, low, most), inside16(codes + 16, low, most));
        word |= bits_of_bytes(_mm256_permute4x64_epi64(bytes, 0xd8)) << (32 * half);
    }
    return word;
}

std::uint64_t full_word(const std::uint32_t* codes, std::uint32_t first, std::uint32_t width) {
    const __m256i low = _mm256_set1_epi32(static_cast<int>(first));
    const __m256i most = _mm256_set1_epi32(static_cast<int>(width - 1));
    std::uint64_t word = 0;
    for (int part = 0; part < 64; part += 8) {
        const __m256 found = _mm256_castsi256_ps(inside32(codes + part, low, most));
        word |= static_cast<std::uint64_t>(_mm256_movemask_ps(found)) << part;
    }
    return word;
}

#include "kernels/code_ranges.inl"

}  // namespace

const BitKernels kAvx2BitKernels = {
    count, positions, {mark_range<std::uint8_t>, mark_range<std::uint16_t>, mark_range<std::uint32_t>}};

}  // namespace nearfield
