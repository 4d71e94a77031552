// Matrix products with packed panels, one function per instruction-set tier. As for `core/kernel_table.h`:
// plain data only.
//
// A matrix [columns, depth] is packed as panels of 16 columns: panel p holds [depth, 16] floats, the columns
// 16 p .. 16 p + 15 side by side, zeros where there are no more columns.
#pragma once

#include <cstddef>

namespace nearfield {

inline constexpr std::size_t kPanelColumns = 16;

// out[r, c] = <rows[r], column c>, or added to what is there. Each product is summed in the order of its
// depth, so it does not depend on the tile it is computed in.
struct PanelProduct {
    const float* rows;
    std::size_t row_stride;  // floats from row to row
    std::size_t row_count;
    std::size_t depth;
    const float* panels;  // [panel_count, depth, 16]
    std::size_t panel_count;
    float* out;  // 16 * panel_count floats of each row are written
    std::size_t out_stride;
    bool accumulate;
};

void panel_product_baseline(const PanelProduct& product);
void panel_product_avx2(const PanelProduct& product);
void panel_product_avx512(const PanelProduct& product);
void panel_product_neon(const PanelProduct& product);

}  // namespace nearfield
