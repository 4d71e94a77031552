#pragma once

#include <cstddef>

namespace nearfield::encodings {

// Where the codes of a row lie; `kernels/code_kernels.h` describes the bytes.
struct CodeLayout {
    int bits;          // 4 or 8
    std::size_t dims;  // coordinates encoded

    static constexpr std::size_t kBlock = 64;
    static constexpr std::size_t kTail = 8;
    // Kernels read whole blocks: this much must be readable beyond the last row.
    static constexpr std::size_t kSlack = kBlock;

    std::size_t dims_per_block() const { return bits == 4 ? 2 * kBlock : kBlock; }
    std::size_t blocks() const { return (dims + dims_per_block() - 1) / dims_per_block(); }
    // Coordinates held by the low nibbles of block `b`: the high nibbles hold as many, or one less.
    std::size_t half(std::size_t block) const {
        const std::size_t left = dims - block * 2 * kBlock;
        return left >= 2 * kBlock ? kBlock : (left + 1) / 2;
    }
    std::size_t code_bytes() const { return bits == 8 ? dims : (blocks() - 1) * kBlock + half(blocks() - 1); }
    // Bytes from row to row when rows are aligned to `alignment` bytes.
    std::size_t stride(std::size_t alignment) const {
        return (code_bytes() + kTail + alignment - 1) / alignment * alignment;
    }
};

}  // namespace nearfield::encodings
