#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/graph_view.h"
#include "kernels/code_kernels.h"

namespace nearfield::graph {

// A query in the forms its stages read: as it came, and quantised for the primary and the secondary codes.
//
// For l2 the quantised vector is v = 2 (q - mean), so that norm - <v, x> orders like |q - x|^2, norm being
// the squared length of x. For ip it is what is left of q without its part along the mean, t * mean: that
// part, large where vectors share a direction, would coarsen all steps. Rows hold -<mean, x> as their
// norm, weighed by t.
class QueryForms {
public:
    QueryForms(const GraphView& graph, const CodeKernels& kernels);

    // `query` [dims] must live as long as the form is used.
    void set(const float* query);

    const float* query() const { return query_; }
    // Distances of nodes by their primary codes, up to a constant of the query.
    void score_primary(const std::uint32_t* nodes, std::size_t count, float* out) const {
        score(graph_.primary, primary_codes_.data(), primary_, nodes, count, out);
    }
    // Distances of nodes by their secondary codes, up to `secondary_offset`.
    void score_secondary(const std::uint32_t* nodes, std::size_t count, float* out) const {
        score(graph_.secondary, secondary_codes_.data(), whole_, nodes, count, out);
    }
    float secondary_offset() const { return offset_; }

private:
    void score(const CodeRows& rows, const std::int8_t* codes, QuantizedVector quantized,
               const std::uint32_t* nodes, std::size_t count, float* out) const;
    void project();

    const GraphView& graph_;
    const CodeKernels& kernels_;
    const float* query_ = nullptr;
    float offset_ = 0.0f;
    float weight_ = 1.0f;
    float mean_square_ = 0.0f;
    QuantizedVector whole_{};
    QuantizedVector primary_{};
    std::vector<float> centred_;
    std::vector<float> projected_;
    std::vector<std::int32_t> dots_;
    std::vector<std::int8_t> whole_codes_;      // natural order, padded to the projection's stride
    std::vector<std::int8_t> projected_codes_;  // natural order
    std::vector<std::int8_t> primary_codes_;    // in the order of the rows' codes
    std::vector<std::int8_t> secondary_codes_;
};

}  // namespace nearfield::graph
