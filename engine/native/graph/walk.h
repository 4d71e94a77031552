#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/graph_view.h"
#include "graph/query_forms.h"
#include "graph/visited_set.h"

namespace nearfield::graph {

struct RankedRow {
    float distance;
    std::uint32_t row;

    bool operator<(const RankedRow& other) const {
        return distance != other.distance ? distance < other.distance : row < other.row;
    }
};

// Nodes by distance, the nearest on top: words that order like the distances, ties by node.
class NodeHeap {
public:
    static std::uint64_t word(float distance, std::uint32_t node);
    static std::uint32_t node(std::uint64_t word) { return static_cast<std::uint32_t>(word); }

    void clear() { words_.clear(); }
    bool empty() const { return words_.empty(); }
    std::uint64_t nearest() const { return words_.front(); }
    const std::vector<std::uint64_t>& words() const { return words_; }
    void push(std::uint64_t word);
    std::uint64_t pop();

private:
    std::vector<std::uint64_t> words_;
};

// A search that can go on for as long as it is asked to: allowed rows from near to far, each once, until all
// have come. Where a Traversal forgets what lies outside its window, this remembers every node it has met, so
// that going on never means starting again (the incremental search of Hjaltason and Samet, "Distance browsing
// in spatial databases", 1999, on the codes of a graph).
//
// The order is that of the primary codes, the distances are exact. When a walk has cost about as much as a
// scan of all allowed rows, it ends in one: so whatever is asked for takes at most about twice the cheaper
// way, and nodes that no link leads to come as well.
class Walk {
public:
    // `graph` needs full rows and must outlive the walk.
    explicit Walk(const GraphView& graph);

    // Starts over for `query` [dims], which must live as long as it is walked for; so must `allow`, a bitmap
    // over row numbers, or nullptr.
    void begin(const float* query, const std::uint64_t* allow);

    // The next few rows, or all the others, into `out`; false when none are left.
    bool advance(std::vector<RankedRow>& out);

private:
    bool allowed(std::uint32_t row) const {
        return allow_ == nullptr || (allow_[row >> 6] >> (row & 63) & 1) != 0;
    }

    std::uint64_t allowed_word(std::size_t i) const;
    std::size_t count_allowed() const;
    void admit(std::size_t first);
    void expand();
    void rank(std::vector<RankedRow>& out);
    void rank_later(std::uint32_t node, std::vector<RankedRow>& out);
    void rank_others(std::vector<RankedRow>& out);

    const GraphView& graph_;
    QueryBatch batch_;  // of one
    QueryForms query_;
    const std::uint64_t* allow_ = nullptr;
    VisitedSet visited_;
    NodeHeap frontier_;  // met, not expanded
    NodeHeap waiting_;   // expanded, allowed, not ranked: something nearer may have been met since
    std::size_t expanded_ = 0;
    std::size_t expanded_most_ = 0;
    bool ended_ = true;
    std::vector<std::uint32_t> beam_;  // nodes being expanded
    std::vector<std::uint32_t> nodes_;
    std::vector<std::uint32_t> rows_;
    std::vector<float> scores_;
};

}  // namespace nearfield::graph
