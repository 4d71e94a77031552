// AVX2 tier of the bitmap kernels: the same code, with the CPU's own count of a word's bits.

#include "kernels/bit_kernels.h"

namespace nearfield {
namespace {

#include "kernels/bit_lists.inl"
#include "kernels/bit_scalars.inl"

}  // namespace

const BitKernels kAvx2BitKernels = {count, positions};

}  // namespace nearfield
