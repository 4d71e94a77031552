// AVX-512 tier (F, BW, VL, DQ) of the bitmap kernels: eight words are looked at together, and a comparison of
// codes is a part of a word.

#include <immintrin.h>

#include "kernels/bit_kernels.h"

namespace nearfield {
namespace {

constexpr std::size_t kLineWords = 8;
constexpr std::size_t kWordBits = 64;
// Words that are not zero are gathered from so many before their bits are read: a loop over all words would
// mispredict at nearly every one of them.
constexpr std::size_t kGatherWords = 512;

__mmask8 known(std::size_t words) {
    return static_cast<__mmask8>(words >= kLineWords ? 0xff : (1u << words) - 1u);
}

// Bits of every nibble from a table, 64 bytes at a time (Mula, Kurz, Lemire: "Faster population counts using
// AVX2 instructions", 2018).
std::size_t count(const std::uint64_t* words, std::size_t word_count) {
    const __m512i of_nibble =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i low = _mm512_set1_epi8(15);
    __m512i sums = _mm512_setzero_si512();
    for (std::size_t i = 0; i < word_count; i += kLineWords) {
        const __m512i line = _mm512_maskz_loadu_epi64(known(word_count - i), words + i);
        const __m512i high = _mm512_and_si512(_mm512_srli_epi16(line, 4), low);
        const __m512i bits = _mm512_add_epi8(_mm512_shuffle_epi8(of_nibble, _mm512_and_si512(line, low)),
                                             _mm512_shuffle_epi8(of_nibble, high));
        sums = _mm512_add_epi64(sums, _mm512_sad_epu8(bits, _mm512_setzero_si512()));
    }
    return static_cast<std::size_t>(_mm512_reduce_add_epi64(sums));
}

struct GatheredWords {
    std::uint64_t words[kGatherWords + kLineWords];
    std::uint32_t rows[kGatherWords + kLineWords];  // of their first bits
    std::size_t count;
};

void gather(const std::uint64_t* words, std::size_t word_count, std::uint32_t first, GatheredWords& out) {
    const __m256i line_rows = _mm256_set1_epi32(kLineWords * kWordBits);
    __m256i rows = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(first)),
                                    _mm256_setr_epi32(0, 64, 128, 192, 256, 320, 384, 448));
    out.count = 0;
    for (std::size_t i = 0; i < word_count; i += kLineWords) {
        const __m512i line = _mm512_maskz_loadu_epi64(known(word_count - i), words + i);
        const __mmask8 some = _mm512_test_epi64_mask(line, line);
        _mm512_storeu_si512(out.words + out.count, _mm512_maskz_compress_epi64(some, line));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.rows + out.count),
                            _mm256_maskz_compress_epi32(some, rows));
        out.count += static_cast<std::size_t>(__builtin_popcount(some));
        rows = _mm256_add_epi32(rows, line_rows);
    }
}

std::size_t positions(const std::uint64_t* words, std::size_t word_count, std::uint32_t first,
                      std::uint32_t* out) {
    constexpr std::uint64_t kTop = std::uint64_t{1} << (kWordBits - 1);  // keeps ctz defined without a bit
    GatheredWords gathered;
    std::size_t found = 0;
    for (std::size_t begin = 0; begin < word_count; begin += kGatherWords) {
        const std::size_t span = word_count - begin < kGatherWords ? word_count - begin : kGatherWords;
        gather(words + begin, span, first + static_cast<std::uint32_t>(begin * kWordBits), gathered);
        for (std::size_t i = 0; i < gathered.count; ++i) {
            const std::uint32_t row = gathered.rows[i];
            std::uint64_t word = gathered.words[i];
            const std::size_t end = found + static_cast<std::size_t>(__builtin_popcountll(word));
            // Two at once: where most rows are not allowed, hardly any word has more.
            for (std::size_t at = found; at < end; at += BitKernels::kSlack) {
                for (std::size_t j = 0; j < BitKernels::kSlack; ++j) {
                    out[at + j] = row + static_cast<std::uint32_t>(__builtin_ctzll(word | kTop));
                    word &= word - 1;
                }
            }
            found = end;
        }
    }
    return found;
}

#include "kernels/code_words.inl"

std::uint64_t full_word(const std::uint8_t* codes, std::uint8_t first, std::uint8_t width) {
    const __m512i from_first =
        _mm512_sub_epi8(_mm512_loadu_si512(codes), _mm512_set1_epi8(static_cast<char>(first)));
    return _mm512_cmplt_epu8_mask(from_first, _mm512_set1_epi8(static_cast<char>(width)));
}

// Masks are put together as masks: where one is widened to a number, g++ 12 may store 16 bits of it and
// load 64.
std::uint64_t full_word(const std::uint16_t* codes, std::uint16_t first, std::uint16_t width) {
    const __m512i low = _mm512_set1_epi16(static_cast<short>(first));
    const __m512i span = _mm512_set1_epi16(static_cast<short>(width));
    const auto inside = [&](int at) {
        return _mm512_cmplt_epu16_mask(_mm512_sub_epi16(_mm512_loadu_si512(codes + at), low), span);
    };
    return _mm512_kunpackd(inside(32), inside(0));
}

std::uint64_t full_word(const std::uint32_t* codes, std::uint32_t first, std::uint32_t width) {
    const __m512i low = _mm512_set1_epi32(static_cast<int>(first));
    const __m512i span = _mm512_set1_epi32(static_cast<int>(width));
    const auto inside = [&](int at) {
        return _mm512_cmplt_epu32_mask(_mm512_sub_epi32(_mm512_loadu_si512(codes + at), low), span);
    };
    return _mm512_kunpackd(_mm512_kunpackw(inside(48), inside(32)), _mm512_kunpackw(inside(16), inside(0)));
}

#include "kernels/code_ranges.inl"

}  // namespace

const BitKernels kAvx512BitKernels = {
    count, positions, {mark_range<std::uint8_t>, mark_range<std::uint16_t>, mark_range<std::uint32_t>}};

}  // namespace nearfield
