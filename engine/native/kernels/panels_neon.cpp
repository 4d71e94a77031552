// NEON tier of the panel products: 6 rows x 1 panel are 24 sums, 4 columns and a broadcast of 32 registers.

#include <arm_neon.h>

#include "kernels/panel_product.h"

namespace nearfield {
namespace {

using Vec = float32x4_t;
constexpr std::size_t kLanes = 4;
constexpr std::size_t kTileRows = 6;
constexpr std::size_t kTilePanels = 1;

Vec zero() { return vdupq_n_f32(0.0f); }
Vec load(const float* from) { return vld1q_f32(from); }
void store(float* to, Vec value) { vst1q_f32(to, value); }
Vec broadcast(float value) { return vdupq_n_f32(value); }
Vec multiply_add(Vec a, Vec b, Vec sum) { return vfmaq_f32(sum, a, b); }

#include "kernels/panel_tiles.inl"

}  // namespace

void panel_product_neon(const PanelProduct& product) { multiply(product); }

}  // namespace nearfield
