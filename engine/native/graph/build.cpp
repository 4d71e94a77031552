#include "graph/build.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "core/dispatch.h"
#include "graph/graph_view.h"
#include "kernels/code_kernels.h"

namespace nearfield::graph {
namespace {

constexpr std::size_t kQueryTile = 64;
constexpr std::size_t kRowTile = 256;
constexpr std::size_t kRowsPerTask = 512;

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

// The nearest `capacity` of all that is offered, ties by row: a buffer of twice the size, cut back when full.
class NearestList {
public:
    void reset(std::size_t capacity) {
        capacity_ = capacity;
        threshold_ = std::numeric_limits<float>::infinity();
        items_.clear();
        items_.reserve(2 * capacity);
    }
    float threshold() const { return threshold_; }
    void offer(float distance, std::uint32_t row) {
        items_.emplace_back(distance, row);
        if (items_.size() == 2 * capacity_) cut();
    }
    // Ascending.
    std::vector<Candidate>& sorted() {
        if (items_.size() > capacity_) cut();
        std::sort(items_.begin(), items_.end());
        return items_;
    }

private:
    void cut() {
        const auto last = items_.begin() + static_cast<std::ptrdiff_t>(capacity_) - 1;
        std::nth_element(items_.begin(), last, items_.end());
        threshold_ = last->first;
        items_.resize(capacity_);
    }

    std::size_t capacity_ = 0;
    float threshold_ = 0.0f;
    std::vector<Candidate> items_;
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

// Nearest neighbours of the rows [first, last) of one cluster among the clusters it probes, and their
// pruning.
class ClusterTask {
public:
    ClusterTask(const BuildRows& rows, const Vectors& vectors, const Clusters& clusters,
                std::size_t candidates, const BuildParams& params)
        : stride_(rows.stride),
          vectors_(vectors),
          clusters_(clusters),
          candidates_(candidates),
          degree_(params.degree),
          codes_(*kernels().codes),
          pruner_(vectors, rows.stride, params),
          lists_(kQueryTile),
          dots_(kQueryTile * kRowTile) {}

    void run(std::size_t cluster, std::size_t first, std::size_t last, std::uint32_t* neighbours) {
        for (NearestList& list : lists_) list.reset(candidates_);
        for (std::size_t p = 0; p < clusters_.probe_count; ++p) {
            const auto probe =
                static_cast<std::size_t>(clusters_.probes[cluster * clusters_.probe_count + p]);
            const auto begin = static_cast<std::size_t>(clusters_.starts[probe]);
            const auto end = static_cast<std::size_t>(clusters_.starts[probe + 1]);
            for (std::size_t r = begin; r < end; r += kRowTile)
                compare(first, last, r, std::min(end, r + kRowTile));
        }
        for (std::size_t q = first; q < last; ++q)
            pruner_.prune(lists_[q - first].sorted(), neighbours + q * degree_);
    }

private:
    void compare(std::size_t first, std::size_t last, std::size_t begin, std::size_t end) {
        codes_.dot_tile(vectors_.at(first), last - first, vectors_.at(begin), vectors_.sums() + begin,
                        end - begin, stride_, dots_.data(), kRowTile);
        for (std::size_t q = first; q < last; ++q) {
            NearestList& list = lists_[q - first];
            const std::int32_t* dots = dots_.data() + (q - first) * kRowTile;
            for (std::size_t r = begin; r < end; ++r) {
                const float distance = vectors_.distance(q, r, dots[r - begin]);
                if (distance <= list.threshold() && r != q)
                    list.offer(distance, static_cast<std::uint32_t>(r));
            }
        }
    }

