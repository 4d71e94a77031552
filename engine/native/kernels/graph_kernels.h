// Kernels of the graph search, one table per instruction-set tier. As for `core/kernel_table.h`: plain data
// only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nearfield {

// The nearest nodes a query has seen, ascending: one 64-bit word each, the distance in an order-preserving
// form, then the node, then one bit that says that its neighbours have been visited, which therefore never
// changes the order. Ties go to the smaller node. Nodes are below 2^31.
struct Frontier {
    std::uint64_t* words;  // [capacity rounded up to 8, and 8 more]
    std::size_t capacity;
    std::size_t size;
    std::size_t next;  // every word before this one is of an expanded node
};

struct GraphKernels {
    // Inserts the nodes that are nearer than the last word of a full frontier; what falls off its end is
    // forgotten. No node may be in the frontier already.
    void (*merge)(Frontier& frontier, const float* distances, const std::uint32_t* nodes, std::size_t count);
};

extern const GraphKernels kBaselineGraphKernels;
extern const GraphKernels kAvx512GraphKernels;

}  // namespace nearfield
