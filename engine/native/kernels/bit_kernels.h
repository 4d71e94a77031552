// Kernels over bitmaps, one table per instruction-set tier that gains from one. As for `core/kernel_table.h`:
// plain data only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nearfield {

// Bit i % 64 of word i // 64 is row i.
struct BitKernels {
    // Entries beyond the last that `positions` may overwrite.
    static constexpr std::size_t kSlack = 2;

    std::size_t (*count)(const std::uint64_t* words, std::size_t word_count);
    // Writes `first` plus the number of every set bit, ascending; returns how many there are.
    std::size_t (*positions)(const std::uint64_t* words, std::size_t word_count, std::uint32_t first,
                             std::uint32_t* out);
    // Sets bit i for every i < count with first <= codes[i] < first + width; the codes have 1, 2 and 4 bytes,
    // and `first` and `width` fit them. Other bits stay.
    void (*mark_range[3])(const void* codes, std::size_t count, std::uint32_t first, std::uint32_t width,
                          std::uint64_t* words);
};

extern const BitKernels kBaselineBitKernels;
extern const BitKernels kAvx2BitKernels;
extern const BitKernels kAvx512BitKernels;

}  // namespace nearfield
