#include "multivector/learned_cells.h"

#include <algorithm>
#include <cmath>
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
constexpr std::size_t kTileTokens = 32;  // of one cell multiplied at once
// Of the softmax over a document's tokens (decision record 0013); weights below 1/256 of the largest count
// for nothing: kBehindMost = ln(256) / kSharpness.
constexpr float kSharpness = 40.0f;
constexpr float kBehindMost = 5.545177f / kSharpness;

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

// What stands for each cell of a batch of documents: tokens and their weights.
class LearnedCells::Members {
public:
    explicit Members(const LearnedCells& cells) : cells_(cells), best_(cells.cells_), places_(cells.cells_) {}

    void find(const Work& work, const TokenSets& sets, std::size_t first, std::size_t last) {
        starts_.assign((last - first) * cells_.cells_ + 1, 0);
        members_.clear();
        for (std::size_t s = first; s < last; ++s) {
            score_set(work, sets, s);
            gather(sets, s, starts_.data() + (s - first) * cells_.cells_);
        }
    }

    // The block of one cell of a document (numbered within the batch), written to out [dims].
    void block(const TokenSets& sets, std::size_t set, std::size_t cell, float* out) const {
        const std::size_t dims = cells_.dims_;
        const std::size_t* bounds = starts_.data() + set * cells_.cells_ + cell;
        std::memset(out, 0, dims * sizeof(float));
        if (bounds[0] == bounds[1]) return;  // a document without tokens
        float total = 0.0f;
        for (std::size_t m = bounds[0]; m < bounds[1]; ++m) {
            const float weight = members_[m].weight;
            const float* token = sets.values + members_[m].token * dims;
            total += weight;
            for (std::size_t i = 0; i < dims; ++i) out[i] += weight * token[i];
        }
        const float* mean = cells_.mean_.data();
        const float share = 1.0f / total;
        for (std::size_t i = 0; i < dims; ++i) out[i] = out[i] * share - mean[i];
    }

private:
    struct Member {
        std::size_t token;
        float weight;
    };
    struct Hit {
        std::size_t cell;
        Member member;
    };

    // Products of a document's tokens with all centres, and the largest of each centre.
    void score_set(const Work& work, const TokenSets& sets, std::size_t set) {
        const std::size_t stride = cells_.centres_.padded_columns();
        const auto begin = static_cast<std::size_t>(sets.offsets[set]);
        const std::size_t count = static_cast<std::size_t>(sets.offsets[set + 1]) - begin;
        scores_.resize(count * stride);
        if (count > 0) {
            cells_.centres_.multiply(work.kernels, sets.values + begin * cells_.dims_, count, scores_.data());
        }
        std::fill(best_.begin(), best_.end(), -std::numeric_limits<float>::infinity());
        for (std::size_t t = 0; t < count; ++t) {
            const float* row = scores_.data() + t * stride;
            for (std::size_t c = 0; c < cells_.cells_; ++c) best_[c] = row[c] > best_[c] ? row[c] : best_[c];
        }
    }

    // Appends the scored document's members, by cell; starts [cells + 1], the first of them set already.
    void gather(const TokenSets& sets, std::size_t set, std::size_t* starts) {
        const std::size_t cells = cells_.cells_;
        const std::size_t stride = cells_.centres_.padded_columns();
        const auto begin = static_cast<std::size_t>(sets.offsets[set]);
        const auto end = static_cast<std::size_t>(sets.offsets[set + 1]);
        hits_.clear();
        for (std::size_t t = begin; t < end; ++t) {
            const float* row = scores_.data() + (t - begin) * stride;
            for (std::size_t c = 0; c < cells; ++c) {
                const float behind = best_[c] - row[c];
                if (behind > kBehindMost) continue;
                hits_.push_back({c, {t, std::exp(-kSharpness * behind)}});
                ++starts[c + 1];
            }
        }
        for (std::size_t c = 0; c < cells; ++c) starts[c + 1] += starts[c];
        std::copy(starts, starts + cells, places_.begin());
        members_.resize(starts[cells]);
        for (const Hit& hit : hits_) members_[places_[hit.cell]++] = hit.member;
    }

    const LearnedCells& cells_;
    std::vector<float> scores_;  // of one document
    std::vector<float> best_;
    std::vector<Hit> hits_;            // of one document, by token
    std::vector<std::size_t> places_;  // where the next member of each cell goes
    std::vector<std::size_t> starts_;  // per document and cell: where its members begin
    std::vector<Member> members_;
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
    const CodeKernels& codes = *work.kernels.codes;
    const auto run = [&](std::size_t first, std::size_t last) {
        std::memset(out + first * side.width, 0, (last - first) * side.width * sizeof(float));
        const std::vector<Asking> asking = by_cell(work, sets, first, last);
        std::vector<std::int8_t> quantized(kTileTokens * code_dims);
        float factors[kTileTokens];
        std::vector<std::int32_t> dots(kTileTokens * side.width);
        for (std::size_t begin = 0; begin < asking.size();) {
            const std::size_t cell = asking[begin].cell;
            std::size_t count = 0;
            for (; count < kTileTokens && begin + count < asking.size(); ++count) {
                const Asking& token = asking[begin + count];
                if (token.cell != cell) break;
                factors[count] = codes
                                     .quantize(sets.values + token.number * dims_, dims_,
                                               quantized.data() + count * code_dims)
                                     .scale;
            }
            codes.dot_tile(quantized.data(), count, side.codes + cell * side.width * code_dims,
                           side.sums + cell * side.width, side.width, code_dims, dots.data(), side.width);
            const float* scales = side.scales + cell * side.width;
            for (std::size_t i = 0; i < count; ++i) {
                float* row = out + asking[begin + i].set * side.width;
                const std::int32_t* products = dots.data() + i * side.width;
                for (std::size_t j = 0; j < side.width; ++j) {
                    row[j] += factors[i] * scales[j] * static_cast<float>(products[j]);
                }
            }
            begin += count;
        }
    };
    for_sets(work, sets, run);
}

// The tokens of some sets, by cell: a batch reads each cell's matrix once, and the order in which a set's
// tokens are added does not depend on the batch.
std::vector<LearnedCells::Asking> LearnedCells::by_cell(const Work& work, const TokenSets& sets,
                                                        std::size_t first, std::size_t last) const {
    const std::size_t stride = centres_.padded_columns();
    std::vector<float> scores(kBatchTokens * stride);
    std::vector<Asking> found;
    for (std::size_t s = first; s < last; ++s) {
        const auto end = static_cast<std::size_t>(sets.offsets[s + 1]);
        for (auto t = static_cast<std::size_t>(sets.offsets[s]); t < end; ++t) found.push_back({0, s, t});
    }
    for (std::size_t i = 0; i < found.size(); i += kBatchTokens) {
        const std::size_t batch = std::min(kBatchTokens, found.size() - i);
        centres_.multiply(work.kernels, sets.values + found[i].number * dims_, batch, scores.data());
        for (std::size_t j = 0; j < batch; ++j) {
            const float* row = scores.data() + j * stride;
            found[i + j].cell = static_cast<std::size_t>(std::max_element(row, row + cells_) - row);
        }
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const Asking& a, const Asking& b) { return a.cell < b.cell; });
    return found;
}

}  // namespace nearfield::multivector
