#include "graph/query_forms.h"

#include <algorithm>

#include "encodings/lvq.h"

namespace nearfield::graph {
namespace {

std::size_t padded(const CodeRows& rows) { return rows.layout.blocks() * rows.layout.dims_per_block(); }

}  // namespace

QueryForms::QueryForms(const GraphView& graph, const CodeKernels& kernels)
    : graph_(graph),
      kernels_(kernels),
      centred_(graph.dims),
      projected_(graph.primary.layout.dims),
      dots_(graph.primary.layout.dims),
      whole_codes_(std::max(graph.dims, graph.projection_stride)),
      projected_codes_(graph.primary.layout.dims),
      primary_codes_(padded(graph.primary)),
      secondary_codes_(graph.secondary.rows != nullptr ? padded(graph.secondary) : 0) {
    if (graph.metric == Metric::l2) return;
    for (std::size_t i = 0; i < graph.dims; ++i) mean_square_ += graph.mean[i] * graph.mean[i];
}

void QueryForms::set(const float* query) {
    query_ = query;
    const std::size_t dims = graph_.dims;
    offset_ = 0.0f;
    if (graph_.metric == Metric::l2) {
        for (std::size_t i = 0; i < dims; ++i) {
            centred_[i] = 2.0f * graph_.scale * (query[i] - graph_.mean[i]);
            offset_ += centred_[i] * centred_[i] / 4.0f;
        }
    } else {
        float along = 0.0f;
        for (std::size_t i = 0; i < dims; ++i) along += query[i] * graph_.mean[i];
        weight_ = mean_square_ > 0.0f ? along / mean_square_ : 0.0f;
        for (std::size_t i = 0; i < dims; ++i) {
            centred_[i] = graph_.scale * (query[i] - weight_ * graph_.mean[i]);
        }
        offset_ = -graph_.scale * graph_.scale * along;
    }
    whole_ = kernels_.quantize(centred_.data(), dims, whole_codes_.data());
    if (graph_.projection != nullptr) {
        project();
        encodings::order_query(projected_codes_.data(), graph_.primary.layout, primary_codes_.data());
    } else {
        primary_ = whole_;
        encodings::order_query(whole_codes_.data(), graph_.primary.layout, primary_codes_.data());
    }
    if (graph_.secondary.rows != nullptr) {
        encodings::order_query(whole_codes_.data(), graph_.secondary.layout, secondary_codes_.data());
    }
}

void QueryForms::project() {
    const std::size_t dims = graph_.primary.layout.dims;
    kernels_.dot_rows(whole_codes_.data(), graph_.projection, graph_.projection_sums,
                      graph_.projection_stride, dims, dots_.data());
    for (std::size_t i = 0; i < dims; ++i) {
        projected_[i] = whole_.scale * graph_.projection_scales[i] * static_cast<float>(dots_[i]);
    }
    primary_ = kernels_.quantize(projected_.data(), dims, projected_codes_.data());
}

void QueryForms::score(const CodeRows& rows, const std::int8_t* codes, QuantizedVector quantized,
                       const std::uint32_t* nodes, std::size_t count, float* out) const {
    const CodeScan scan{codes,     quantized.scale, quantized.sum, weight_,
                        rows.rows, rows.stride,     rows.layout.blocks(),
                        nodes,     count,           out};
    (rows.layout.bits == 4 ? kernels_.scan4 : kernels_.scan8)(scan);
}

}  // namespace nearfield::graph
