#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/graph_view.h"
#include "kernels/code_kernels.h"

namespace nearfield::graph {

// A query without its mean, quantised, and multiplied by the projection.
//
// For l2 the quantised vector is v = 2 (q - mean), so that norm - <v, x> orders like |q - x|^2, norm being
// the squared length of x. For ip it is what is left of q without its part along the mean, t * mean: that
// part, large where vectors share a direction, would coarsen all steps. Rows hold -<mean, x> as their
// norm, weighed by t. Where training queries gave a mean of unit queries, it is q - |q| * query_mean instead,
// which keeps what the codes must tell small in every direction, and rows hold -<query_mean, x> less what
// their projection is known to leave out, weighed by |q|.
struct PreparedQuery {
    const float* query;  // [dims], as it came
    float weight;
    QuantizedVector quantized;
    const std::int8_t* codes;  // [dims], padded with zeros to whole cache lines
    const std::int32_t* dots;  // [reduced dims], the projection's rows times the codes; nullptr: none
};

// Prepares several queries at a time, so that they share every read of the projection: it does not fit the
// first level cache, and is a tenth to a fifth of what a search reads.
class QueryBatch {
public:
    static constexpr std::size_t kMost = 16;

    QueryBatch(const GraphView& graph, const KernelTable& kernels);

    // `queries` [count, dims], at most kMost, must live as long as what is prepared is used.
    void prepare(const float* queries, std::size_t count);
    // The i-th, until the next call of `prepare`.
    PreparedQuery at(std::size_t i) const;

private:
    // A line of the cache, so that no read of codes lies across two.
    struct alignas(64) CodeLine {
        std::int8_t codes[64] = {};
    };

    float centre(const float* query);
    float inner_product(const float* a, const float* b) const;

    const GraphView& graph_;
    const KernelTable& kernels_;
    std::size_t lines_;  // of a query's codes
    std::size_t reduced_;
    bool coded_;  // there are codes that queries are scored with
    float mean_square_ = 0.0f;
    const float* queries_ = nullptr;
    std::vector<float> centred_;
    std::vector<float> weights_;
    std::vector<QuantizedVector> quantized_;
    std::vector<CodeLine> codes_;
    std::vector<std::int32_t> dots_;
};

}  // namespace nearfield::graph
