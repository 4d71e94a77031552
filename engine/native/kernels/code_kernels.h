// Kernels over rows of affine codes, one table per instruction-set tier. As for `core/kernel_table.h`: plain
// data only.
//
// A code row holds `dims` unsigned codes and ends with 8 bytes of constants: step (f16), bias (f16), norm
// (f32). It stands for x[j] = bias + step * code[j]. 8-bit codes lie in order; 4-bit codes in blocks of 64
// bytes and 128 dimensions, byte i holding dimension i of the block (low nibble) and dimension i + half (high
// nibble), half being 64, or half of what is left in the last block.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nearfield {

// A query against many rows: out[i] = weight * norm - (scale * step * <query, codes> + sum *
// bias).
struct CodeScan {
    const std::int8_t*
        query;  // in the order of the row's codes, zero beyond the dimensions up to blocks * 64 bytes of row
    float scale;               // of one step of the quantised query
    float sum;                 // of the coordinates of the query
    float weight;              // of the rows\' norms
    const std::uint8_t* rows;  // readable 64 bytes beyond the last
    std::size_t stride;        // bytes from row to row
    std::size_t blocks;        // 64-byte blocks of a row that hold codes
    const std::uint32_t* ids;  // [count] rows to score, or nullptr for the first `count`
    std::size_t count;
    float* out;  // [count]
};

// The int8 form of a vector: x[j] ~ scale * out[j].
struct QuantizedVector {
    float scale;
    // Of the coordinates after quantisation: with the sum before it, rounding would be multiplied by how far
    // codes are from zero, and not just by how far the coordinates they stand for are.
    float sum;
};

// The same with 4-bit rows that hold nothing but codes: step and bias lie elsewhere, the norm is left out.
struct CodeRest {
    const std::int8_t* query;  // [128 * blocks]
    float scale;
    float sum;
    const std::uint8_t* rows;
    std::size_t stride;
    std::size_t blocks;
    const std::uint8_t* tails;  // the constants of row 0
    std::size_t tail_stride;    // bytes from a row's constants to the next row's
    const std::uint32_t* ids;   // [count] rows to score
    std::size_t count;
    float* out;  // [count]
};

// Up to 64 rows of 4-bit codes unpacked for many queries: four codes of all rows, then their next four. Byte
// (quad * 64 + row) * 4 + i is code 4 * quad + i of a row, in the order of queries.
struct CodeLanes {
    static constexpr std::size_t kRows = 64;
    static constexpr std::size_t kGroup = 16;  // rows that meet a query at once

    std::size_t quads;    // 32 for each 64 bytes of a row
    std::uint8_t* codes;  // [quads * 256], aligned to 64 bytes
    float* steps;         // [64]
    float* biases;        // [64]
};

struct LaneRows {
    const std::uint8_t* rows;
    std::size_t stride;
    const std::uint32_t* ids;  // [count] rows, or nullptr for the first `count`
    std::size_t count;         // 1 to 64; the last row stands in for those that are missing
};

struct LaneQueries {
    const std::int8_t* codes;  // [count, 4 * quads]
    const float* scales;       // [count], as in CodeScan
    const float* sums;         // [count]
    const float* limits;       // [count]
    std::size_t count;
};

struct CodeKernels {
    const char* isa;
    void (*scan4)(const CodeScan& scan);
    void (*scan8)(const CodeScan& scan);
    // Quantises `dims` floats to [-127, 127]; `out` is not padded.
    QuantizedVector (*quantize)(const float* values, std::size_t dims, std::int8_t* out);
    // out[i] = <vector, rows[i]> for int8 rows of `dims` (a multiple of 64) bytes lying one behind the other;
    // `sums` are the sums of the rows' bytes.
    void (*dot_rows)(const std::int8_t* vector, const std::int8_t* rows, const std::int32_t* sums,
                     std::size_t dims, std::size_t count, std::int32_t* out);
    // out[q * out_stride + r] = <queries[q], rows[r]>, both int8, `dims` a multiple of 64; `sums` are those
    // of the rows.
    void (*dot_tile)(const std::int8_t* queries, std::size_t query_count, const std::int8_t* rows,
                     const std::int32_t* sums, std::size_t row_count, std::size_t dims, std::int32_t* out,
                     std::size_t out_stride);
    void (*scan4_rest)(const CodeRest& rest);
    void (*unpack_lanes)(const LaneRows& rows, const CodeLanes& lanes);
    // out[q * 64 + r] as `scan4` gives it for weight 0, and in bit r of below[q] whether it is at most
    // limits[q].
    void (*scan_lanes)(const LaneQueries& queries, const CodeLanes& lanes, float* out, std::uint64_t* below);
};

extern const CodeKernels kBaselineCodeKernels;
extern const CodeKernels kAvx2CodeKernels;
extern const CodeKernels kAvx512CodeKernels;
extern const CodeKernels kNeonCodeKernels;

}  // namespace nearfield
