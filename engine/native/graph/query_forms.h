#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/graph_view.h"
#include "graph/prefetch.h"
#include "graph/query_batch.h"
#include "kernels/code_kernels.h"

namespace nearfield::graph {

// A query in the forms its stages read: as it came, and quantised for the primary and the secondary codes.
class QueryForms {
public:
    QueryForms(const GraphView& graph, const KernelTable& kernels);

    // The query itself must live as long as the form is used, its codes and products need not.
    void set(const PreparedQuery& prepared);

    [[gnu::always_inline]] void prefetch_primary(const std::uint32_t* nodes, std::size_t count) const {
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t at = walks_rows_ ? graph_.row_of[nodes[i]] : nodes[i];
            prefetch(primary_bytes_ + at * primary_stride_, primary_stride_);
        }
    }
    // Distances of nodes as the traversal sees them, up to a constant of the query.
    void score_primary(const std::uint32_t* nodes, std::size_t count, float* out);
    // Distances of nodes by their secondary codes, up to another constant; `out` holds those by the primary
    // codes before.
    void score_secondary(const std::uint32_t* nodes, std::size_t count, float* out);
    // Exact distances of rows.
    void score_rows(const std::uint32_t* rows, std::size_t count, float* out);

private:
    void score_codes(const CodeRows& rows, const std::int8_t* codes, QuantizedVector quantized,
                     const std::uint32_t* nodes, std::size_t count, float* out) const;
    void project(const PreparedQuery& prepared);

    const GraphView& graph_;
    const KernelTable& kernels_;
    const CodeKernels& codes_;
    bool walks_rows_;  // there are no primary codes
    const char* primary_bytes_;
    std::size_t primary_stride_;
    const float* query_ = nullptr;
    float weight_ = 1.0f;
    QuantizedVector whole_{};
    QuantizedVector primary_{};
    std::vector<float> projected_;
    std::vector<float> residuals_;
    std::vector<std::int64_t> offsets_;
    std::vector<std::uint32_t> rows_;
    std::vector<std::int8_t> projected_codes_;  // natural order
    std::vector<std::int8_t> primary_codes_;    // in the order of the rows' codes
    std::vector<std::int8_t> secondary_codes_;
};

}  // namespace nearfield::graph
