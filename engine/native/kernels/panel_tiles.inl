// Products of tiles of rows x panels, included inside the anonymous namespace of a tier that defines
//   Vec, kLanes, kTileRows, kTilePanels; load(floats), store(floats, Vec), broadcast(float),
//   multiply_add(a, b, sum), zero()
// kTileRows * kTilePanels * 16 / kLanes sums stay in registers; rows are broadcast, panels are streamed.

constexpr std::size_t kPanelVecs = kPanelColumns / kLanes;

template <std::size_t Rows, std::size_t Panels>
inline __attribute__((always_inline)) void panel_tile(const PanelProduct& product, const float* rows,
                                                      const float* panels, float* out) {
    constexpr std::size_t kVecs = Panels * kPanelVecs;
    const std::size_t panel_floats = product.depth * kPanelColumns;
    Vec sums[Rows][kVecs];
#pragma GCC unroll 12
    for (std::size_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
        for (std::size_t v = 0; v < kVecs; ++v) {
            sums[r][v] = product.accumulate ? load(out + r * product.out_stride + v * kLanes) : zero();
        }
    }
    for (std::size_t i = 0; i < product.depth; ++i) {
        Vec columns[kVecs];
#pragma GCC unroll 16
        for (std::size_t v = 0; v < kVecs; ++v) {
            columns[v] =
                load(panels + v / kPanelVecs * panel_floats + i * kPanelColumns + v % kPanelVecs * kLanes);
        }
#pragma GCC unroll 12
        for (std::size_t r = 0; r < Rows; ++r) {
            const Vec value = broadcast(rows[r * product.row_stride + i]);
#pragma GCC unroll 16
            for (std::size_t v = 0; v < kVecs; ++v) sums[r][v] = multiply_add(value, columns[v], sums[r][v]);
        }
    }
#pragma GCC unroll 12
    for (std::size_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
        for (std::size_t v = 0; v < kVecs; ++v) {
            store(out + r * product.out_stride + v * kLanes, sums[r][v]);
        }
    }
}

template <std::size_t Panels>
void panel_rows(const PanelProduct& product, const float* panels, float* out) {
    std::size_t r = 0;
    for (; r + kTileRows <= product.row_count; r += kTileRows) {
        panel_tile<kTileRows, Panels>(product, product.rows + r * product.row_stride, panels,
                                      out + r * product.out_stride);
    }
    for (; r + 4 <= product.row_count; r += 4) {
        panel_tile<4, Panels>(product, product.rows + r * product.row_stride, panels,
                              out + r * product.out_stride);
    }
    for (; r < product.row_count; ++r) {
        panel_tile<1, Panels>(product, product.rows + r * product.row_stride, panels,
                              out + r * product.out_stride);
    }
}

void multiply(const PanelProduct& product) {
    const std::size_t panel_floats = product.depth * kPanelColumns;
    std::size_t p = 0;
    for (; p + kTilePanels <= product.panel_count; p += kTilePanels) {
        panel_rows<kTilePanels>(product, product.panels + p * panel_floats, product.out + p * kPanelColumns);
    }
    for (; p < product.panel_count; ++p) {
        panel_rows<1>(product, product.panels + p * panel_floats, product.out + p * kPanelColumns);
    }
}
