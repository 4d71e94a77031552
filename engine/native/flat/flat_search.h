#pragma once

#include <cstddef>
#include <cstdint>

#include "core/cancel_flag.h"
#include "core/kernel_table.h"
#include "core/thread_pool.h"

namespace nearfield::flat {

struct Rows {
    const void* data;  // [count, dims]
    RowType type;
    std::size_t count;
    std::size_t dims;
    const float* scale;  // [count] factor of each row's distance, or nullptr
};

struct Queries {
    const float* data;  // [count, dims]
    std::size_t count;
};

struct SearchOptions {
    Metric metric;
    std::size_t k;  // at least 1
    const std::uint64_t*
        allow;                 // [ceil(rows / 64)] bitmap or nullptr for all; bits past the end mean nothing
    std::size_t threads;       // at least 1
    ThreadPool* pool;          // nullptr: threads are started for this call if more than one is wanted
    const CancelFlag* cancel;  // or nullptr
};

// The exact k nearest allowed rows of each query, ascending by (distance, row): rows_out and distances_out
// are [queries, k], padded with -1 and +inf. The same for any number of threads. Throws Cancelled.
void search(const KernelTable& kernels, const Queries& queries, const Rows& rows,
            const SearchOptions& options, std::int64_t* rows_out, float* distances_out);

// Distances of every query to rows[offsets[i]]: out is [queries, offset_count]. Offsets must be in bounds.
void gather_distances(const KernelTable& kernels, const Queries& queries, const Rows& rows, Metric metric,
                      const std::int64_t* offsets, std::size_t offset_count, float* out);

}  // namespace nearfield::flat
