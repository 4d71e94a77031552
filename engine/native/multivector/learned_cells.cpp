#include "multivector/learned_cells.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/code_kernels.h"
#include "kernels/panel_product.h"
#include "multivector/set_tasks.h"

namespace nearfield::multivector {
namespace {

constexpr std::size_t kBatchTokens = 128;
// Documents projected together: each cell's matrix is read once for all of them.
constexpr std::size_t kBatchSets = 96;
constexpr std::size_t kCodeBlock = 64;

}  // namespace

LearnedCells::LearnedCells(const float* centres, std::size_t cells, std::size_t dims, const float* mean)
    : cells_(cells), dims_(dims), centres_(centres, cells, dims), mean_(mean, mean + dims) {}

void LearnedCells::assign(const Work& work, const float* tokens, std::size_t count, std::int32_t* out) const {
    const std::size_t stride = centres_.padded_columns();
    const auto run = [&](std::size_t first, std::size_t last) {
        std::vector<float> scores(kBatchTokens * stride);
        for (std::size_t t = first; t < last; t += kBatchTokens) {
            const std::size_t batch = std::min(kBatchTokens, last - t);
            centres_.multiply(work.kernels, tokens + t * dims_, batch, scores.data());
            for (std::size_t i = 0; i < batch; ++i) {
                const float* row = scores.data() + i * stride;
                out[t + i] = static_cast<std::int32_t>(std::max_element(row, row + cells_) - row);
            }
        }
    };
    for_ranges(work, count, 32 * kBatchTokens, run);
}

// Which tokens of a batch of documents belong to which cell, and which stand in for the empty ones.
class LearnedCells::Members {
public:
    explicit Members(const LearnedCells& cells)
        : cells_(cells), scores_(kBatchTokens * cells.centres_.padded_columns()) {}

    void find(const Work& work, const TokenSets& sets, std::size_t first, std::size_t last) {
        first_ = first;
        const std::size_t count = last - first;
        const std::size_t cells = cells_.cells_;
        base_ = static_cast<std::size_t>(sets.offsets[first]);
        const auto tokens = static_cast<std::size_t>(sets.offsets[last]) - base_;
        starts_.assign(count * (cells + 1), 0);
        ordered_.resize(tokens);
        assigned_.resize(tokens);
        nearest_.assign(count * cells, 0);
        best_.assign(cells, 0.0f);
        for (std::size_t s = 0; s < count; ++s) {
            score_set(work, sets, first + s, starts_.data() + s * (cells + 1), nearest_.data() + s * cells);
        }
    }

    // The block of one cell of a document (numbered within the batch), written to out [dims].
    void block(const TokenSets& sets, std::size_t set, std::size_t cell, float* out) const {
        const std::size_t dims = cells_.dims_;
        const float* mean = cells_.mean_.data();
        const auto begin = static_cast<std::size_t>(sets.offsets[first_ + set]);
        if (begin == static_cast<std::size_t>(sets.offsets[first_ + set + 1])) {
            std::memset(out, 0, dims * sizeof(float));
            return;
        }
        const std::uint32_t* starts = starts_.data() + set * (cells_.cells_ + 1) + cell;
        if (starts[0] == starts[1]) {
            const float* token = sets.values + (begin + nearest_[set * cells_.cells_ + cell]) * dims;
            for (std::size_t i = 0; i < dims; ++i) out[i] = token[i] - mean[i];
            return;
        }
        std::memset(out, 0, dims * sizeof(float));
        for (std::uint32_t m = starts[0]; m < starts[1]; ++m) {
            const float* token = sets.values + (begin + ordered_[begin - base_ + m]) * dims;
            for (std::size_t i = 0; i < dims; ++i) out[i] += token[i];
        }
        const float share = 1.0f / static_cast<float>(starts[1] - starts[0]);
        for (std::size_t i = 0; i < dims; ++i) out[i] = out[i] * share - mean[i];
    }

private:
    void score_set(const Work& work, const TokenSets& sets, std::size_t set, std::uint32_t* starts,
                   std::uint32_t* nearest) {
        const std::size_t cells = cells_.cells_;
        const std::size_t stride = cells_.centres_.padded_columns();
        const auto begin = static_cast<std::size_t>(sets.offsets[set]);
        const auto end = static_cast<std::size_t>(sets.offsets[set + 1]);
        std::fill(best_.begin(), best_.end(), -std::numeric_limits<float>::infinity());
        for (std::size_t t = begin; t < end; t += kBatchTokens) {
            const std::size_t batch = std::min(kBatchTokens, end - t);
            cells_.centres_.multiply(work.kernels, sets.values + t * cells_.dims_, batch, scores_.data());
            for (std::size_t i = 0; i < batch; ++i) {
                const float* row = scores_.data() + i * stride;
                const auto token = static_cast<std::uint32_t>(t + i - begin);
                const auto cell = static_cast<std::uint32_t>(std::max_element(row, row + cells) - row);
                assigned_[t + i - base_] = cell;
                ++starts[cell + 1];
                for (std::size_t c = 0; c < cells; ++c) {
                    const bool nearer = row[c] > best_[c];
                    best_[c] = nearer ? row[c] : best_[c];
                    nearest[c] = nearer ? token : nearest[c];
                }
            }
        }
        for (std::size_t c = 0; c < cells; ++c) starts[c + 1] += starts[c];
        places_.assign(starts, starts + cells);
        for (std::size_t t = begin; t < end; ++t) {
            ordered_[begin - base_ + places_[assigned_[t - base_]]++] = static_cast<std::uint32_t>(t - begin);
        }
    }

