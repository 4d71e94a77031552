#include "flat/flat_search.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "flat/nearest.h"
#include "flat/row_batches.h"

namespace nearfield::flat {
namespace {

constexpr std::size_t kBlockBytes = 1024 * 1024;  // rows of one kernel call
constexpr std::size_t kBlockRowsMax = 1024;
constexpr std::size_t kBlockPairsMax = 64 * 1024;      // distances between two looks at the heaps
constexpr std::size_t kCacheBytes = 16 * 1024 * 1024;  // rows taking more are read from memory
constexpr std::size_t kQueryBytes = 256 * 1024;        // queries that share one pass over the rows
constexpr std::size_t kQueriesMax = 256;
constexpr std::size_t kHeapBytes = 64 * 1024 * 1024;  // candidate heaps of one pass, all threads together
constexpr std::size_t kShareBytes = 1024 * 1024;      // rows a thread takes at a time
// Query x row x dimension terms below which waking a thread costs more than it gives.
constexpr std::size_t kTermsPerThread = 1 << 20;

std::size_t element_bytes(RowType type) {
    switch (type) {
        case RowType::f32: return 4;
        case RowType::f16: return 2;
        case RowType::u8: return 1;
    }
    return 0;
}

DistanceKernel kernel_of(const KernelTable& kernels, Metric metric, RowType type) {
    return kernels.distances[static_cast<int>(metric)][static_cast<int>(type)];
}

std::size_t round_up(std::size_t value, std::size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

// The queries at a multiple of a cache line: every load of them is repeated for each tile of rows, and loads
// that straddle two lines take a quarter longer in all. (Rows come as they are: section files keep them
// aligned.)
class AlignedQueries {
public:
    explicit AlignedQueries(const Queries& queries, std::size_t dims) : data_(queries.data) {
        if (reinterpret_cast<std::uintptr_t>(queries.data) % kAlignBytes == 0) return;
        const std::size_t bytes = queries.count * dims * sizeof(float);
        copy_.resize(bytes + kAlignBytes);
        std::size_t space = copy_.size();
        void* start = copy_.data();
        std::align(kAlignBytes, bytes, start, space);
        std::memcpy(start, queries.data, bytes);
        data_ = static_cast<const float*>(start);
    }
    const float* data() const { return data_; }

private:
    static constexpr std::size_t kAlignBytes = 64;

    const float* data_;
    std::vector<unsigned char> copy_;
};

// One pass over the rows for a group of queries.
class Pass {
public:
    Pass(const KernelTable& kernels, const Queries& queries, const Rows& rows, const SearchOptions& options,
         std::size_t slots)
        : kernel_(kernel_of(kernels, options.metric, rows.type)),
          bits_(*kernels.bits),
          queries_(queries),
          aligned_(queries, rows.dims),
          rows_(rows),
          options_(options) {
        const std::size_t row_bytes = std::max<std::size_t>(1, rows.dims * element_bytes(rows.type));
        row_bytes_ = row_bytes;
        const std::size_t most = std::min(kBlockRowsMax, kBlockPairsMax / queries.count);
        block_ = round_up(std::clamp<std::size_t>(kBlockBytes / row_bytes, 64, most), 64);
        from_memory_ = rows.count * row_bytes > kCacheBytes;
        share_ = round_up(slots > 1 ? std::max(block_, kShareBytes / row_bytes) : rows.count, block_);
        const std::size_t kept = std::min(options.k, rows.count);
        nearest_.resize(slots);
        for (std::vector<Nearest>& slot : nearest_) {
            slot.reserve(queries.count);
            for (std::size_t q = 0; q < queries.count; ++q) slot.emplace_back(kept);
        }
    }

    // Takes shares of the rows until none are left; each slot is used by one thread.
    void run(std::size_t slot) {
        std::vector<float> distances(queries_.count * (block_ + 64));
        RowBatcher batcher(bits_, options_.allow, rows_.count, block_);
        const auto consume = [&](const RowBatch& batch) { score(batch, batcher, distances, nearest_[slot]); };
        for (;;) {
            const std::size_t first = next_share_.fetch_add(share_, std::memory_order_relaxed);
            if (first >= rows_.count) break;
            batcher.scan(first, std::min(first + share_, rows_.count), consume);
        }
        batcher.flush(consume);
    }

    void write(std::int64_t* rows_out, float* distances_out) const {
        std::vector<Neighbor> merged;
        for (std::size_t q = 0; q < queries_.count; ++q) {
            merged.clear();
            for (const std::vector<Nearest>& slot : nearest_) {
                const std::vector<Neighbor>& heap = slot[q].heap();
                merged.insert(merged.end(), heap.begin(), heap.end());
            }
            std::sort(merged.begin(), merged.end());
            const std::size_t found = std::min(merged.size(), options_.k);
            std::int64_t* row = rows_out + q * options_.k;
            float* distance = distances_out + q * options_.k;
            for (std::size_t i = 0; i < found; ++i) {
                row[i] = merged[i].row;
                distance[i] = merged[i].distance;
            }
            std::fill(row + found, row + options_.k, std::int64_t{-1});
            std::fill(distance + found, distance + options_.k, std::numeric_limits<float>::infinity());
        }
    }

private:
    void score(const RowBatch& batch, const RowBatcher& batcher, std::vector<float>& distances,
               std::vector<Nearest>& nearest) const {
        if (options_.cancel != nullptr && options_.cancel->is_set()) throw Cancelled();
        const auto* base = static_cast<const unsigned char*>(rows_.data) + batch.first * row_bytes_;
        kernel_({aligned_.data(), queries_.count, base, batch.offsets, batch.count, rows_.dims, from_memory_,
                 distances.data(), batch.count});
        for (std::size_t q = 0; q < queries_.count; ++q) {
            float* found = distances.data() + q * batch.count;
            if (rows_.scale != nullptr) {
                for (std::size_t i = 0; i < batch.count; ++i) found[i] *= rows_.scale[batch.row(i)];
            }
            for (std::size_t i = 0; i < batch.count; ++i) {
                if (!nearest[q].may_enter(found[i])) continue;
                const std::int64_t row = batch.row(i);
                if (!batch.filtered || batcher.allows(row)) nearest[q].offer(found[i], row);
            }
        }
    }

    DistanceKernel kernel_;
    const BitKernels& bits_;
    const Queries& queries_;
    AlignedQueries aligned_;
    const Rows& rows_;
    const SearchOptions& options_;
    std::size_t row_bytes_ = 0;
    std::size_t block_ = 0;
    std::size_t share_ = 0;
    bool from_memory_ = false;
    std::atomic<std::size_t> next_share_{0};
    std::vector<std::vector<Nearest>> nearest_;  // [slot][query]
};

std::size_t queries_per_pass(const Rows& rows, const SearchOptions& options) {
    const std::size_t kept = std::max<std::size_t>(1, std::min(options.k, rows.count));
    const std::size_t by_cache = kQueryBytes / (rows.dims * sizeof(float)) / 4 * 4;
    const std::size_t by_heap = kHeapBytes / (kept * sizeof(Neighbor) * options.threads);
    return std::max<std::size_t>(1, std::min(std::clamp<std::size_t>(by_cache, 4, kQueriesMax), by_heap));
}

std::size_t useful_threads(const Queries& queries, const Rows& rows, const SearchOptions& options) {
    const std::size_t terms = rows.count * rows.dims * queries.count;
    return std::clamp<std::size_t>(terms / kTermsPerThread, 1, options.threads);
}

}  // namespace

void search(const KernelTable& kernels, const Queries& queries, const Rows& rows,
            const SearchOptions& options, std::int64_t* rows_out, float* distances_out) {
    const std::size_t threads = useful_threads(queries, rows, options);
    std::unique_ptr<ThreadPool> own_pool;
    ThreadPool* pool = options.pool;
    if (threads > 1 && pool == nullptr) {
        own_pool = std::make_unique<ThreadPool>(threads);
        pool = own_pool.get();
    }
    const std::size_t step = queries_per_pass(rows, options);
    for (std::size_t first = 0; first < queries.count; first += step) {
        const Queries part{queries.data + first * rows.dims, std::min(step, queries.count - first)};
        Pass pass(kernels, part, rows, options, threads);
        if (threads > 1) {
            pool->parallel_for(threads, [&](std::size_t slot) { pass.run(slot); });
        } else {
            pass.run(0);
        }
        pass.write(rows_out + first * options.k, distances_out + first * options.k);
    }
}

void gather_distances(const KernelTable& kernels, const Queries& queries, const Rows& rows, Metric metric,
                      const std::int64_t* offsets, std::size_t offset_count, float* out) {
    kernel_of(kernels, metric, rows.type)(
        {queries.data, queries.count, rows.data, offsets, offset_count, rows.dims, false, out, offset_count});
    if (rows.scale == nullptr) return;
    for (std::size_t q = 0; q < queries.count; ++q) {
        for (std::size_t i = 0; i < offset_count; ++i) out[q * offset_count + i] *= rows.scale[offsets[i]];
    }
}

}  // namespace nearfield::flat
