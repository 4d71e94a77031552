#include "flat/code_search.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "encodings/half.h"
#include "flat/nearest.h"
#include "flat/row_batches.h"
#include "kernels/code_kernels.h"

namespace nearfield::flat {
namespace {

constexpr std::size_t kBlockBytes = 16 * 1024;        // rows that stay in the first cache from query to query
constexpr std::size_t kShareBytes = 4 * 1024 * 1024;  // rows of one task
constexpr std::size_t kQueriesPerTask = 64;
// From so many queries on, rows are unpacked once for all of them, a few at a time.
constexpr std::size_t kTileQueries = 4;
constexpr std::size_t kTileRows = 16;
constexpr std::size_t kBlock = 64;
constexpr std::size_t kConstants = 8;
// Query x row x byte terms below which waking a thread costs more than it gives.
constexpr std::size_t kTermsPerThread = 1 << 22;

// Queries as the kernels take them.
class QuantizedQueries {
public:
    QuantizedQueries(const CodeKernels& kernels, const Queries& queries, std::size_t places)
        : places_(places), codes_(queries.count * places), forms_(queries.count) {
        for (std::size_t q = 0; q < queries.count; ++q) {
            forms_[q] = kernels.quantize(queries.data + q * places, places, codes_.data() + q * places);
        }
    }
    const std::int8_t* codes(std::size_t q) const { return codes_.data() + q * places_; }
    const QuantizedVector& form(std::size_t q) const { return forms_[q]; }

private:
    std::size_t places_;
    std::vector<std::int8_t> codes_;
    std::vector<QuantizedVector> forms_;
};

// Some queries and a share of the rows.
class Task {
public:
    Task(const KernelTable& kernels, const QuantizedQueries& queries, const NibbleRows& rows,
         const SearchOptions& options)
        : kernels_(*kernels.codes), bits_(*kernels.bits), queries_(queries), rows_(rows), options_(options) {}

    // The best of each query [first_query, last_query) among the rows [first, last), first being a multiple
    // of 64.
    void run(std::size_t first_query, std::size_t last_query, std::size_t first, std::size_t last,
             std::vector<Nearest>& nearest) {
        const std::size_t block = std::max<std::size_t>(kBlockBytes / rows_.stride / kBlock, 1) * kBlock;
        distances_.resize((last_query - first_query) * (block + kBlock));
        RowBatcher batcher(bits_, options_.allow, rows_.count, block);
        const auto consume = [&](const RowBatch& batch) {
            if (options_.cancel != nullptr && options_.cancel->is_set()) throw Cancelled();
            if (last_query - first_query < kTileQueries) {
                scan(batch, first_query, last_query);
            } else {
                multiply(batch, first_query, last_query);
            }
            for (std::size_t q = first_query; q < last_query; ++q) {
                offer(batch, batcher, distances_.data() + (q - first_query) * batch.count,
                      nearest[q - first_query]);
            }
        };
        batcher.scan(first, last, consume);
        batcher.flush(consume);
    }

private:
    void scan(const RowBatch& batch, std::size_t first_query, std::size_t last_query) {
        const bool gathered = batch.offsets != nullptr;
        ids_.clear();
        for (std::size_t i = 0; gathered && i < batch.count; ++i) {
            ids_.push_back(static_cast<std::uint32_t>(batch.offsets[i]));
        }
        const std::uint8_t* from = rows_.data + (gathered ? 0 : batch.first * rows_.stride);
        for (std::size_t q = first_query; q < last_query; ++q) {
            const QuantizedVector& form = queries_.form(q);
            kernels_.scan4({queries_.codes(q), form.scale, form.sum, 0.0f, from, rows_.stride, rows_.blocks(),
                            gathered ? ids_.data() : nullptr, batch.count,
                            distances_.data() + (q - first_query) * batch.count});
        }
    }

    // The same products, by tiles of rows that all queries meet unpacked.
    void multiply(const RowBatch& batch, std::size_t first_query, std::size_t last_query) {
        const std::size_t queries = last_query - first_query;
        tile_.resize(kTileRows * rows_.places());
        dots_.resize(queries * kTileRows);
        for (std::size_t first = 0; first < batch.count; first += kTileRows) {
            const std::size_t count = std::min(kTileRows, batch.count - first);
            for (std::size_t i = 0; i < count; ++i) {
                unpack(static_cast<std::size_t>(batch.row(first + i)), i);
            }
            kernels_.dot_tile(queries_.codes(first_query), queries, tile_.data(), sums_, count,
                              rows_.places(), dots_.data(), kTileRows);
            for (std::size_t q = 0; q < queries; ++q) {
                const QuantizedVector& form = queries_.form(first_query + q);
                float* out = distances_.data() + q * batch.count + first;
                const std::int32_t* dots = dots_.data() + q * kTileRows;
                for (std::size_t i = 0; i < count; ++i) {
                    const float product = form.scale * steps_[i] * static_cast<float>(dots[i]);
                    out[i] = -(form.sum * biases_[i] + product);
                }
            }
        }
    }

