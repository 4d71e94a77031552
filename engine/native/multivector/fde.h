#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/cancel_flag.h"
#include "core/kernel_table.h"
#include "core/thread_pool.h"

namespace nearfield::multivector {

// Token matrices of `count` sets back to back: set i is values[offsets[i] * dims .. offsets[i + 1] * dims).
struct TokenSets {
    const float* values;
    const std::int64_t* offsets;  // [count + 1], ascending
    std::size_t count;
    std::size_t dims;
};

struct Work {
    const KernelTable& kernels;
    ThreadPool* pool;          // nullptr: the calling thread alone
    const CancelFlag* cancel;  // polled once per task; nullptr: never
};

// A matrix [columns, depth] as panels of 16 columns (kernels/panel_product.h).
class Panels {
public:
    Panels() = default;
    Panels(const float* matrix, std::size_t columns, std::size_t depth);

    std::size_t padded_columns() const;
    // out[r] = products of rows[r] with every column; rows of `padded_columns` floats.
    void multiply(const KernelTable& kernels, const float* rows, std::size_t count, float* out) const;
    // The same added to what is there.
    void add_product(const KernelTable& kernels, const float* rows, std::size_t count, float* out) const;

private:
    std::size_t panel_count_ = 0;
    std::size_t depth_ = 0;
    std::vector<float> packed_;
};

// MUVERA's fixed-dimensional encodings (arXiv 2405.19504, section 2). A token's cell is the string of the
// signs of its products with `bits` planes (bit j is set where the product with plane j is positive), once
// per repetition; a block of the encoding is one repetition's cell, projected to `projected` dimensions.
class SimHashEncoder {
public:
    // planes: [repetitions * bits, dims]. projections: [repetitions * projected, dims], or nullptr for the
    // identity (projected == dims).
    SimHashEncoder(const float* planes, const float* projections, std::size_t dims, std::size_t repetitions,
                   std::size_t bits, std::size_t projected);

    std::size_t dims() const { return dims_; }
    std::size_t width() const { return repetitions_ * cells_ * projected_; }

    // out: [count, width]. The sum of each cell's tokens.
    void encode_queries(const Work& work, const TokenSets& sets, float* out) const;
    // The mean of each cell's tokens; with `fill`, an empty cell has the token whose bits differ from the
    // cell's in the fewest places, the first of several. A set without tokens is all zeros.
    void encode_documents(const Work& work, const TokenSets& sets, bool fill, float* out) const;

private:
    class Scratch;

    void encode(const Work& work, const TokenSets& sets, bool document, bool fill, float* out) const;
    void add_tokens(Scratch& scratch, const KernelTable& kernels, const float* tokens, std::size_t count,
                    std::size_t first, float* out) const;
    void finish_document(Scratch& scratch, bool fill, float* out) const;

    std::size_t dims_;
    std::size_t repetitions_;
    std::size_t bits_;
    std::size_t cells_;
    std::size_t projected_;
    Panels planes_;
    Panels projections_;
    bool identity_;
};

}  // namespace nearfield::multivector
