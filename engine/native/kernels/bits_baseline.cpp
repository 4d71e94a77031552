// Baseline tier of the bitmap kernels.

#include "kernels/bit_kernels.h"

namespace nearfield {
namespace {

#include "kernels/bit_lists.inl"
#include "kernels/bit_scalars.inl"

}  // namespace

const BitKernels kBaselineBitKernels = {count, positions};

}  // namespace nearfield
