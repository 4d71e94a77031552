#include "core/dispatch.h"

#include <cstdlib>
#include <stdexcept>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace nearfield {
namespace {

#if defined(__x86_64__)
bool cpu_has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c") && __builtin_cpu_supports("sse4.2");
}

bool cpu_has_avx512() {
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#elif defined(__aarch64__)
bool cpu_has_crc32() {
#if defined(__linux__)
    constexpr unsigned long kHwcapCrc32 = 1UL << 7;
    return (getauxval(AT_HWCAP) & kHwcapCrc32) != 0;
#else
    return true;
#endif
}
#endif

std::vector<const KernelTable*> detect_tiers() {
    std::vector<const KernelTable*> tiers{&kBaselineKernels};
#if defined(__x86_64__)
    if (cpu_has_avx2()) tiers.push_back(&kAvx2Kernels);
    if (cpu_has_avx512()) tiers.push_back(&kAvx512Kernels);
#elif defined(__aarch64__)
    if (cpu_has_crc32()) tiers.push_back(&kNeonKernels);
#endif
    return tiers;
}

const KernelTable& resolve() {
    const char* forced = std::getenv("NEARFIELD_ISA");
    return forced != nullptr && *forced != '\0' ? tier_named(forced) : *available_tiers().back();
}

}  // namespace

const std::vector<const KernelTable*>& available_tiers() {
    static const std::vector<const KernelTable*> tiers = detect_tiers();
    return tiers;
}

const KernelTable& tier_named(const std::string& isa) {
    std::string names;
    for (const KernelTable* tier : available_tiers()) {
        if (isa == tier->isa) return *tier;
        names += (names.empty() ? "" : ", ") + std::string(tier->isa);
    }
    throw std::invalid_argument("NEARFIELD_ISA: expected one of " + names + " on this machine, got '" + isa +
                                "'");
}

const KernelTable& kernels() {
    static const KernelTable& chosen = resolve();
    return chosen;
}

}  // namespace nearfield
