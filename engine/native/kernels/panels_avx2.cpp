// AVX2 tier of the panel products: 6 rows x 1 panel are 12 sums, 2 columns and a broadcast of 16 registers.

#include <immintrin.h>

#include "kernels/panel_product.h"

namespace nearfield {
namespace {

using Vec = __m256;
constexpr std::size_t kLanes = 8;
constexpr std::size_t kTileRows = 6;
constexpr std::size_t kTilePanels = 1;

Vec zero() { return _mm256_setzero_ps(); }
Vec load(const float* from) { return _mm256_loadu_ps(from); }
void store(float* to, Vec value) { _mm256_storeu_ps(to, value); }
Vec broadcast(float value) { return _mm256_set1_ps(value); }
Vec multiply_add(Vec a, Vec b, Vec sum) { return _mm256_fmadd_ps(a, b, sum); }

#include "kernels/panel_tiles.inl"

}  // namespace

void panel_product_avx2(const PanelProduct& product) { multiply(product); }

}  // namespace nearfield