    std::size_t stride_;
    const Vectors& vectors_;
    const Clusters& clusters_;
    std::size_t candidates_;
    std::size_t degree_;
    const CodeKernels& codes_;
    Pruner pruner_;
    std::vector<NearestList> lists_;
    std::vector<std::int32_t> dots_;
};

struct Tile {
    std::size_t cluster, first, last;
};

std::vector<Tile> tiles(const Clusters& clusters) {
    std::vector<Tile> all;
    for (std::size_t c = 0; c < clusters.count; ++c) {
        const auto end = static_cast<std::size_t>(clusters.starts[c + 1]);
        for (auto q = static_cast<std::size_t>(clusters.starts[c]); q < end; q += kQueryTile) {
            all.push_back({c, q, std::min(end, q + kQueryTile)});
        }
    }
    return all;
}

// For every row the rows that point to it, as one array with starts.
struct ReverseEdges {
    std::vector<std::uint32_t> starts;
    std::vector<std::uint32_t> sources;
};

ReverseEdges reverse(const std::uint32_t* neighbours, std::size_t count, std::size_t degree) {
    ReverseEdges edges{std::vector<std::uint32_t>(count + 1, 0), {}};
    for (std::size_t i = 0; i < count * degree; ++i) {
        if (neighbours[i] != kNoNeighbour) ++edges.starts[neighbours[i] + 1];
    }
    for (std::size_t i = 0; i < count; ++i) edges.starts[i + 1] += edges.starts[i];
    edges.sources.resize(edges.starts[count]);
    std::vector<std::uint32_t> next(edges.starts.begin(), edges.starts.end() - 1);
    for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t j = 0; j < degree && neighbours[i * degree + j] != kNoNeighbour; ++j) {
            edges.sources[next[neighbours[i * degree + j]]++] = static_cast<std::uint32_t>(i);
        }
    }
    return edges;
}

void for_each_task(ThreadPool* pool, std::size_t count, const std::function<void(std::size_t)>& task) {
    if (pool != nullptr) return pool->parallel_for(count, task);
    for (std::size_t i = 0; i < count; ++i) task(i);
}

// Walks the graph breadth first, and links what the walk does not reach. Edges by which a node was first
// reached are never given up, so a repair cannot cut off another node.
class Connector {
public:
    Connector(std::size_t count, std::size_t degree, std::uint32_t* neighbours, std::uint32_t* order)
        : degree_(degree), neighbours_(neighbours), order_(order), parent_(count, kNoNeighbour) {}

    void reach(std::uint32_t node, std::uint32_t from) {
        if (parent_[node] != kNoNeighbour) return;
        parent_[node] = from;
        order_[queued_++] = node;
    }
    void follow() {
        for (; done_ < queued_; ++done_) {
            const std::uint32_t node = order_[done_];
            for (std::size_t i = 0; i < degree_ && list(node)[i] != kNoNeighbour; ++i)
                reach(list(node)[i], node);
        }
    }
    bool reached(std::uint32_t node) const { return parent_[node] != kNoNeighbour; }

    // Points some reached node at `node`: one of its own neighbours if possible, else the first with an edge
    // to spare.
    void link(std::uint32_t node) {
        for (std::size_t i = 0; i < degree_ && list(node)[i] != kNoNeighbour; ++i) {
            if (reached(list(node)[i]) && link_from(list(node)[i], node)) return;
        }
        for (std::size_t i = 0; i < queued_; ++i) {
            if (link_from(order_[i], node)) return;
        }
    }

private:
    std::uint32_t* list(std::uint32_t node) const { return neighbours_ + node * degree_; }

    bool link_from(std::uint32_t from, std::uint32_t node) {
        for (std::size_t i = degree_; i-- > 0;) {
            const std::uint32_t other = list(from)[i];
            if (other != kNoNeighbour && parent_[other] == from) continue;
            // Lists stay without gaps: a free slot is only the first one.
            if (other == kNoNeighbour && i > 0 && list(from)[i - 1] == kNoNeighbour) continue;
            list(from)[i] = node;
            reach(node, from);
            return true;
        }
        return false;
    }

    std::size_t degree_;
    std::uint32_t* neighbours_;
    std::uint32_t* order_;
    std::vector<std::uint32_t> parent_;
    std::size_t queued_ = 0;
    std::size_t done_ = 0;
};

// Candidates of one row from their ids: sorted, single, with their distances.
class CandidateList {
public:
    CandidateList(const Vectors& vectors, std::size_t stride) : vectors_(vectors), stride_(stride) {}

