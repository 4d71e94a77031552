#include "graph/extend.h"

#include <algorithm>
#include <vector>

#include "graph/pruning.h"

namespace nearfield::graph {
namespace {

// Lost neighbours that are followed for one node at most.
constexpr std::size_t kLostFollowed = 64;

// Nearest neighbours of a node that name it however many others do: a search for it comes past them.
constexpr std::size_t kAlwaysNaming = 2;

// Collects what a node can be linked to when some of its neighbours leave.
class Bypass {
public:
    Bypass(const OldGraph& old, std::size_t degree) : old_(old), degree_(degree) {}

    // New numbers of the neighbours that stay, into `stay`; true when none leaves.
    bool keep(std::size_t node, std::vector<std::uint32_t>& stay) {
        lost_.clear();
        stay.clear();
        visit(node, stay);
        return lost_.empty();
    }
    // Adds what lies behind the neighbours that leave, and behind those that leave there while that is
    // little.
    void follow(std::vector<std::uint32_t>& stay) {
        const std::size_t direct = lost_.size();
        for (std::size_t i = 0; i < lost_.size() && i < kLostFollowed; ++i) {
            if (i >= direct && stay.size() >= degree_) break;
            visit(lost_[i], stay);
        }
    }

private:
    void visit(std::size_t node, std::vector<std::uint32_t>& stay) {
        const std::uint32_t* list = old_.neighbours + node * degree_;
        for (std::size_t i = 0; i < degree_ && list[i] != kNoNeighbour; ++i) {
            const std::uint32_t place = old_.place[list[i]];
            if (place != kNoNeighbour) {
                stay.push_back(place);
            } else if (std::find(lost_.begin(), lost_.end(), list[i]) == lost_.end()) {
                lost_.push_back(list[i]);
            }
        }
    }

    const OldGraph& old_;
    std::size_t degree_;
    std::vector<std::uint32_t> lost_;
};

// How many lists name each node, kept up to date while lists change.
class InDegrees {
public:
    InDegrees(std::size_t count, std::size_t degree, std::size_t least, std::uint32_t* neighbours)
        : degree_(degree), least_(least), neighbours_(neighbours), named_(count, 0) {
        for (std::size_t i = 0; i < count * degree; ++i) {
            if (neighbours[i] != kNoNeighbour) ++named_[neighbours[i]];
        }
    }

    std::size_t raise(std::uint32_t node) {
        const std::uint32_t* own = neighbours_ + node * degree_;
        std::size_t changed = 0;
        for (std::size_t i = 0; i < degree_ && own[i] != kNoNeighbour; ++i) {
            if (i >= kAlwaysNaming && named_[node] >= least_) break;
            changed += name_in(neighbours_ + own[i] * degree_, node) ? 1 : 0;
        }
        return changed;
    }

    void name(std::uint32_t node, std::uint32_t by) {
        if (by != node) name_in(neighbours_ + by * degree_, node);
    }

private:
    bool name_in(std::uint32_t* list, std::uint32_t node) {
        std::uint32_t* const end = std::find(list, list + degree_, kNoNeighbour);
        if (std::find(list, end, node) != end) return false;
        if (end != list + degree_) {
            *end = node;
        } else {
            std::uint32_t* slot = end;
            while (slot != list && named_[slot[-1]] <= 2 * least_) --slot;
            if (slot == list) return false;
            --named_[slot[-1]];
            slot[-1] = node;
        }
        ++named_[node];
        return true;
    }

    std::size_t degree_;
    std::size_t least_;
    std::uint32_t* neighbours_;
    std::vector<std::uint32_t> named_;
};

}  // namespace

void drop_nodes(const BuildRows& rows, const OldGraph& old, std::size_t candidates, const BuildParams& params,
                const BuildControl& control, std::uint32_t* neighbours) {
    const Vectors vectors(rows);
    Meter meter(control, old.count);
    for_each_task(control.pool, (old.count + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task) {
        Bypass bypass(old, params.degree);
        Pruner pruner(vectors, rows.stride, params);
        CandidateList list(vectors, rows.stride);
        const std::size_t end = std::min(old.count, (task + 1) * kRowsPerTask);
        for (std::size_t node = task * kRowsPerTask; node < end; ++node) {
            const std::uint32_t place = old.place[node];
            if (place == kNoNeighbour) continue;
            std::uint32_t* out = neighbours + place * params.degree;
            if (bypass.keep(node, list.ids())) {
                std::fill(std::copy(list.ids().begin(), list.ids().end(), out), out + params.degree,
                          kNoNeighbour);
                continue;
            }
            bypass.follow(list.ids());
            pruner.prune(list.measured(place, candidates), out);
        }
        meter.add(end - task * kRowsPerTask);
    });
}

void add_nodes(const BuildRows& rows, std::size_t first, std::size_t row_count, const std::uint32_t* forward,
               const BuildParams& params, const BuildControl& control, std::uint32_t* neighbours) {
    const Vectors vectors(rows);
    Meter meter(control, rows.count);
    const ReverseEdges edges = reverse(forward, row_count, params.degree, rows.count);
    for_each_task(control.pool, (rows.count + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task) {
        Pruner pruner(vectors, rows.stride, params);
        CandidateList list(vectors, rows.stride);
        const std::size_t end = std::min(rows.count, (task + 1) * kRowsPerTask);
        for (std::size_t q = task * kRowsPerTask; q < end; ++q) {
            const bool enters = q >= first && q < first + row_count;
            if (!enters && edges.starts[q] == edges.starts[q + 1]) continue;
            std::uint32_t* out = neighbours + q * params.degree;
            const std::uint32_t* own = enters ? forward + (q - first) * params.degree : out;
            list.ids().assign(own, std::find(own, own + params.degree, kNoNeighbour));
            for (std::size_t i = edges.starts[q]; i < edges.starts[q + 1]; ++i)
                list.ids().push_back(static_cast<std::uint32_t>(first + edges.sources[i]));
            pruner.prune_if_long(list.measured(q), out);
        }
        meter.add(end - task * kRowsPerTask);
    });
}

std::size_t raise_in_degrees(std::size_t count, std::size_t degree, std::size_t least,
                             std::uint32_t* neighbours) {
    InDegrees degrees(count, degree, least, neighbours);
    std::size_t changed = 0;
    for (std::uint32_t node = 0; node < count; ++node) changed += degrees.raise(node);
    return changed;
}

void name_nodes(std::size_t count, std::size_t degree, std::size_t least, const std::uint32_t* nodes,
                std::size_t node_count, const std::int64_t* by, std::size_t by_count,
                std::uint32_t* neighbours) {
    InDegrees degrees(count, degree, least, neighbours);
    for (std::size_t i = 0; i < node_count; ++i) {
        for (const std::int64_t* b = by + i * by_count; b != by + (i + 1) * by_count; ++b)
            if (*b >= 0) degrees.name(nodes[i], static_cast<std::uint32_t>(*b));
    }
}

}  // namespace nearfield::graph
