// Baseline tier of the panel products: plain scalar loops, the oracle the other tiers are tested against.

#include "kernels/panel_product.h"

namespace nearfield {
namespace {

using Vec = float;
constexpr std::size_t kLanes = 1;
constexpr std::size_t kTileRows = 4;
constexpr std::size_t kTilePanels = 1;

Vec zero() { return 0.0f; }
Vec load(const float* from) { return *from; }
void store(float* to, Vec value) { *to = value; }
Vec broadcast(float value) { return value; }
Vec multiply_add(Vec a, Vec b, Vec sum) { return sum + a * b; }

#include "kernels/panel_tiles.inl"

}  // namespace

void panel_product_baseline(const PanelProduct& product) { multiply(product); }

}  // namespace nearfield