    std::vector<std::uint32_t>& ids() { return ids_; }
    const std::vector<Candidate>& measured(std::size_t row) {
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
        return candidates_;
    }

private:
    const Vectors& vectors_;
    std::size_t stride_;
    std::vector<std::uint32_t> ids_;
    std::vector<Candidate> candidates_;
};

}  // namespace

void link_clusters(const BuildRows& rows, const Clusters& clusters, std::size_t candidates,
                   const BuildParams& params, const BuildControl& control, std::uint32_t* neighbours) {
    const Vectors vectors(rows);
    Meter meter(control, rows.count);
    const std::vector<Tile> work = tiles(clusters);
    for_each_task(control.pool, work.size(), [&](std::size_t i) {
        ClusterTask task(rows, vectors, clusters, candidates, params);
        task.run(work[i].cluster, work[i].first, work[i].last, neighbours);
        meter.add(work[i].last - work[i].first);
    });
}

void link_candidates(const BuildRows& rows, std::size_t first, std::size_t row_count,
                     const std::int64_t* candidates, std::size_t candidate_count, const BuildParams& params,
                     const BuildControl& control, std::uint32_t* neighbours) {
    const Vectors vectors(rows);
    Meter meter(control, row_count);
    for_each_task(control.pool, (row_count + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task) {
        Pruner pruner(vectors, rows.stride, params);
        CandidateList list(vectors, rows.stride);
        const std::size_t end = std::min(row_count, (task + 1) * kRowsPerTask);
        for (std::size_t i = task * kRowsPerTask; i < end; ++i) {
            list.ids().clear();
            for (std::size_t c = 0; c < candidate_count; ++c) {
                const std::int64_t id = candidates[i * candidate_count + c];
                if (id >= 0) list.ids().push_back(static_cast<std::uint32_t>(id));
            }
            pruner.prune(list.measured(first + i), neighbours + i * params.degree);
        }
        meter.add(end - task * kRowsPerTask);
    });
}

void add_reverse(const BuildRows& rows, const std::uint32_t* forward, const BuildParams& params,
                 const BuildControl& control, std::uint32_t* neighbours) {
    const Vectors vectors(rows);
    Meter meter(control, rows.count);
    const ReverseEdges edges = reverse(forward, rows.count, params.degree);
    for_each_task(control.pool, (rows.count + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task) {
        Pruner pruner(vectors, rows.stride, params);
        CandidateList list(vectors, rows.stride);
        const std::size_t end = std::min(rows.count, (task + 1) * kRowsPerTask);
        for (std::size_t q = task * kRowsPerTask; q < end; ++q) {
            const std::uint32_t* own = forward + q * params.degree;
            list.ids().assign(own, std::find(own, own + params.degree, kNoNeighbour));
            list.ids().insert(list.ids().end(), edges.sources.begin() + edges.starts[q],
                              edges.sources.begin() + edges.starts[q + 1]);
            const std::vector<Candidate>& candidates = list.measured(q);
            std::uint32_t* out = neighbours + q * params.degree;
            if (candidates.size() > params.degree) {
                pruner.prune(candidates, out);
                continue;
            }
            std::fill(out, out + params.degree, kNoNeighbour);
            for (std::size_t i = 0; i < candidates.size(); ++i) out[i] = candidates[i].second;
        }
        meter.add(end - task * kRowsPerTask);
    });
}

std::size_t connect_and_order(std::size_t count, std::size_t degree, std::uint32_t entry,
                              std::uint32_t* neighbours, std::uint32_t* order) {
    Connector connector(count, degree, neighbours, order);
    connector.reach(entry, entry);
    connector.follow();
    std::size_t repaired = 0;
    for (std::uint32_t node = 0; node < count; ++node) {
        if (connector.reached(node)) continue;
        connector.link(node);
        connector.follow();
        ++repaired;
    }
    return repaired;
}

}  // namespace nearfield::graph
