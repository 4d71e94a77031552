#include "multivector/fde.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/panel_product.h"
#include "multivector/set_tasks.h"

namespace nearfield::multivector {
namespace {

// Tokens whose products are held at once: with 260 columns they stay in the second-level cache.
constexpr std::size_t kBatchTokens = 192;
constexpr std::uint64_t kAbsent = std::numeric_limits<std::uint64_t>::max();
// A key orders by differing bits, then token: 6 bits of the one, 42 of the other, 16 of the token's cell.
constexpr std::uint64_t kOneBit = std::uint64_t{1} << 58;
constexpr std::size_t kCellBits = 16;

}  // namespace

Panels::Panels(const float* matrix, std::size_t columns, std::size_t depth)
    : panel_count_((columns + kPanelColumns - 1) / kPanelColumns),
      depth_(depth),
      packed_(panel_count_ * depth * kPanelColumns) {
    for (std::size_t c = 0; c < columns; ++c) {
        float* panel = packed_.data() + c / kPanelColumns * depth * kPanelColumns + c % kPanelColumns;
        for (std::size_t i = 0; i < depth; ++i) panel[i * kPanelColumns] = matrix[c * depth + i];
    }
}

std::size_t Panels::padded_columns() const { return panel_count_ * kPanelColumns; }

void Panels::multiply(const KernelTable& kernels, const float* rows, std::size_t count, float* out) const {
    kernels.panel_product(
        {rows, depth_, count, depth_, packed_.data(), panel_count_, out, padded_columns(), false});
}

void Panels::add_product(const KernelTable& kernels, const float* rows, std::size_t count, float* out) const {
    kernels.panel_product(
        {rows, depth_, count, depth_, packed_.data(), panel_count_, out, padded_columns(), true});
}

SimHashEncoder::SimHashEncoder(const float* planes, const float* projections, std::size_t dims,
                               std::size_t repetitions, std::size_t bits, std::size_t projected)
    : dims_(dims),
      repetitions_(repetitions),
      bits_(bits),
      cells_(std::size_t{1} << bits),
      projected_(projected),
      planes_(planes, repetitions * bits, dims),
      identity_(projections == nullptr) {
    if (!identity_) projections_ = Panels(projections, repetitions * projected, dims);
}

// One task's memory, reused from set to set.
class SimHashEncoder::Scratch {
public:
    Scratch(const SimHashEncoder& encoder, bool document)
        : signs(kBatchTokens * encoder.planes_.padded_columns()),
          projected(encoder.identity_ ? 0 : kBatchTokens * encoder.projections_.padded_columns()),
          counts(document ? encoder.repetitions_ * encoder.cells_ : 0),
          nearest(counts.size()),
          firsts(document ? encoder.width() : 0) {}

    void begin_document() {
        std::fill(counts.begin(), counts.end(), 0u);
        std::fill(nearest.begin(), nearest.end(), kAbsent);
    }

    std::vector<float> signs;
    std::vector<float> projected;
    std::vector<std::uint32_t> counts;   // tokens of each cell; empty for queries
    std::vector<std::uint64_t> nearest;  // keys of each cell's first token, then of its nearest
    std::vector<float> firsts;           // the projection of each cell's first token
};

void SimHashEncoder::encode_queries(const Work& work, const TokenSets& sets, float* out) const {
    encode(work, sets, false, false, out);
}

void SimHashEncoder::encode_documents(const Work& work, const TokenSets& sets, bool fill, float* out) const {
    encode(work, sets, true, fill, out);
}

void SimHashEncoder::encode(const Work& work, const TokenSets& sets, bool document, bool fill,
                            float* out) const {
    const auto task = [&](std::size_t first, std::size_t last) {
        Scratch scratch(*this, document);
        for (std::size_t i = first; i < last; ++i) {
            float* row = out + i * width();
            std::memset(row, 0, width() * sizeof(float));
            const auto begin = static_cast<std::size_t>(sets.offsets[i]);
            const auto end = static_cast<std::size_t>(sets.offsets[i + 1]);
            if (document) scratch.begin_document();
            for (std::size_t t = begin; t < end; t += kBatchTokens) {
                add_tokens(scratch, work.kernels, sets.values + t * dims_, std::min(kBatchTokens, end - t),
                           t - begin, row);
            }
            if (document && end > begin) finish_document(scratch, fill, row);
        }
    };
    for_sets(work, sets, task);
}

// Adds tokens to the sums of their cells.
void SimHashEncoder::add_tokens(Scratch& scratch, const KernelTable& kernels, const float* tokens,
                                std::size_t count, std::size_t first, float* out) const {
    planes_.multiply(kernels, tokens, count, scratch.signs.data());
    const float* values = tokens;
    std::size_t value_stride = dims_;
    std::size_t value_step = 0;  // from repetition to repetition
    if (!identity_) {
        projections_.multiply(kernels, tokens, count, scratch.projected.data());
        values = scratch.projected.data();
        value_stride = projections_.padded_columns();
        value_step = projected_;
    }
    const bool document = !scratch.counts.empty();
    for (std::size_t t = 0; t < count; ++t) {
        const float* sign = scratch.signs.data() + t * planes_.padded_columns();
        for (std::size_t r = 0; r < repetitions_; ++r, sign += bits_) {
            std::size_t cell = 0;
            for (std::size_t j = 0; j < bits_; ++j) cell |= static_cast<std::size_t>(sign[j] > 0.0f) << j;
            const std::size_t block = r * cells_ + cell;
            const float* value = values + t * value_stride + r * value_step;
            float* sum = out + block * projected_;
            for (std::size_t i = 0; i < projected_; ++i) sum[i] += value[i];
            if (document && scratch.counts[block]++ == 0) {
                scratch.nearest[block] = (first + t) << kCellBits | cell;
                std::memcpy(scratch.firsts.data() + block * projected_, value, projected_ * sizeof(float));
            }
        }
    }
}

// Sums to means, and the empty cells. The nearest token of every cell comes from a min-plus sweep along each
// bit: the number of differing bits is a sum over bits, so the sweeps together are exact.
void SimHashEncoder::finish_document(Scratch& scratch, bool fill, float* out) const {
    for (std::size_t r = 0; r < repetitions_; ++r) {
        std::uint64_t* nearest = scratch.nearest.data() + r * cells_;
        if (fill) {
            for (std::size_t bit = 1; bit < cells_; bit <<= 1) {
                for (std::size_t cell = 0; cell < cells_; ++cell) {
                    if ((cell & bit) != 0) continue;
                    const std::uint64_t low = nearest[cell];
                    const std::uint64_t high = nearest[cell | bit];
                    if (high != kAbsent) nearest[cell] = std::min(low, high + kOneBit);
                    if (low != kAbsent) nearest[cell | bit] = std::min(high, low + kOneBit);
                }
            }
        }
        for (std::size_t cell = 0; cell < cells_; ++cell) {
            const std::size_t block = r * cells_ + cell;
            float* row = out + block * projected_;
            if (scratch.counts[block] > 0) {
                const float share = 1.0f / static_cast<float>(scratch.counts[block]);
                for (std::size_t i = 0; i < projected_; ++i) row[i] *= share;
            } else if (fill) {
                const std::uint64_t source = nearest[cell] & ((std::uint64_t{1} << kCellBits) - 1);
                std::memcpy(row, scratch.firsts.data() + (r * cells_ + source) * projected_,
                            projected_ * sizeof(float));
            }
        }
    }
}

}  // namespace nearfield::multivector