    const LearnedCells& cells_;
    std::size_t first_ = 0;
    std::size_t base_ = 0;
    std::vector<float> scores_;
    std::vector<float> best_;
    std::vector<std::uint32_t> starts_;    // per document: where each cell's tokens begin in `ordered_`
    std::vector<std::uint32_t> ordered_;   // per document: its tokens by cell
    std::vector<std::uint32_t> assigned_;  // cell of each token of the batch
    std::vector<std::uint32_t> nearest_;   // per document and cell: the token nearest to the centre
    std::vector<std::uint32_t> places_;
};

void LearnedCells::blocks(const Work& work, const TokenSets& sets, float* out) const {
    const auto run = [&](std::size_t first, std::size_t last) {
        Members members(*this);
        members.find(work, sets, first, last);
        for (std::size_t s = first; s < last; ++s) {
            for (std::size_t c = 0; c < cells_; ++c) {
                members.block(sets, s - first, c, out + (s * cells_ + c) * dims_);
            }
        }
    };
    for_ranges(work, sets.count, kBatchSets, run);
}

void LearnedCells::encode_documents(const Work& work, const TokenSets& sets,
                                    const std::vector<Panels>& projection, const float* origin,
                                    std::size_t width, float* out) const {
    const auto run = [&](std::size_t first, std::size_t last) {
        Members members(*this);
        members.find(work, sets, first, last);
        const std::size_t count = last - first;
        const std::size_t stride = projection.front().padded_columns();
        std::vector<float> rows(count * dims_);
        std::vector<float> sums(count * stride);
        for (std::size_t s = 0; s < count; ++s) {
            for (std::size_t j = 0; j < width; ++j) sums[s * stride + j] = -origin[j];
        }
        for (std::size_t c = 0; c < cells_; ++c) {
            for (std::size_t s = 0; s < count; ++s) members.block(sets, s, c, rows.data() + s * dims_);
            projection[c].add_product(work.kernels, rows.data(), count, sums.data());
        }
        for (std::size_t s = 0; s < count; ++s) {
            std::memcpy(out + (first + s) * width, sums.data() + s * stride, width * sizeof(float));
        }
    };
    for_ranges(work, sets.count, kBatchSets, run);
}

void LearnedCells::encode_queries(const Work& work, const TokenSets& sets, const QuerySide& side,
                                  float* out) const {
    const std::size_t code_dims = (dims_ + kCodeBlock - 1) / kCodeBlock * kCodeBlock;
    const std::size_t stride = centres_.padded_columns();
    const CodeKernels& codes = *work.kernels.codes;
    const auto run = [&](std::size_t first, std::size_t last) {
        std::vector<float> scores(kBatchTokens * stride);
        std::vector<std::int8_t> quantized(code_dims);
        std::vector<std::int32_t> dots(side.width);
        for (std::size_t s = first; s < last; ++s) {
            float* row = out + s * side.width;
            std::memset(row, 0, side.width * sizeof(float));
            const auto end = static_cast<std::size_t>(sets.offsets[s + 1]);
            for (auto t = static_cast<std::size_t>(sets.offsets[s]); t < end; t += kBatchTokens) {
                const std::size_t batch = std::min(kBatchTokens, end - t);
                const float* tokens = sets.values + t * dims_;
                centres_.multiply(work.kernels, tokens, batch, scores.data());
                for (std::size_t i = 0; i < batch; ++i) {
                    const float* products = scores.data() + i * stride;
                    const auto cell =
                        static_cast<std::size_t>(std::max_element(products, products + cells_) - products);
                    const float scale = codes.quantize(tokens + i * dims_, dims_, quantized.data()).scale;
                    codes.dot_rows(quantized.data(), side.codes + cell * side.width * code_dims,
                                   side.sums + cell * side.width, code_dims, side.width, dots.data());
                    const float* scales = side.scales + cell * side.width;
                    for (std::size_t j = 0; j < side.width; ++j) {
                        row[j] += scale * scales[j] * static_cast<float>(dots[j]);
                    }
                }
            }
        }
    };
    for_ranges(work, sets.count, 1, run);
}

}  // namespace nearfield::multivector
