// AVX-512 tier (F, BW, VL, DQ) of the kernels of the graph search.

#include <immintrin.h>

#include <array>
#include <utility>

#include "kernels/graph_kernels.h"

namespace nearfield {
namespace {

constexpr std::size_t kLanes = 8;
// Frontiers of up to this many words are merged in registers.
constexpr std::size_t kBlocksMost = 16;

// Every word from the insertion point on becomes the greater of its predecessor and the new word: no branch
// on where that point is.
inline __m512i inserted(__m512i now, __m512i before, __m512i fresh) {
    return _mm512_min_epu64(now, _mm512_max_epu64(_mm512_alignr_epi64(now, before, 7), fresh));
}

// Up to 16 nodes as words.
struct Candidates {
    alignas(64) std::uint64_t words[2 * kLanes];
    __m512i keys;
    __mmask16 mask;

    Candidates(const float* distances, const std::uint32_t* nodes, std::size_t count) {
        mask = static_cast<__mmask16>(count >= 16 ? 0xffff : (1u << count) - 1u);
        const __m512i top = _mm512_set1_epi32(static_cast<int>(0x80000000u));
        const __m512i bits = _mm512_maskz_loadu_epi32(mask, distances);
        keys = _mm512_xor_si512(bits, _mm512_or_si512(_mm512_srai_epi32(bits, 31), top));
        const __m512i ids = _mm512_slli_epi32(_mm512_maskz_loadu_epi32(mask, nodes), 1);
        for (int half = 0; half < 2; ++half) {
            const __m256i key = half == 0 ? _mm512_castsi512_si256(keys) : _mm512_extracti64x4_epi64(keys, 1);
            const __m256i id = half == 0 ? _mm512_castsi512_si256(ids) : _mm512_extracti64x4_epi64(ids, 1);
            _mm512_store_si512(words + half * kLanes,
                               _mm512_or_si512(_mm512_slli_epi64(_mm512_cvtepu32_epi64(key), 32),
                                               _mm512_cvtepu32_epi64(id)));
        }
    }

