// Distances of tiles of queries x rows, included inside the anonymous namespace of a tier that defines
//   Half, Vec, kLanes, kRowsPerQueryTile; zero(), load(elements), load_tail(elements, count), subtract, add,
//   absolute, multiply_add(a, b, sum), reduce(Vec), prefetch(pointer)
// Each pair owns one accumulator and goes through its dimensions in order, whatever the tile: that is what
// makes a distance independent of the batch it is computed in.

constexpr std::size_t kRowTile = 4;
constexpr std::size_t kCacheLineBytes = 64;
constexpr std::size_t kPrefetchBytes = 2048;  // how far ahead rows are fetched: at least one tile, at most 16

struct L2 {
    static Vec accumulate(Vec sum, Vec query, Vec row) {
        const Vec difference = subtract(query, row);
        return multiply_add(difference, difference, sum);
    }
    static float finish(float sum) { return sum; }
};

struct Ip {
    static Vec accumulate(Vec sum, Vec query, Vec row) { return multiply_add(query, row, sum); }
    static float finish(float sum) { return 0.0f - sum; }
};

struct L1 {
    static Vec accumulate(Vec sum, Vec query, Vec row) { return add(sum, absolute(subtract(query, row))); }
    static float finish(float sum) { return sum; }
};

// What to fetch while a tile is computed: with each cache line of row r, `lines[r] + scale * bytes done`.
// Consecutive rows are fetched in the order of their addresses (lines one apart, scale 4), which the memory
// answers almost twice as fast as four rows side by side; gathered rows go side by side (scale 1).
struct Ahead {
    std::uintptr_t
        lines[kRowTile];  // not pointers: they may lie beyond the rows, and a prefetch never faults
    std::size_t scale;
};

// Only the first query tile over a row tile fetches.
template <class MetricTerms, std::size_t Queries, std::size_t Rows, bool Fetch, class Element>
inline __attribute__((always_inline)) void tile(const float* queries, const Element* const* rows,
                                                const std::uintptr_t* ahead, std::size_t scale,
                                                std::size_t dims, float* out, std::size_t out_stride) {
    Vec sums[Queries][Rows];
    Vec row_values[Rows];
#pragma GCC unroll 4
    for (std::size_t q = 0; q < Queries; ++q) {
#pragma GCC unroll 4
        for (std::size_t r = 0; r < Rows; ++r) sums[q][r] = zero();
    }
    std::size_t i = 0;
    for (; i + kLanes <= dims; i += kLanes) {
        if (Fetch && i * sizeof(Element) % kCacheLineBytes == 0) {
#pragma GCC unroll 4
            for (std::size_t r = 0; r < Rows; ++r) {
                prefetch(reinterpret_cast<const void*>(ahead[r] + scale * i * sizeof(Element)));
            }
        }
#pragma GCC unroll 4
        for (std::size_t r = 0; r < Rows; ++r) row_values[r] = load(rows[r] + i);
#pragma GCC unroll 4
        for (std::size_t q = 0; q < Queries; ++q) {
            const Vec query = load(queries + q * dims + i);
#pragma GCC unroll 4
            for (std::size_t r = 0; r < Rows; ++r) {
                sums[q][r] = MetricTerms::accumulate(sums[q][r], query, row_values[r]);
            }
        }
    }
    if (i < dims) {
#pragma GCC unroll 4
        for (std::size_t r = 0; r < Rows; ++r) row_values[r] = load_tail(rows[r] + i, dims - i);
#pragma GCC unroll 4
        for (std::size_t q = 0; q < Queries; ++q) {
            const Vec query = load_tail(queries + q * dims + i, dims - i);
#pragma GCC unroll 4
            for (std::size_t r = 0; r < Rows; ++r) {
                sums[q][r] = MetricTerms::accumulate(sums[q][r], query, row_values[r]);
            }
        }
    }
#pragma GCC unroll 4
    for (std::size_t q = 0; q < Queries; ++q) {
#pragma GCC unroll 4
        for (std::size_t r = 0; r < Rows; ++r)
            out[q * out_stride + r] = MetricTerms::finish(reduce(sums[q][r]));
    }
}

