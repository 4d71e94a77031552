// What building and extending a graph share: distances between compressed rows, robust pruning, reverse
// edges.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "core/dispatch.h"
#include "graph/build.h"
#include "graph/graph_view.h"
#include "kernels/code_kernels.h"

namespace nearfield::graph {

inline constexpr std::size_t kRowsPerTask = 512;

// Distance and row.
using Candidate = std::pair<float, std::uint32_t>;

// The rows with what their distances need; distances are squared Euclidean between the int8 vectors' values.
class Vectors {
public:
    explicit Vectors(const BuildRows& rows) : rows_(rows), sums_(rows.count), norms_(rows.count) {
        for (std::size_t r = 0; r < rows.count; ++r) {
            const std::int8_t* vector = at(r);
            std::int32_t sum = 0, square = 0;
            for (std::size_t i = 0; i < rows.stride; ++i) {
                sum += vector[i];
                square += vector[i] * vector[i];
            }
            sums_[r] = sum;
            norms_[r] = rows.scales[r] * rows.scales[r] * static_cast<float>(square);
        }
    }

    const std::int8_t* at(std::size_t row) const { return rows_.vectors + row * rows_.stride; }
    const std::int32_t* sums() const { return sums_.data(); }
    float distance(std::size_t a, std::size_t b, std::int32_t dot) const {
        return norms_[a] + norms_[b] - 2.0f * rows_.scales[a] * rows_.scales[b] * static_cast<float>(dot);
    }

private:
    const BuildRows& rows_;
    std::vector<std::int32_t> sums_;
    std::vector<float> norms_;
};

// Robust pruning (DiskANN): a candidate goes when one already chosen is alpha times nearer to it than the row
// is. The first round uses alpha 1; the second fills the list with what alpha lets through.
class Pruner {
public:
    Pruner(const Vectors& vectors, std::size_t stride, const BuildParams& params)
        : vectors_(vectors), stride_(stride), params_(params), codes_(*kernels().codes) {}

    // `candidates` ascending by distance to the row; `out` [degree].
    void prune(const std::vector<Candidate>& candidates, std::uint32_t* out) {
        load(candidates);
        ratio_.assign(candidates.size(), 0.0f);
        chosen_.assign(candidates.size(), false);
        std::size_t size = 0;
        for (const float alpha : {1.0f, params_.alpha}) {
            for (std::size_t i = 0; i < candidates.size() && size < params_.degree; ++i) {
                if (chosen_[i] || ratio_[i] > alpha) continue;
                chosen_[i] = true;
                out[size++] = candidates[i].second;
                if (size < params_.degree) occlude(candidates, i);
            }
        }
        std::fill(out + size, out + params_.degree, kNoNeighbour);
    }

    // The same, but what fits is kept as it is.
    void prune_if_long(const std::vector<Candidate>& candidates, std::uint32_t* out) {
        if (candidates.size() > params_.degree) return prune(candidates, out);
        std::fill(out, out + params_.degree, kNoNeighbour);
        for (std::size_t i = 0; i < candidates.size(); ++i) out[i] = candidates[i].second;
    }

private:
    void load(const std::vector<Candidate>& candidates) {
        local_.resize(candidates.size() * stride_);
        local_sums_.resize(candidates.size());
        dots_.resize(candidates.size());
        for (std::size_t i = 0; i < candidates.size(); ++i) {
            std::copy_n(vectors_.at(candidates[i].second), stride_, local_.data() + i * stride_);
            local_sums_[i] = vectors_.sums()[candidates[i].second];
        }
    }

    void occlude(const std::vector<Candidate>& candidates, std::size_t by) {
        const std::size_t first = by + 1;
        codes_.dot_rows(local_.data() + by * stride_, local_.data() + first * stride_,
                        local_sums_.data() + first, stride_, candidates.size() - first, dots_.data());
        for (std::size_t i = first; i < candidates.size(); ++i) {
            const float between =
                vectors_.distance(candidates[by].second, candidates[i].second, dots_[i - first]);
            const float ratio =
                between > 0.0f ? candidates[i].first / between : std::numeric_limits<float>::infinity();
            ratio_[i] = std::max(ratio_[i], ratio);
        }
    }

    const Vectors& vectors_;
    std::size_t stride_;
    const BuildParams& params_;
    const CodeKernels& codes_;
    std::vector<std::int8_t> local_;
    std::vector<std::int32_t> local_sums_;
    std::vector<std::int32_t> dots_;
    std::vector<float> ratio_;
    std::vector<bool> chosen_;
};

// Candidates of one row from their ids: sorted by distance, single, without the row itself.
class CandidateList {
public:
    CandidateList(const Vectors& vectors, std::size_t stride) : vectors_(vectors), stride_(stride) {}

    std::vector<std::uint32_t>& ids() { return ids_; }
    // The nearest `most` of them.
    const std::vector<Candidate>& measured(std::size_t row,
                                           std::size_t most = std::numeric_limits<std::size_t>::max()) {
        std::sort(ids_.begin(), ids_.end());
        ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
        candidates_.clear();
        for (const std::uint32_t id : ids_) {
            if (id == row) continue;
            std::int32_t dot;
            kernels().codes->dot_rows(vectors_.at(row), vectors_.at(id), vectors_.sums() + id, stride_, 1,
                                      &dot);
            candidates_.emplace_back(vectors_.distance(row, id, dot), id);
        }
        std::sort(candidates_.begin(), candidates_.end());
        if (candidates_.size() > most) candidates_.resize(most);
        return candidates_;
    }

private:
    const Vectors& vectors_;
    std::size_t stride_;
    std::vector<std::uint32_t> ids_;
    std::vector<Candidate> candidates_;
};

// Counts finished rows, reports progress, and stops the work when cancelled.
class Meter {
public:
    Meter(const BuildControl& control, std::size_t total) : control_(control), total_(total) {}
    void add(std::size_t rows) {
        if (control_.cancel != nullptr && control_.cancel->is_set()) throw Cancelled();
        const std::size_t done = done_.fetch_add(rows) + rows;
        if (control_.progress) control_.progress(static_cast<double>(done) / static_cast<double>(total_));
    }

private:
    const BuildControl& control_;
    std::size_t total_;
    std::atomic<std::size_t> done_{0};
};

// For every row the lists that name it, as one array with starts.
struct ReverseEdges {
    std::vector<std::uint32_t> starts;
    std::vector<std::uint32_t> sources;
};

// Of lists [count, degree] that name the rows below `named`.
inline ReverseEdges reverse(const std::uint32_t* lists, std::size_t count, std::size_t degree,
                            std::size_t named) {
    ReverseEdges edges{std::vector<std::uint32_t>(named + 1, 0), {}};
    for (std::size_t i = 0; i < count * degree; ++i) {
        if (lists[i] != kNoNeighbour) ++edges.starts[lists[i] + 1];
    }
    for (std::size_t i = 0; i < named; ++i) edges.starts[i + 1] += edges.starts[i];
    edges.sources.resize(edges.starts[named]);
    std::vector<std::uint32_t> next(edges.starts.begin(), edges.starts.end() - 1);
    for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t j = 0; j < degree && lists[i * degree + j] != kNoNeighbour; ++j) {
            edges.sources[next[lists[i * degree + j]]++] = static_cast<std::uint32_t>(i);
        }
    }
    return edges;
}

inline void for_each_task(ThreadPool* pool, std::size_t count, const std::function<void(std::size_t)>& task) {
    if (pool != nullptr) return pool->parallel_for(count, task);
    for (std::size_t i = 0; i < count; ++i) task(i);
}

}  // namespace nearfield::graph
