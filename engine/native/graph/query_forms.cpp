#include "graph/query_forms.h"

#include <algorithm>

#include "encodings/lvq.h"

namespace nearfield::graph {
namespace {

std::size_t padded(const CodeRows& rows) {
    return rows.rows != nullptr ? rows.layout.blocks() * rows.layout.dims_per_block() : 0;
}

}  // namespace

QueryForms::QueryForms(const GraphView& graph, const KernelTable& kernels)
    : graph_(graph),
      kernels_(kernels),
      codes_(*kernels.codes),
      walks_rows_(graph.primary.rows == nullptr),
      primary_bytes_(walks_rows_ ? static_cast<const char*>(graph.rows)
                                 : reinterpret_cast<const char*>(graph.primary.rows)),
      primary_stride_(walks_rows_ ? row_bytes(graph) : graph.primary.stride),
      projected_(graph.primary.layout.dims),
      projected_codes_(graph.primary.layout.dims),
      primary_codes_(padded(graph.primary)),
      secondary_codes_(padded(graph.secondary)) {}

void QueryForms::set(const PreparedQuery& prepared) {
    query_ = prepared.query;
    if (walks_rows_ && graph_.secondary.rows == nullptr) return;
    weight_ = prepared.weight;
    whole_ = prepared.quantized;
    if (prepared.dots != nullptr) {
        project(prepared);
        encodings::order_query(projected_codes_.data(), graph_.primary.layout, primary_codes_.data());
    } else if (!walks_rows_) {
        primary_ = whole_;
        encodings::order_query(prepared.codes, graph_.primary.layout, primary_codes_.data());
    }
    if (graph_.secondary.rows != nullptr) {
        // A residual lies where the primary codes do.
        const bool projected = graph_.secondary_is_residual && graph_.projection != nullptr;
        encodings::order_query(projected ? projected_codes_.data() : prepared.codes, graph_.secondary.layout,
                               secondary_codes_.data());
    }
}

void QueryForms::project(const PreparedQuery& prepared) {
    const std::size_t dims = projected_.size();
    for (std::size_t i = 0; i < dims; ++i) {
        projected_[i] = whole_.scale * graph_.projection_scales[i] * static_cast<float>(prepared.dots[i]);
    }
    primary_ = codes_.quantize(projected_.data(), dims, projected_codes_.data());
}

void QueryForms::score_codes(const CodeRows& rows, const std::int8_t* codes, QuantizedVector quantized,
                             const std::uint32_t* nodes, std::size_t count, float* out) const {
    const CodeScan scan{codes,       quantized.scale,      quantized.sum, weight_, rows.rows,
                        rows.stride, rows.layout.blocks(), nodes,         count,   out};
    (rows.layout.bits == 4 ? codes_.scan4 : codes_.scan8)(scan);
}

void QueryForms::score_primary(const std::uint32_t* nodes, std::size_t count, float* out) {
    if (!walks_rows_) return score_codes(graph_.primary, primary_codes_.data(), primary_, nodes, count, out);
    if (rows_.size() < count) rows_.resize(count);
    for (std::size_t i = 0; i < count; ++i) rows_[i] = graph_.row_of[nodes[i]];
    score_rows(rows_.data(), count, out);
}

void QueryForms::score_secondary(const std::uint32_t* nodes, std::size_t count, float* out) {
    if (!graph_.secondary_is_residual)
        return score_codes(graph_.secondary, secondary_codes_.data(), whole_, nodes, count, out);
    if (residuals_.size() < count) residuals_.resize(count);
    score_codes(graph_.secondary, secondary_codes_.data(), primary_, nodes, count, residuals_.data());
    for (std::size_t i = 0; i < count; ++i) out[i] += residuals_[i];
}

void QueryForms::score_rows(const std::uint32_t* rows, std::size_t count, float* out) {
    offsets_.assign(rows, rows + count);
    const DistanceBatch batch{query_, 1, graph_.rows, offsets_.data(), count, graph_.dims, true, out, count};
    kernels_.distances[static_cast<int>(graph_.metric)][static_cast<int>(graph_.row_type)](batch);
    if (graph_.row_scale == nullptr) return;
    for (std::size_t i = 0; i < count; ++i) out[i] *= graph_.row_scale[rows[i]];
}

}  // namespace nearfield::graph
