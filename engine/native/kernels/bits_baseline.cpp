// Baseline tier of the bitmap kernels.

#include "kernels/bit_kernels.h"

namespace nearfield {
namespace {

#include "kernels/bit_lists.inl"
#include "kernels/bit_scalars.inl"
#include "kernels/code_words.inl"

template <class Code>
std::uint64_t full_word(const Code* codes, Code first, Code width) {
    return some_bits(codes, 64, first, width);
}

#include "kernels/code_ranges.inl"

}  // namespace

const BitKernels kBaselineBitKernels = {
    count, positions, {mark_range<std::uint8_t>, mark_range<std::uint16_t>, mark_range<std::uint32_t>}};

}  // namespace nearfield
