// Kernels of the graph search in plain code: the oracle, and what tiers without better ones use.

#include "kernels/graph_kernels.h"

namespace nearfield {
namespace {

void merge(Frontier& frontier, const float* distances, const std::uint32_t* nodes, std::size_t count) {
    std::uint64_t* words = frontier.words;
    for (std::size_t i = 0; i < count; ++i) {
        std::uint32_t bits;
        __builtin_memcpy(&bits, distances + i, sizeof bits);
        bits ^= (bits >> 31) != 0 ? 0xffffffffu : 0x80000000u;
        const std::uint64_t word = static_cast<std::uint64_t>(bits) << 32 | nodes[i] << 1;
        const bool full = frontier.size == frontier.capacity;
        if (full && word >= words[frontier.size - 1]) continue;
        std::size_t at = full ? frontier.size - 1 : frontier.size++;
        for (; at > 0 && words[at - 1] > word; --at) words[at] = words[at - 1];
        words[at] = word;
        if (at < frontier.next) frontier.next = at;
    }
}

#include "kernels/graph_scalars.inl"

}  // namespace

const GraphKernels kBaselineGraphKernels = {merge, within};

}  // namespace nearfield
