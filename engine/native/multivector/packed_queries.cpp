#include "multivector/packed_queries.h"

#include <algorithm>
#include <cstring>

#include "kernels/code_kernels.h"

namespace nearfield::multivector {
namespace {

std::size_t ceil_divide(std::size_t value, std::size_t by) { return (value + by - 1) / by; }

// As few panels as hold the tokens, of widths as equal as they get; the last register's tokens fill its free
// lanes again. A register alone gains nothing from that: it waits for its broadcasts.
std::vector<PackedQueries::Panel> cut_panels(std::size_t tokens, const MaxSimKernels& kernels) {
    const std::size_t vectors = ceil_divide(tokens, kernels.lanes);
    const std::size_t count = ceil_divide(vectors, kernels.panel_vectors);
    std::vector<PackedQueries::Panel> panels;
    std::size_t first = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t width = vectors / count + (i < vectors % count ? 1 : 0);
        panels.push_back({first * kernels.lanes, width, 1});
        first += width;
    }
    if (count == 0 || panels.back().vectors == 1) return panels;
    const std::size_t last = tokens - (vectors - 1) * kernels.lanes;
    std::size_t& share = panels.back().share;
    while (share < kernels.most_share && last * share * 2 <= kernels.lanes) share *= 2;
    return panels;
}

std::size_t token_count(const Queries& queries) {
    return static_cast<std::size_t>(queries.offsets[queries.count] - queries.offsets[0]);
}

}  // namespace

PackedQueries::PackedQueries(const KernelTable& kernels, const Queries& queries, std::size_t dims,
                             TokenType type)
    : kernels_(*kernels.maxsim),
      dims_(dims),
      as_codes_(type == TokenType::lvq8 || type == TokenType::lvq4),
      padded_(ceil_divide(token_count(queries), kernels_.lanes) * kernels_.lanes),
      groups_(ceil_divide(dims, kernels_.code_group)),
      token_bytes_(groups_ * kernels_.code_group * kernels_.code_bytes),
      panels_(cut_panels(token_count(queries), kernels_)),
      floats_(as_codes_ ? 0 : padded_ * dims),
      codes_(as_codes_ ? padded_ * token_bytes_ : 0),
      sums_(as_codes_ ? padded_ : 0),
      weights_(padded_, 1.0f) {
    for (std::size_t q = 0; q <= queries.count; ++q) {
        bounds_.push_back(static_cast<std::size_t>(queries.offsets[q] - queries.offsets[0]));
    }
    const float* tokens = queries.tokens + static_cast<std::size_t>(queries.offsets[0]) * dims;
    if (!as_codes_) {
        pack_floats(tokens, bounds_.back());
    } else if (kernels_.code_bytes == 1) {
        pack_codes<std::int8_t>(kernels, tokens, bounds_.back());
    } else {
        pack_codes<std::int16_t>(kernels, tokens, bounds_.back());
    }
}

// The query token in a lane of a panel.
std::size_t PackedQueries::token_of(const Panel& panel, std::size_t lane) const {
    const std::size_t whole = (panel.vectors - 1) * kernels_.lanes;
    return panel.first + (lane < whole ? lane : whole + (lane - whole) % (kernels_.lanes / panel.share));
}

void PackedQueries::pack_floats(const float* tokens, std::size_t count) {
    for (const Panel& panel : panels_) {
        float* out = floats_.data() + panel.first * dims_;
        const std::size_t width = panel.vectors * kernels_.lanes;
        for (std::size_t lane = 0; lane < width; ++lane) {
            const std::size_t token = token_of(panel, lane);
            for (std::size_t k = 0; k < dims_; ++k) {
                out[k * width + lane] = token < count ? tokens[token * dims_ + k] : 0.0f;
            }
        }
    }
}

template <class T>
void PackedQueries::pack_codes(const KernelTable& kernels, const float* tokens, std::size_t count) {
    const std::size_t group = kernels_.code_group;
    std::memset(codes_.data(), 0, padded_ * token_bytes_);
    std::vector<std::int8_t> quantized(dims_);
    for (const Panel& panel : panels_) {
        T* out = reinterpret_cast<T*>(codes_.data() + panel.first * token_bytes_);
        const std::size_t width = panel.vectors * kernels_.lanes;
        for (std::size_t lane = 0; lane < width; ++lane) {
            const std::size_t token = token_of(panel, lane);
            if (token >= count) continue;
            weights_[token] = kernels.codes->quantize(tokens + token * dims_, dims_, quantized.data()).scale;
            std::int32_t sum = 0;
            for (std::size_t k = 0; k < dims_; ++k) {
                sum += quantized[k];
                out[(k / group * width + lane) * group + k % group] = quantized[k];
            }
            sums_[panel.first + lane] = static_cast<float>(sum);
        }
    }
}

}  // namespace nearfield::multivector
