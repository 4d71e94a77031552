#pragma once

#include <cstddef>

#include "multivector/fde.h"

namespace nearfield::multivector {

// out[set, t] = the largest inner product of tokens[t] with any token of the set: what MaxSim adds up.
// tokens: [count, sets.dims]. No set may be empty.
void responses(const Work& work, const TokenSets& sets, const float* tokens, std::size_t count, float* out);

}  // namespace nearfield::multivector
