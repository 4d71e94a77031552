// AVX-512 tier (F, VL) of the bitmap kernels: eight words are looked at together.

#include <immintrin.h>

#include "kernels/bit_kernels.h"

namespace nearfield {
namespace {

constexpr std::size_t kListSlack = 8;

std::size_t list_words(const std::uint64_t* words, std::size_t word_count, std::uint32_t* listed) {
    const __m256i eight = _mm256_set1_epi32(8);
    __m256i numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    std::size_t count = 0;
    for (std::size_t i = 0; i < word_count; i += 8) {
        const auto known = static_cast<__mmask8>(word_count - i >= 8 ? 0xff : (1u << (word_count - i)) - 1u);
        const __m512i eight_words = _mm512_maskz_loadu_epi64(known, words + i);
        const __mmask8 some = _mm512_test_epi64_mask(eight_words, eight_words);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(listed + count),
                            _mm256_maskz_compress_epi32(some, numbers));
        count += static_cast<std::size_t>(__builtin_popcount(some));
        numbers = _mm256_add_epi32(numbers, eight);
    }
    return count;
}

#include "kernels/bit_scalars.inl"

}  // namespace

const BitKernels kAvx512BitKernels = {count, positions};

}  // namespace nearfield
