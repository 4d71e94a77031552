#include "graph/query_batch.h"

#include <cmath>

namespace nearfield::graph {

QueryBatch::QueryBatch(const GraphView& graph, const KernelTable& kernels)
    : graph_(graph),
      kernels_(kernels),
      lines_((graph.dims + 63) / 64),
      reduced_(graph.projection != nullptr ? graph.primary.layout.dims : 0),
      coded_(graph.primary.rows != nullptr || graph.secondary.rows != nullptr),
      centred_(graph.dims) {
    if (graph.metric == Metric::ip && graph.query_mean == nullptr)
        mean_square_ = inner_product(graph.mean, graph.mean);
}

void QueryBatch::prepare(const float* queries, std::size_t count) {
    queries_ = queries;
    if (quantized_.size() < count) {
        weights_.resize(count);
        quantized_.resize(count);
        codes_.resize(count * lines_);
        dots_.resize(count * reduced_);
    }
    if (!coded_) return;
    const CodeKernels& kernels = *kernels_.codes;
    for (std::size_t i = 0; i < count; ++i) {
        weights_[i] = centre(queries + i * graph_.dims);
        quantized_[i] = kernels.quantize(centred_.data(), graph_.dims, codes_[i * lines_].codes);
    }
    if (reduced_ == 0) return;
    if (count == 1) {
        kernels.dot_rows(codes_[0].codes, graph_.projection, graph_.projection_sums, graph_.projection_stride,
                         reduced_, dots_.data());
    } else {
        kernels.dot_tile(codes_[0].codes, count, graph_.projection, graph_.projection_sums, reduced_,
                         graph_.projection_stride, dots_.data(), reduced_);
    }
}

PreparedQuery QueryBatch::at(std::size_t i) const {
    return {queries_ + i * graph_.dims, weights_[i], quantized_[i], codes_[i * lines_].codes,
            reduced_ > 0 ? dots_.data() + i * reduced_ : nullptr};
}

// Returns the weight of the rows' norms.
float QueryBatch::centre(const float* query) {
    const float* mean = graph_.mean;
    if (graph_.metric == Metric::l2) {
        const float factor = 2.0f * graph_.scale;
        for (std::size_t i = 0; i < graph_.dims; ++i) centred_[i] = factor * (query[i] - mean[i]);
        return 1.0f;
    }
    if (graph_.query_mean != nullptr) {
        const float length = std::sqrt(inner_product(query, query));
        for (std::size_t i = 0; i < graph_.dims; ++i)
            centred_[i] = graph_.scale * (query[i] - length * graph_.query_mean[i]);
        return length;
    }
    const float weight = mean_square_ > 0.0f ? inner_product(query, mean) / mean_square_ : 0.0f;
    for (std::size_t i = 0; i < graph_.dims; ++i) centred_[i] = graph_.scale * (query[i] - weight * mean[i]);
    return weight;
}

float QueryBatch::inner_product(const float* a, const float* b) const {
    float out;
    const DistanceBatch pair{a, 1, b, nullptr, 1, graph_.dims, false, &out, 1};
    kernels_.distances[static_cast<int>(Metric::ip)][static_cast<int>(RowType::f32)](pair);
    return -out;
}

}  // namespace nearfield::graph
