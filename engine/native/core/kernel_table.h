// The seam between portable code and the instruction-set tiers: plain data and function pointers.
// Tier files include this, so it must stay free of inline functions and of std templates: one that two tiers
// compile becomes one symbol, and the linker may keep the copy the running CPU cannot execute.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nearfield {

// A distance is smaller-is-nearer: squared Euclidean, negated inner product, sum of absolute differences.
enum class Metric { l2, ip, l1 };
enum class RowType { f32, f16, u8 };

inline constexpr int kMetricCount = 3;
inline constexpr int kRowTypeCount = 3;

struct BitKernels;     // kernels/bit_kernels.h
struct CodeKernels;    // kernels/code_kernels.h
struct GraphKernels;   // kernels/graph_kernels.h
struct MaxSimKernels;  // kernels/maxsim_kernels.h
struct PanelProduct;   // kernels/panel_product.h

struct DistanceBatch {
    const float* queries;  // [query_count, dims]
    std::size_t query_count;
    const void* rows;             // [any, dims]; the batch is its first row_count rows, or those at `offsets`
    const std::int64_t* offsets;  // [row_count] row numbers, or nullptr
    std::size_t row_count;
    std::size_t dims;
    bool from_memory;  // the rows are too many for the cache
    float* out;        // [query_count, out_stride], the first row_count of each are written
    std::size_t out_stride;
};

using DistanceKernel = void (*)(const DistanceBatch& batch);

// A pair's distance does not depend on the batch it is computed in: every tier sums a pair in one fixed
// order.
struct KernelTable {
    const char* isa;
    DistanceKernel distances[kMetricCount][kRowTypeCount];
    std::uint32_t (*crc32c)(std::uint32_t crc, const void* data, std::size_t bytes);
    // Reads every byte once, as `streams` (1 to 8) interleaved sequences; the result only keeps the loads
    // alive.
    std::uint64_t (*stream_read)(const void* data, std::size_t bytes, std::size_t streams,
                                 std::size_t prefetch);
    const BitKernels* bits;
    const CodeKernels* codes;
    const GraphKernels* graph;
    const MaxSimKernels* maxsim;
    void (*panel_product)(const PanelProduct& product);
};

extern const KernelTable kBaselineKernels;
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512Kernels;
extern const KernelTable kNeonKernels;

}  // namespace nearfield
