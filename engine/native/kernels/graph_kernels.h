// Kernels of the graph search, one table per instruction-set tier. As for `core/kernel_table.h`: plain data
// only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nearfield {

inline constexpr std::uint64_t kNoWord = ~std::uint64_t{0};

// The nearest nodes a query has seen, ascending: one 64-bit word each, the distance in an order-preserving
// form, then the node, then one bit that says that its neighbours have been visited, which therefore never
// changes the order. Ties go to the smaller node. Nodes are below 2^31.
struct Frontier {
    std::uint64_t* words;  // [capacity rounded up to 8] in whole cache lines, kNoWord from `size` on
    std::size_t capacity;
    std::size_t size;
    std::size_t next;  // every word before this one is of an expanded node
};

struct GraphKernels {
    // Inserts nodes; what falls off the end of a full frontier is forgotten. None may be in it already.
    void (*merge)(Frontier& frontier, const float* distances, const std::uint32_t* nodes, std::size_t count);
    // Moves the nodes that are no further than `bound`, and their distances, to the front; returns how many.
    std::size_t (*within)(float* distances, std::uint32_t* nodes, std::size_t count, float bound);
};

extern const GraphKernels kBaselineGraphKernels;
extern const GraphKernels kAvx2GraphKernels;
extern const GraphKernels kAvx512GraphKernels;

}  // namespace nearfield
