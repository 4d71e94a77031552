#include "multivector/pooling.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "multivector/set_tasks.h"

namespace nearfield::multivector {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Merge {
    std::uint32_t into;
    std::uint32_t from;
    float height;
};

// Ward's clustering by nearest-neighbour chains (F. Murtagh, 1983): quadratic in time. For unit vectors 1 -
// cosine is half the squared Euclidean distance, so the Lance-Williams update of squared distances applies.
class Ward {
public:
    // The cluster of each of `count` tokens, numbered by first token.
    const std::vector<std::uint32_t>& cut(const KernelTable& kernels, const float* tokens, std::size_t count,
                                          std::size_t dims, std::size_t clusters) {
        count_ = count;
        measure(kernels, tokens, dims);
        merge_all();
        return apply(clusters);
    }

private:
    void measure(const KernelTable& kernels, const float* tokens, std::size_t dims) {
        units_.assign(tokens, tokens + count_ * dims);
        for (std::size_t t = 0; t < count_; ++t) {
            float* unit = units_.data() + t * dims;
            const float square = std::inner_product(unit, unit + dims, unit, 0.0f);
            const float scale = square > 0.0f ? 1.0f / std::sqrt(square) : 0.0f;
            for (std::size_t i = 0; i < dims; ++i) unit[i] *= scale;
        }
        const Panels columns(units_.data(), count_, dims);
        stride_ = columns.padded_columns();
        distances_.resize(count_ * stride_);
        columns.multiply(kernels, units_.data(), count_, distances_.data());
        for (std::size_t a = 0; a < count_; ++a) {
            float* row = distances_.data() + a * stride_;
            for (std::size_t b = 0; b < count_; ++b) row[b] = std::max(1.0f - row[b], 0.0f);
            for (std::size_t b = count_; b < stride_; ++b) row[b] = kInfinity;
            row[a] = kInfinity;
        }
        sizes_.assign(stride_, 1.0f);
    }

    void merge_all() {
        merges_.clear();
        chain_.clear();
        std::vector<bool>& gone = gone_;
        gone.assign(count_, false);
        std::size_t next = 0;
        while (merges_.size() + 1 < count_) {
            if (chain_.empty()) {
                while (gone[next]) ++next;
                chain_.push_back(static_cast<std::uint32_t>(next));
            }
            const std::uint32_t top = chain_.back();
            const float* row = distances_.data() + top * stride_;
            auto nearest = static_cast<std::uint32_t>(std::min_element(row, row + count_) - row);
            if (chain_.size() > 1) {  // the one before wins ties, so that chains end
                const std::uint32_t before = chain_[chain_.size() - 2];
                if (row[before] <= row[nearest]) nearest = before;
                if (nearest == before) {
                    chain_.resize(chain_.size() - 2);
                    merge(std::min(top, before), std::max(top, before));
                    continue;
                }
            }
            chain_.push_back(nearest);
        }
    }

    void merge(std::uint32_t into, std::uint32_t from) {
        float* a = distances_.data() + into * stride_;
        const float* b = distances_.data() + from * stride_;
        const float height = a[from];
        const float size_a = sizes_[into];
        const float size_b = sizes_[from];
        for (std::size_t k = 0; k < count_; ++k) {
            const float size = sizes_[k];
            a[k] =
                ((size_a + size) * a[k] + (size_b + size) * b[k] - size * height) / (size_a + size_b + size);
        }
        a[into] = kInfinity;
        for (std::size_t k = 0; k < count_; ++k) {
            float* row = distances_.data() + k * stride_;
            row[into] = a[k];
            row[from] = kInfinity;
        }
        a[from] = kInfinity;
        std::fill_n(distances_.data() + from * stride_, count_, kInfinity);
        gone_[from] = true;
        sizes_[into] = size_a + size_b;
        merges_.push_back({into, from, height});
    }