    // Those whose distance is no greater than that of a word with this upper half.
    unsigned within(__m512i key) const { return _mm512_mask_cmple_epu32_mask(mask, keys, key); }
};

template <std::size_t Blocks>
void merge_in_registers(Frontier& frontier, const float* distances, const std::uint32_t* nodes,
                        std::size_t count) {
    const std::size_t kept = frontier.capacity - (Blocks - 1) * kLanes;  // of the last register
    const __m512i last_key = _mm512_set1_epi32(static_cast<int>(2 * kept - 1));
    __m512i words[Blocks];
    for (std::size_t b = 0; b < Blocks; ++b) words[b] = _mm512_load_si512(frontier.words + b * kLanes);
    for (std::size_t i = 0; i < count; i += 2 * kLanes) {
        const Candidates fresh(distances + i, nodes + i, count - i);
        for (unsigned nearer = fresh.within(_mm512_permutexvar_epi32(last_key, words[Blocks - 1]));
             nearer != 0; nearer &= nearer - 1) {
            const __m512i word =
                _mm512_set1_epi64(static_cast<long long>(fresh.words[__builtin_ctz(nearer)]));
            __m512i before = _mm512_setzero_si512();
            for (std::size_t b = 0; b < Blocks; ++b) {
                const __m512i now = words[b];
                words[b] = inserted(now, before, word);
                before = now;
            }
        }
    }
    frontier.size = frontier.capacity - frontier.size < count ? frontier.capacity : frontier.size + count;
    words[Blocks - 1] = _mm512_mask_mov_epi64(_mm512_set1_epi64(-1), static_cast<__mmask8>((1u << kept) - 1u),
                                              words[Blocks - 1]);
    std::size_t next = frontier.size;
    for (std::size_t b = Blocks; b-- > 0;) {
        _mm512_store_si512(frontier.words + b * kLanes, words[b]);
        const unsigned open = _mm512_testn_epi64_mask(words[b], _mm512_set1_epi64(1));
        if (open != 0) next = b * kLanes + static_cast<std::size_t>(__builtin_ctz(open));
    }
    frontier.next = next;
}

void insert(Frontier& frontier, std::uint64_t word) {
    std::uint64_t* words = frontier.words;
    const std::size_t size = frontier.size;
    const std::size_t end = size == frontier.capacity ? size : size + 1;
    std::size_t block = 0;
    while (block + 32 < end && words[block + 31] < word) block += 32;
    std::size_t at = block;
    const __m512i fresh = _mm512_set1_epi64(static_cast<long long>(word));
    __m512i before = block == 0 ? _mm512_setzero_si512() : _mm512_load_si512(words + block - kLanes);
    for (; block < end; block += kLanes) {
        const __m512i now = _mm512_load_si512(words + block);
        _mm512_store_si512(words + block, inserted(now, before, fresh));
        at += static_cast<std::size_t>(__builtin_popcount(_mm512_cmplt_epu64_mask(now, fresh)));
        before = now;
    }
    frontier.size = end;
    if (at < frontier.next) frontier.next = at;
}

void merge_in_memory(Frontier& frontier, const float* distances, const std::uint32_t* nodes,
                     std::size_t count) {
    for (std::size_t i = 0; i < count; i += 2 * kLanes) {
        const Candidates fresh(distances + i, nodes + i, count - i);
        const std::uint64_t last = frontier.words[frontier.capacity - 1];
        const __m512i key = _mm512_set1_epi32(static_cast<int>(last >> 32));
        for (unsigned nearer = fresh.within(key); nearer != 0; nearer &= nearer - 1) {
            const std::uint64_t word = fresh.words[__builtin_ctz(nearer)];
            if (word < frontier.words[frontier.capacity - 1]) insert(frontier, word);
        }
    }
    for (std::size_t at = frontier.capacity; at % kLanes != 0; ++at) frontier.words[at] = kNoWord;
}

using Merge = void (*)(Frontier&, const float*, const std::uint32_t*, std::size_t);

template <std::size_t... Blocks>
constexpr std::array<Merge, sizeof...(Blocks)> by_blocks(std::index_sequence<Blocks...>) {
    return {merge_in_registers<Blocks + 1>...};
}
constexpr auto kByBlocks = by_blocks(std::make_index_sequence<kBlocksMost>());

void merge(Frontier& frontier, const float* distances, const std::uint32_t* nodes, std::size_t count) {
    const std::size_t blocks = (frontier.capacity + kLanes - 1) / kLanes;
    (blocks <= kBlocksMost ? kByBlocks[blocks - 1] : merge_in_memory)(frontier, distances, nodes, count);
}

std::size_t within(float* distances, std::uint32_t* nodes, std::size_t count, float bound) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count; i += 2 * kLanes) {
        const auto here = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1u << (count - i)) - 1u);
        const __m512 found = _mm512_maskz_loadu_ps(here, distances + i);
        const __m512i ids = _mm512_maskz_loadu_epi32(here, nodes + i);
        const __mmask16 near = _mm512_mask_cmp_ps_mask(here, found, _mm512_set1_ps(bound), _CMP_LE_OQ);
        const auto more = static_cast<unsigned>(__builtin_popcount(near));
        const auto written = static_cast<__mmask16>((1u << more) - 1u);
        // Compressed in a register: stores of compressed lanes are slow on AMD.
        _mm512_mask_storeu_ps(distances + kept, written, _mm512_maskz_compress_ps(near, found));
        _mm512_mask_storeu_epi32(nodes + kept, written, _mm512_maskz_compress_epi32(near, ids));
        kept += more;
    }
    return kept;
}

}  // namespace

const GraphKernels kAvx512GraphKernels = {merge, within};

}  // namespace nearfield
