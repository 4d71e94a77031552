// AVX-512 tier (F, BW, VL, DQ) of the kernels of the graph search.

#include <immintrin.h>

#include "kernels/graph_kernels.h"

namespace nearfield {
namespace {

// Every word from the insertion point on becomes the greater of its predecessor and the new word: no branch
// on where that point is, and loads as aligned as the stores before them.
void insert(Frontier& frontier, std::uint64_t word) {
    std::uint64_t* words = frontier.words;
    const std::size_t size = frontier.size;
    const std::size_t end = size == frontier.capacity ? size : size + 1;
    std::size_t block = 0;
    while (block + 32 < end && words[block + 31] < word) block += 32;
    std::size_t at = block;
    const __m512i fresh = _mm512_set1_epi64(static_cast<long long>(word));
    __m512i before = block == 0 ? _mm512_setzero_si512() : _mm512_loadu_si512(words + block - 8);
    for (; block < end; block += 8) {
        const __m512i now = _mm512_loadu_si512(words + block);
        const auto known = static_cast<__mmask8>(size - block >= 8 ? 0xff : (1u << (size - block)) - 1u);
        const __mmask8 less = _mm512_mask_cmplt_epu64_mask(known, now, fresh);
        const __m512i shifted = _mm512_alignr_epi64(now, before, 7);
        const __m512i moved = _mm512_mask_mov_epi64(_mm512_max_epu64(shifted, fresh), less, now);
        _mm512_storeu_si512(words + block, moved);
        at += static_cast<std::size_t>(__builtin_popcount(less));
        before = now;
    }
    frontier.size = end;
    if (at < frontier.next) frontier.next = at;
}

void merge(Frontier& frontier, const float* distances, const std::uint32_t* nodes, std::size_t count) {
    const __m512i top = _mm512_set1_epi32(static_cast<int>(0x80000000u));
    alignas(64) std::uint32_t ordered[16];
    for (std::size_t i = 0; i < count; i += 16) {
        const auto mask = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1u << (count - i)) - 1u);
        const __m512i bits = _mm512_maskz_loadu_epi32(mask, distances + i);
        const __m512i keys = _mm512_xor_si512(bits, _mm512_or_si512(_mm512_srai_epi32(bits, 31), top));
        std::uint32_t limit = 0xffffffffu;
        if (frontier.size == frontier.capacity)
            limit = static_cast<std::uint32_t>(frontier.words[frontier.size - 1] >> 32);
        unsigned nearer =
            _mm512_mask_cmplt_epu32_mask(mask, keys, _mm512_set1_epi32(static_cast<int>(limit)));
        _mm512_store_si512(ordered, keys);
        for (; nearer != 0; nearer &= nearer - 1) {
            const auto j = static_cast<std::size_t>(__builtin_ctz(nearer));
            const bool full = frontier.size == frontier.capacity;
            if (full && ordered[j] >= frontier.words[frontier.size - 1] >> 32) continue;
            insert(frontier, static_cast<std::uint64_t>(ordered[j]) << 32 | nodes[i + j] << 1);
        }
    }
}

}  // namespace

const GraphKernels kAvx512GraphKernels = {merge};

}  // namespace nearfield
