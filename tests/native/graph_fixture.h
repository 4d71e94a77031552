// A graph over made rows, built from start to end without Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/thread_pool.h"
#include "graph/build.h"
#include "graph/graph_view.h"

namespace nearfield {

// Exactly as much memory as is promised, so that access beyond either end is
// seen.
template <typename T>
class Exact {
public:
    Exact() = default;
    explicit Exact(std::size_t size) : size_(size), data_(new T[size]()) {}
    T* data() const { return data_.get(); }
    T& operator[](std::size_t i) const { return data_[i]; }
    std::size_t size() const { return size_; }

private:
    std::size_t size_ = 0;
    std::unique_ptr<T[]> data_;
};

// Clusters of unequal size with a few equal rows, in the order of the clusters.
struct MadeRows {
    MadeRows(std::size_t count, std::size_t dims, unsigned seed);

    const float* row(std::size_t i) const { return values.data() + i * dims; }
    graph::BuildRows build_rows() const { return {vectors.data(), scales.data(), count, stride}; }

    std::size_t count, dims, stride;
    Exact<float> values;
    Exact<std::int8_t> vectors;
    Exact<float> scales;
    std::vector<std::int64_t> starts;  // of the clusters
    std::vector<std::int32_t> probes;
    std::size_t probe_count;
};

using Lists = Exact<std::uint32_t>;

// What a search reads, in one piece.
enum class Variant { lvq8, two_levels, projected, full_rows };

// Links of rows, numbered breadth first, and everything that a search of them
// needs.
class MadeGraph {
public:
    static constexpr std::size_t kDegree = 16;

    // Takes `lists`, one per row.
    MadeGraph(const MadeRows& rows, const Lists& lists, Variant variant, Metric metric);

    const graph::GraphView& view() const { return view_; }
    // The exact distance of a query to a row, as the view defines it.
    double distance(const float* query, std::size_t row) const;
    // Overwrites links, or codes, with random bytes.
    void damage_links(unsigned seed);
    void damage_codes(unsigned seed);

private:
    void encode(Variant variant);
    void project();

    const MadeRows& rows_;
    Lists neighbours_, entries_, row_of_, node_of_;
    Exact<std::uint8_t> primary_, secondary_;
    Exact<std::uint16_t> halves_;
    Exact<float> row_scale_, mean_, projection_scales_;
    Exact<std::int8_t> projection_;
    Exact<std::int32_t> projection_sums_;
    graph::GraphView view_{};
};

// Lists of all rows: nearest of the clusters, then two rounds of searching for
// every row.
Lists linked(const MadeRows& rows, ThreadPool* pool, std::size_t rounds);

// What a search of lists finds for the rows from `first` on, int64 [rows,
// candidates].
std::vector<std::int64_t> searched(const MadeRows& rows, const Lists& lists, std::size_t list_count,
                                   std::size_t first, std::size_t candidates, ThreadPool* pool);

}  // namespace nearfield