// All queries against one tile of rows: four share each load of a row, with as many rows as registers allow.
template <class MetricTerms, std::size_t Rows, bool Fetch, class Element>
void row_tile(const DistanceBatch& batch, const Element* const* rows, const Ahead& ahead, float* out) {
    constexpr std::size_t kPart = Rows < kRowsPerQueryTile ? Rows : kRowsPerQueryTile;
    const std::size_t dims = batch.dims;
    const std::size_t stride = batch.out_stride;
    const std::size_t scale = ahead.scale;
    const float* queries = batch.queries;
    std::size_t left = batch.query_count;
    bool fetch = Fetch;
    for (; left >= 4; left -= 4, queries += 4 * dims, out += 4 * stride) {
        for (std::size_t r = 0; r < Rows; r += kPart) {
            if (fetch) {
                tile<MetricTerms, 4, kPart, true>(queries, rows + r, ahead.lines + r, scale, dims, out + r,
                                                  stride);
            } else {
                tile<MetricTerms, 4, kPart, false>(queries, rows + r, ahead.lines + r, scale, dims, out + r,
                                                   stride);
            }
        }
        fetch = false;
    }
    if (left >= 2) {
        tile<MetricTerms, 2, Rows, Fetch>(queries, rows, ahead.lines, scale, dims, out, stride);
        left -= 2, queries += 2 * dims, out += 2 * stride;
    }
    if (left == 1) tile<MetricTerms, 1, Rows, Fetch>(queries, rows, ahead.lines, scale, dims, out, stride);
}

// The fastest way to read consecutive floats from memory for one query: row after row, without any hint, as
// the hardware prefetcher expects it. From the cache, and with more arithmetic per byte, tiles of rows are
// faster.
template <class MetricTerms, class Element>
void one_by_one(const DistanceBatch& batch) {
    const auto* row = static_cast<const Element*>(batch.rows);
    for (std::size_t r = 0; r < batch.row_count; ++r, row += batch.dims) {
        tile<MetricTerms, 1, 1, false>(batch.queries, &row, nullptr, 0, batch.dims, batch.out + r, 0);
    }
}

template <class MetricTerms, class Element>
void distances(const DistanceBatch& batch) {
    const bool streaming = batch.from_memory && batch.query_count == 1 && batch.offsets == nullptr;
    if (streaming && sizeof(Element) == sizeof(float)) return one_by_one<MetricTerms, Element>(batch);
    const auto* base = static_cast<const Element*>(batch.rows);
    const std::size_t count = batch.row_count;
    const std::size_t tiles_ahead = kPrefetchBytes / (kRowTile * batch.dims * sizeof(Element));
    const std::size_t lead = kRowTile * (tiles_ahead < 1 ? 1 : tiles_ahead > 16 ? 16 : tiles_ahead);
    const Element* rows[kRowTile];
    Ahead ahead;
    ahead.scale = batch.offsets == nullptr ? kRowTile : 1;
    for (std::size_t first = 0; first < count; first += kRowTile) {
        const std::size_t tile_rows = count - first < kRowTile ? count - first : kRowTile;
        for (std::size_t r = 0; r < tile_rows; ++r) {
            const std::size_t here = first + r;
            if (batch.offsets == nullptr) {
                const std::size_t there = (first + lead) * batch.dims * sizeof(Element);
                rows[r] = base + here * batch.dims;
                ahead.lines[r] = reinterpret_cast<std::uintptr_t>(base) + there + r * kCacheLineBytes;
            } else {
                const std::size_t there = here + lead < count ? here + lead : here;
                rows[r] = base + static_cast<std::size_t>(batch.offsets[here]) * batch.dims;
                ahead.lines[r] = reinterpret_cast<std::uintptr_t>(
                    base + static_cast<std::size_t>(batch.offsets[there]) * batch.dims);
            }
        }
        if (tile_rows == kRowTile) {
            row_tile<MetricTerms, kRowTile, true>(batch, rows, ahead, batch.out + first);
        } else {
            for (std::size_t r = 0; r < tile_rows; ++r) {
                row_tile<MetricTerms, 1, false>(batch, rows + r, ahead, batch.out + first + r);
            }
        }
    }
}
