#pragma once

#include <string>
#include <vector>

#include "core/kernel_table.h"

namespace nearfield {

// Tiers compiled in and supported by this CPU, slowest first; the first is always the baseline.
const std::vector<const KernelTable*>& available_tiers();

// The tier of that name. Throws std::invalid_argument naming the available ones.
const KernelTable& tier_named(const std::string& isa);

// The tier in use: NEARFIELD_ISA's, else the fastest available. Resolved once; throws as tier_named does.
const KernelTable& kernels();

}  // namespace nearfield
