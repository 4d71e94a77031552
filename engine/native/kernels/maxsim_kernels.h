// Kernels of MaxSim, one table per instruction-set tier. As for `core/kernel_table.h`: plain data only.
//
// A product of matrices whose result is never written: query tokens lie side by side in the lanes of
// registers, each coordinate of a document token is broadcast against them, and what leaves the registers is
// the largest product of every query token so far. Query tokens are packed in panels of up to `panel_vectors`
// registers:
//   floats: [dims][vectors * lanes]
//   codes:  [groups][vectors * lanes][code_group], int8 or int16, zero beyond the dimensions
// The last register of a panel may hold query tokens in its first 1 / share of lanes, repeated in the other
// parts, so that one multiplication serves `share` document tokens.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nearfield {

// Bytes to fetch into the cache meanwhile; none if `bytes` is 0.
struct FetchAhead {
    const unsigned char* from;
    std::size_t bytes;
};

// maxima[i] = max(maxima[i], <query token i, token>) for every token.
struct FloatTokens {
    const float* panel;
    std::size_t vectors;
    std::size_t share;
    const float* tokens;  // [count, dims]
    std::size_t count;
    std::size_t dims;
    float* maxima;  // [vectors * lanes]
    FetchAhead ahead;
};

// maxima[i] = max(maxima[i], step * <query codes i, codes> + bias * sums[i]) for every token: what one step
// of the quantised query token counts for is left to the end.
struct CodeTokens {
    const void* panel;
    std::size_t vectors;
    std::size_t share;
    const float* sums;    // [vectors * lanes], of the query tokens' codes
    const void* codes;    // [count, stride], as `unpack` wrote them
    std::size_t stride;   // codes from token to token
    const float* steps;   // [count]
    const float* biases;  // [count]
    std::size_t count;
    std::size_t groups;
    float* maxima;  // [vectors * lanes]
    FetchAhead ahead;
};

// Code rows, as in `kernels/code_kernels.h`, to spread for `code_maxima`. Reads nothing beyond the last row.
struct PackedTokens {
    const std::uint8_t* rows;
    std::size_t row_bytes;
    std::size_t count;
    std::size_t dims;
    void* codes;         // [count, stride] codes of `code_bytes`, in the order of the dimensions
    std::size_t stride;  // at least what the row's 64-byte blocks hold
    float* steps;        // [count], room for the next multiple of 16
    float* biases;       // the same
};

// Tokens rounded to bfloat16, against a panel of pairs of dimensions, [pairs][vectors * lanes][2].
struct RoundedTokens {
    const std::uint16_t* panel;
    std::size_t vectors;
    std::size_t share;
    const std::uint16_t* tokens;  // [count, stride]
    std::size_t stride;
    std::size_t count;
    std::size_t pairs;
    float* maxima;    // [vectors * lanes], raised to every product
    float* products;  // [count, vectors * lanes]; of the last register, the first 1 / share of lanes counts
    FetchAhead ahead;
};

// Which tokens can hold a maximum, by products in a precision that costs less. A tier has it or not.
struct TokenFilter {
    std::size_t alignment;  // values of a rounded token are a multiple of this
    bool (*usable)();       // on this CPU, one of the tier's
    // [count, dims] to bfloat16 [count, stride], zeros beyond; squares[lane] (one register) is raised to each
    // token's sum of the squares that fall into the lane, so that their sum bounds every squared length.
    void (*round_halves)(const std::uint16_t* tokens, std::size_t count, std::size_t dims, std::size_t stride,
                         std::uint16_t* out, float* squares);
    void (*maxima)(const RoundedTokens& tokens);
    // Tokens with a product that is not below its lane's floor, ascending; room for `count`. How many.
    std::size_t (*near_tokens)(const float* products, std::size_t count, std::size_t vectors,
                               const float* floors, std::uint32_t* near);
};

struct MaxSimKernels {
    const char* isa;
    std::size_t lanes;          // query tokens of one register
    std::size_t panel_vectors;  // most registers of one panel
    std::size_t most_share;     // parts of the last one of them
    std::size_t code_group;     // consecutive codes multiplied at once
    std::size_t code_bytes;     // of one code in a panel and of an unpacked one: 1 or 2
    void (*widen)(const std::uint16_t* halves, std::size_t count, float* out);
    void (*unpack4)(const PackedTokens& tokens);
    void (*unpack8)(const PackedTokens& tokens);
    void (*float_maxima)(const FloatTokens& tokens);
    void (*code_maxima)(const CodeTokens& tokens);
    // The sum of weights[i] * maxima[i].
    float (*weighted_sum)(const float* maxima, const float* weights, std::size_t count);
    const TokenFilter* filter;  // or nullptr
};

extern const TokenFilter kBf16TokenFilter;

extern const MaxSimKernels kBaselineMaxSimKernels;
extern const MaxSimKernels kAvx2MaxSimKernels;
extern const MaxSimKernels kAvx512MaxSimKernels;
extern const MaxSimKernels kNeonMaxSimKernels;

}  // namespace nearfield
