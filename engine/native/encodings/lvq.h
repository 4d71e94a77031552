// Locally-adaptive vector quantisation, one level (arXiv 2304.04759, definition 1): every row has its own
// step and bias.
#pragma once

#include <cstddef>
#include <cstdint>

#include "encodings/code_layout.h"

namespace nearfield::encodings {

struct LvqOptions {
    bool clip;  // shrink the range of a row for the least squared error; pays at 4 bits and below
};

// Encodes centred rows [count, layout.dims] into code rows of `stride` bytes. `norms` [count] are stored as
// the rows' norms; nullptr stores the squared length of what decoding gives back.
void encode_lvq(const float* rows, std::size_t count, const CodeLayout& layout, const LvqOptions& options,
                const float* norms, std::uint8_t* out, std::size_t stride);

// The rows [count, layout.dims] that code rows stand for.
void decode_lvq(const std::uint8_t* rows, std::size_t count, const CodeLayout& layout, std::size_t stride,
                float* out);

// Brings an int8 vector of `layout.dims` into the order of a row's codes: blocks() * dims_per_block() bytes,
// zero-padded.
void order_query(const std::int8_t* vector, const CodeLayout& layout, std::int8_t* out);

}  // namespace nearfield::encodings
