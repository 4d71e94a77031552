// Locally-adaptive vector quantisation (arXiv 2304.04759): every row has its own step and bias. One level
// (definition 1), or two, the second of which encodes what the first leaves (definition 2).
#pragma once

#include <cstddef>
#include <cstdint>

#include "encodings/code_layout.h"

namespace nearfield::encodings {

struct LvqOptions {
    bool clip;  // shrink the range of a row for the least squared error; pays at 4 bits and below
};

// Code rows of one level as plain memory.
struct CodeRowsView {
    CodeLayout layout;
    const std::uint8_t* rows;
    std::size_t stride;
};

// Encodes centred rows [count, layout.dims] into code rows of `stride` bytes. `norms` [count] are stored as
// the rows' norms; nullptr stores the squared length of what decoding gives back.
void encode_lvq(const float* rows, std::size_t count, const CodeLayout& layout, const LvqOptions& options,
                const float* norms, std::uint8_t* out, std::size_t stride);

// Encodes what `first`, the codes of the same rows, leaves of them: code rows of their own, so that the
// kernels' estimates of both levels add up. Their range is that of the residual, half a step of the first
// level to either side unless that level is clipped. `norms` as above; nullptr stores by how much the
// second level changes the squared length.
void encode_lvq_residual(const float* rows, std::size_t count, const CodeRowsView& first,
                         const CodeLayout& layout, const float* norms, std::uint8_t* out, std::size_t stride);

// The rows [count, layout.dims] that code rows stand for.
void decode_lvq(const CodeRowsView& codes, std::size_t count, float* out);

// Brings an int8 vector of `layout.dims` into the order of a row's codes: blocks() * dims_per_block() bytes,
// zero-padded.
void order_query(const std::int8_t* vector, const CodeLayout& layout, std::int8_t* out);

}  // namespace nearfield::encodings
