#include "graph/build.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "core/dispatch.h"
#include "graph/pruning.h"
#include "kernels/code_kernels.h"

namespace nearfield::graph {
namespace {

constexpr std::size_t kQueryTile = 64;
constexpr std::size_t kRowTile = 256;

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

void add_reverse(const BuildRows& rows, const BuildParams& params, const BuildControl& control,
                 std::uint32_t* neighbours) {
    const Vectors vectors(rows);
    Meter meter(control, rows.count);
    const ReverseEdges edges = reverse(neighbours, rows.count, params.degree, rows.count);
    for_each_task(control.pool, (rows.count + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task) {
        Pruner pruner(vectors, rows.stride, params);
        CandidateList list(vectors, rows.stride);
        const std::size_t end = std::min(rows.count, (task + 1) * kRowsPerTask);
        for (std::size_t q = task * kRowsPerTask; q < end; ++q) {
            std::uint32_t* own = neighbours + q * params.degree;
            list.ids().assign(own, std::find(own, own + params.degree, kNoNeighbour));
            list.ids().insert(list.ids().end(), edges.sources.begin() + edges.starts[q],
                              edges.sources.begin() + edges.starts[q + 1]);
            pruner.prune_if_long(list.measured(q), own);
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
