// AVX2 tier of the kernels of the graph search: words are compared as signed numbers, their top bit turned.

#include <immintrin.h>

#include <array>
#include <cstring>
#include <utility>

#include "kernels/graph_kernels.h"

namespace nearfield {
namespace {

constexpr std::size_t kLanes = 4;
// Frontiers of up to this many registers are merged like this; the compiler keeps what 16 cannot hold on the
// stack.
constexpr std::size_t kBlocksMost = 32;
constexpr std::size_t kBatch = 2 * kLanes;

__m256i top_bits() { return _mm256_set1_epi64x(static_cast<long long>(std::uint64_t{1} << 63)); }
__m256i load(const std::uint64_t* from) {
    return _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)), top_bits());
}
void store(std::uint64_t* to, __m256i words) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_xor_si256(words, top_bits()));
}

// Up to 8 nodes as words.
struct Candidates {
    alignas(32) std::int64_t words[kBatch];
    __m256i keys;
    unsigned mask;

    Candidates(const float* distances, const std::uint32_t* nodes, std::size_t count) {
        const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        const __m256i valid =
            _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count < kBatch ? count : kBatch)), places);
        mask = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(valid)));
        const __m256i bits = _mm256_castps_si256(_mm256_maskload_ps(distances, valid));
        keys = _mm256_xor_si256(bits, _mm256_srli_epi32(_mm256_srai_epi32(bits, 31), 1));
        const __m256i ids =
            _mm256_slli_epi32(_mm256_maskload_epi32(reinterpret_cast<const int*>(nodes), valid), 1);
        // Pairs within each half of a register: the words of nodes 0, 1, 4, 5 and 2, 3, 6, 7.
        const __m256i low = _mm256_unpacklo_epi32(ids, keys), high = _mm256_unpackhi_epi32(ids, keys);
        _mm256_store_si256(reinterpret_cast<__m256i*>(words), _mm256_permute2x128_si256(low, high, 0x20));
        _mm256_store_si256(reinterpret_cast<__m256i*>(words + kLanes),
                           _mm256_permute2x128_si256(low, high, 0x31));
    }

    // Those whose distance is no greater than that of a word with this upper half.
    unsigned within(__m256i key) const {
        const __m256i beyond = _mm256_cmpgt_epi32(keys, key);
        return mask & ~static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(beyond)));
    }
};

template <std::size_t Blocks>
void merge_in_registers(Frontier& frontier, const float* distances, const std::uint32_t* nodes,
                        std::size_t count) {
    const std::size_t kept = frontier.capacity - (Blocks - 1) * kLanes;  // of the last register
    const __m256i last_key = _mm256_set1_epi32(static_cast<int>(2 * kept - 1));
    __m256i words[Blocks];
    for (std::size_t b = 0; b < Blocks; ++b) words[b] = load(frontier.words + b * kLanes);
    for (std::size_t i = 0; i < count; i += kBatch) {
        const Candidates fresh(distances + i, nodes + i, count - i);
        for (unsigned nearer = fresh.within(_mm256_permutevar8x32_epi32(words[Blocks - 1], last_key));
             nearer != 0; nearer &= nearer - 1) {
            const __m256i word = _mm256_set1_epi64x(fresh.words[__builtin_ctz(nearer)]);
            __m256i before = top_bits();
            // Every word from the insertion point on becomes the greater of its predecessor and the new word.
            for (std::size_t b = 0; b < Blocks; ++b) {
                const __m256i now = words[b];
                const __m256i turned = _mm256_permute4x64_epi64(now, 0x93);
                const __m256i shifted = _mm256_blend_epi32(turned, before, 0x03);
                const __m256i after = _mm256_blendv_epi8(word, shifted, _mm256_cmpgt_epi64(shifted, word));
                words[b] = _mm256_blendv_epi8(now, after, _mm256_cmpgt_epi64(now, after));
                before = turned;
            }
        }
    }
    frontier.size = frontier.capacity - frontier.size < count ? frontier.capacity : frontier.size + count;
    std::size_t next = frontier.size;
    for (std::size_t b = Blocks; b-- > 0;) {
        store(frontier.words + b * kLanes, words[b]);
        const __m256i expanded = _mm256_slli_epi64(words[b], 63);
        const int open = 0xf & ~_mm256_movemask_pd(_mm256_castsi256_pd(expanded));
        if (open != 0)
            next = b * kLanes + static_cast<std::size_t>(__builtin_ctz(static_cast<unsigned>(open)));
    }
    for (std::size_t at = frontier.capacity; at % kLanes != 0; ++at) frontier.words[at] = kNoWord;
    frontier.next = next < frontier.size ? next : frontier.size;
}

void insert(Frontier& frontier, std::uint64_t word) {
    std::uint64_t* words = frontier.words;
    const std::size_t end = frontier.size == frontier.capacity ? frontier.size : frontier.size + 1;
    std::size_t at = 0;
    for (std::size_t left = end - 1; left > 0;) {
        const std::size_t half = (left + 1) / 2;
        at += words[at + half - 1] < word ? half : 0;
        left -= half;
    }
    std::memmove(words + at + 1, words + at, (end - 1 - at) * sizeof *words);
    words[at] = word;
    frontier.size = end;
    if (at < frontier.next) frontier.next = at;
}

void merge_in_memory(Frontier& frontier, const float* distances, const std::uint32_t* nodes,
                     std::size_t count) {
    const std::uint64_t& last = frontier.words[frontier.capacity - 1];
    const std::uint64_t top = std::uint64_t{1} << 63;
    for (std::size_t i = 0; i < count; i += kBatch) {
        const Candidates fresh(distances + i, nodes + i, count - i);
        const __m256i key = _mm256_set1_epi32(static_cast<int>((last ^ top) >> 32));
        for (unsigned nearer = fresh.within(key); nearer != 0; nearer &= nearer - 1) {
            const auto word = static_cast<std::uint64_t>(fresh.words[__builtin_ctz(nearer)]) ^ top;
            if (word < last) insert(frontier, word);
        }
    }
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

#include "kernels/graph_scalars.inl"

}  // namespace

const GraphKernels kAvx2GraphKernels = {merge, within};

}  // namespace nearfield
