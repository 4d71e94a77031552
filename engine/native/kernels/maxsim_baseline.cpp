// Baseline tier of the MaxSim kernels: plain scalars in the same tiles.

#include "kernels/maxsim_kernels.h"

namespace nearfield {
namespace {

constexpr std::size_t kLanes = 1;
constexpr std::size_t kPanelVectors = 4;
constexpr std::size_t kMostShare = 1;
constexpr std::size_t rows_of(std::size_t, std::size_t) { return 2; }

using Vec = float;
Vec zero() { return 0.0f; }
Vec load(const float* from) { return *from; }
void store(float* to, Vec a) { *to = a; }
Vec spread(const float* from) { return *from; }
struct PairSplit {
    static constexpr bool kPays = false;
};
Vec multiply(Vec a, Vec b) { return a * b; }
Vec multiply_add(Vec a, Vec b, Vec sum) { return a * b + sum; }
Vec largest(Vec a, Vec b) { return a > b ? a : b; }
template <std::size_t>
Vec mix(const Vec* tokens) {
    return tokens[0];
}
template <std::size_t>
Vec fold(Vec a) {
    return a;
}
float total(Vec a) { return a; }
Vec load_first(const float* from, std::size_t) { return *from; }

using Code = std::int16_t;
using Codes = std::int16_t;
using Ints = std::int32_t;
constexpr std::size_t kGroup = 1;
Ints zero_ints() { return 0; }
Codes load_codes(const Code* from) { return *from; }
Codes spread_codes(const Code* from) { return *from; }
template <std::size_t>
Codes mix_codes(const Codes* tokens) {
    return tokens[0];
}
Ints add_products(Ints sums, Codes document, Codes query) { return sums + document * query; }
Vec to_floats(Ints a) { return static_cast<float>(a); }

void spread4(const std::uint8_t* block, Code* low, Code* high) {
    for (int i = 0; i < 64; ++i) low[i] = block[i] & 15;
    for (int i = 0; i < 64; ++i) high[i] = block[i] >> 4;
}
void spread8(const std::uint8_t* block, Code* out) {
    for (int i = 0; i < 64; ++i) out[i] = block[i];
}

#include "kernels/widen_half.inl"

constexpr std::size_t kWidened = 1;
void widen_some(const std::uint16_t* from, float* to) { *to = widen_half(*from); }

void split_halves(const std::uint32_t* pairs, float* low, float* high) {
    for (int i = 0; i < 16; ++i) {
        low[i] = widen_half(static_cast<std::uint16_t>(pairs[i]));
        high[i] = widen_half(static_cast<std::uint16_t>(pairs[i] >> 16));
    }
}

#include "kernels/maxsim_tiles.inl"

}  // namespace

const MaxSimKernels kBaselineMaxSimKernels = {
    "baseline", kLanes,    kPanelVectors, kMostShare,  kGroup,       sizeof(Code), widen,
    unpack<4>,  unpack<8>, float_maxima,  code_maxima, weighted_sum, nullptr};

}  // namespace nearfield