    void unpack(std::size_t row, std::size_t place) {
        const std::uint8_t* from = rows_.data + row * rows_.stride;
        std::int8_t* to = tile_.data() + place * rows_.places();
        std::int32_t sum = 0;
        for (std::size_t b = 0; b < rows_.stride; b += kBlock, to += 2 * kBlock) {
            for (std::size_t i = 0; i < kBlock; ++i) to[i] = static_cast<std::int8_t>(from[b + i] & 15);
            for (std::size_t i = 0; i < kBlock; ++i)
                to[kBlock + i] = static_cast<std::int8_t>(from[b + i] >> 4);
            for (std::size_t i = 0; i < kBlock; ++i) sum += (from[b + i] & 15) + (from[b + i] >> 4);
        }
        sums_[place] = sum;
        std::uint16_t constants[2];
        std::memcpy(constants, from + rows_.stride - kConstants, sizeof constants);
        steps_[place] = encodings::from_half(constants[0]);
        biases_[place] = encodings::from_half(constants[1]);
    }

    static void offer(const RowBatch& batch, const RowBatcher& batcher, const float* distances,
                      Nearest& nearest) {
        for (std::size_t i = 0; i < batch.count; ++i) {
            if (!nearest.may_enter(distances[i])) continue;
            const std::int64_t row = batch.row(i);
            if (!batch.filtered || batcher.allows(row)) nearest.offer(distances[i], row);
        }
    }

    const CodeKernels& kernels_;
    const BitKernels& bits_;
    const QuantizedQueries& queries_;
    const NibbleRows& rows_;
    const SearchOptions& options_;
    std::vector<std::uint32_t> ids_;
    std::vector<float> distances_;   // [query][row of the batch]
    std::vector<std::int8_t> tile_;  // unpacked rows
    std::vector<std::int32_t> dots_;
    std::int32_t sums_[kTileRows];  // of the codes of a row
    float steps_[kTileRows], biases_[kTileRows];
};

void write(const std::vector<Neighbor>& sorted, std::size_t k, std::int64_t* rows, float* distances) {
    const std::size_t found = std::min(sorted.size(), k);
    for (std::size_t i = 0; i < found; ++i) {
        rows[i] = sorted[i].row;
        distances[i] = sorted[i].distance;
    }
    std::fill(rows + found, rows + k, std::int64_t{-1});
    std::fill(distances + found, distances + k, std::numeric_limits<float>::infinity());
}

// Runs tasks on the pool that was given, or on one for this call where several threads are wanted.
void run_all(std::size_t tasks, std::size_t terms, const SearchOptions& options,
             const std::function<void(std::size_t)>& task) {
    const std::size_t threads = std::clamp<std::size_t>(terms / kTermsPerThread, 1, options.threads);
    if (threads == 1) {
        for (std::size_t i = 0; i < tasks; ++i) task(i);
    } else if (options.pool != nullptr) {
        options.pool->parallel_for(tasks, task);
    } else {
        ThreadPool(threads).parallel_for(tasks, task);
    }
}

}  // namespace

void search_codes(const KernelTable& kernels, const Queries& queries, const NibbleRows& rows,
                  const SearchOptions& options, std::int64_t* rows_out, float* distances_out) {
    const CodeKernels& codes = *kernels.codes;
    const QuantizedQueries quantized(codes, queries, rows.places());
    // Tasks depend on nothing but the sizes, so that no result depends on the threads.
    const std::size_t share = std::max<std::size_t>(kShareBytes / rows.stride / 64, 1) * 64;
    const std::size_t shares = std::max<std::size_t>((rows.count + share - 1) / share, 1);
    const std::size_t groups = (queries.count + kQueriesPerTask - 1) / kQueriesPerTask;
    std::vector<std::vector<Nearest>> found(groups * shares);
    const std::size_t kept = std::min(options.k, std::max<std::size_t>(rows.count, 1));
    run_all(groups * shares, queries.count * rows.count * rows.stride, options, [&](std::size_t number) {
        const std::size_t first_query = number / shares * kQueriesPerTask;
        const std::size_t last_query = std::min(queries.count, first_query + kQueriesPerTask);
        const std::size_t first = number % shares * share;
        found[number].assign(last_query - first_query, Nearest(kept));
        Task(kernels, quantized, rows, options)
            .run(first_query, last_query, first, std::min(rows.count, first + share), found[number]);
    });
    std::vector<Neighbor> merged;
    for (std::size_t q = 0; q < queries.count; ++q) {
        merged.clear();
        for (std::size_t s = 0; s < shares; ++s) {
            const std::vector<Neighbor>& heap =
                found[q / kQueriesPerTask * shares + s][q % kQueriesPerTask].heap();
            merged.insert(merged.end(), heap.begin(), heap.end());
        }
        std::sort(merged.begin(), merged.end());
        write(merged, options.k, rows_out + q * options.k, distances_out + q * options.k);
    }
}

}  // namespace nearfield::flat