    const std::vector<std::uint32_t>& apply(std::size_t clusters) {
        // Heights only grow from a merge to those built on it, and equal ones keep their order.
        std::stable_sort(merges_.begin(), merges_.end(),
                         [](const Merge& a, const Merge& b) { return a.height < b.height; });
        std::vector<std::uint32_t>& root = roots_;
        root.resize(count_);
        std::iota(root.begin(), root.end(), 0u);
        for (std::size_t m = 0; m + clusters < count_; ++m) root[merges_[m].from] = merges_[m].into;
        labels_.assign(count_, 0);
        std::uint32_t label = 0;
        // A cluster is merged into the lower number, so a root comes before its tokens.
        for (std::size_t t = 0; t < count_; ++t) {
            labels_[t] = root[t] == t ? label++ : labels_[root[t]];
        }
        return labels_;
    }

    std::size_t count_ = 0;
    std::size_t stride_ = 0;
    std::vector<float> units_;
    std::vector<float> distances_;  // +inf to itself and to clusters that are no more
    std::vector<float> sizes_;
    std::vector<bool> gone_;
    std::vector<std::uint32_t> chain_;
    std::vector<Merge> merges_;
    std::vector<std::uint32_t> roots_;
    std::vector<std::uint32_t> labels_;
};

void write_means(const float* tokens, std::size_t count, std::size_t dims,
                 const std::vector<std::uint32_t>& labels, std::size_t clusters, bool normalize, float* out) {
    std::fill_n(out, clusters * dims, 0.0f);
    std::vector<float> sizes(clusters, 0.0f);
    for (std::size_t t = 0; t < count; ++t) {
        float* mean = out + labels[t] * dims;
        sizes[labels[t]] += 1.0f;
        for (std::size_t i = 0; i < dims; ++i) mean[i] += tokens[t * dims + i];
    }
    for (std::size_t c = 0; c < clusters; ++c) {
        float* mean = out + c * dims;
        const float length = std::sqrt(std::inner_product(mean, mean + dims, mean, 0.0f));
        const float divisor = normalize ? length : sizes[c];
        for (std::size_t i = 0; i < dims && divisor > 0.0f; ++i) mean[i] /= divisor;
    }
}

void pool_set(Ward& ward, const KernelTable& kernels, const float* tokens, std::size_t count,
              std::size_t dims, std::size_t wanted, const PoolOptions& options, float* out) {
    if (wanted >= count) {
        for (std::size_t r = 0; r < wanted; ++r) {
            std::memcpy(out + r * dims, tokens + r % count * dims, dims * sizeof(float));
        }
        return;
    }
    const std::size_t kept = std::min(options.kept, wanted - 1);
    std::memcpy(out, tokens, kept * dims * sizeof(float));
    const std::size_t left = count - kept;
    const std::size_t clusters = wanted - kept;
    const std::size_t parts = std::min((left + kPoolTokensMax - 1) / kPoolTokensMax, clusters);
    for (std::size_t p = 0; p < parts; ++p) {
        const std::size_t label = p * clusters / parts;
        const std::size_t labels = (p + 1) * clusters / parts - label;
        const std::size_t first = label * left / clusters;  // never fewer tokens than clusters
        const std::size_t last = (label + labels) * left / clusters;
        const float* part = tokens + (kept + first) * dims;
        write_means(part, last - first, dims, ward.cut(kernels, part, last - first, dims, labels), labels,
                    options.normalize, out + (kept + label) * dims);
    }
}

}  // namespace

void pool_sets(const Work& work, const TokenSets& sets, const std::int64_t* out_offsets,
               const PoolOptions& options, float* out) {
    for_sets(work, sets, [&](std::size_t first, std::size_t last) {
        Ward ward;
        for (std::size_t s = first; s < last; ++s) {
            const auto begin = static_cast<std::size_t>(sets.offsets[s]);
            const auto count = static_cast<std::size_t>(sets.offsets[s + 1]) - begin;
            const auto out_begin = static_cast<std::size_t>(out_offsets[s]);
            const auto wanted = static_cast<std::size_t>(out_offsets[s + 1]) - out_begin;
            if (wanted == 0) continue;
            pool_set(ward, work.kernels, sets.values + begin * sets.dims, count, sets.dims, wanted, options,
                     out + out_begin * sets.dims);
        }
    });
}

}  // namespace nearfield::multivector
