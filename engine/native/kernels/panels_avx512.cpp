// AVX-512 tier of the panel products: 12 rows x 2 panels are 24 sums, 2 columns and a broadcast of 32
// registers.

#include <immintrin.h>

#include "kernels/panel_product.h"

namespace nearfield {
namespace {

using Vec = __m512;
constexpr std::size_t kLanes = 16;
constexpr std::size_t kTileRows = 12;
constexpr std::size_t kTilePanels = 2;

Vec zero() { return _mm512_setzero_ps(); }
Vec load(const float* from) { return _mm512_loadu_ps(from); }
void store(float* to, Vec value) { _mm512_storeu_ps(to, value); }
Vec broadcast(float value) { return _mm512_set1_ps(value); }
Vec multiply_add(Vec a, Vec b, Vec sum) { return _mm512_fmadd_ps(a, b, sum); }

#include "kernels/panel_tiles.inl"

}  // namespace

void panel_product_avx512(const PanelProduct& product) { multiply(product); }

}  // namespace nearfield
