#include "graph/walk.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "core/dispatch.h"
#include "graph/prefetch.h"

namespace nearfield::graph {
namespace {

// Nodes expanded at once: their memory arrives together.
constexpr std::size_t kBeam = 3;
// Rows ranked at once.
constexpr std::size_t kBlock = 8;
constexpr std::size_t kScanBlock = 256;
// Rows that are scanned in the time of one expansion.
constexpr std::size_t kScanRowsPerExpansion = 24;
// Shorter walks hardly arrive.
constexpr std::size_t kExpansionsLeast = 50;

}  // namespace

std::uint64_t NodeHeap::word(float distance, std::uint32_t node) {
    const auto bits = std::bit_cast<std::uint32_t>(distance);
    const std::uint32_t ordered = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    return std::uint64_t{ordered} << 32 | node;
}

void NodeHeap::push(std::uint64_t word) {
    words_.push_back(word);
    std::push_heap(words_.begin(), words_.end(), std::greater<>());
}

std::uint64_t NodeHeap::pop() {
    std::pop_heap(words_.begin(), words_.end(), std::greater<>());
    const std::uint64_t word = words_.back();
    words_.pop_back();
    return word;
}

Walk::Walk(const GraphView& graph)
    : graph_(graph), batch_(graph, kernels()), query_(graph, kernels()), visited_(graph.count) {}

void Walk::begin(const float* query, const std::uint64_t* allow) {
    allow_ = allow;
    batch_.prepare(query, 1);
    query_.set(batch_.at(0));
    visited_.clear();
    frontier_.clear();
    waiting_.clear();
    ended_ = false;
    expanded_ = 0;
    expanded_most_ = count_allowed() / kScanRowsPerExpansion;
    if (expanded_most_ < kExpansionsLeast) expanded_most_ = 0;
    if (expanded_most_ == 0) return;
    visited_.add(graph_.entries, graph_.entry_count);
    admit(0);
}

bool Walk::advance(std::vector<RankedRow>& out) {
    out.clear();
    if (ended_) return false;
    nodes_.clear();
    while (nodes_.size() < kBlock) {
        if (!frontier_.empty() && (waiting_.empty() || frontier_.nearest() < waiting_.nearest())) {
            if (expanded_ >= expanded_most_) break;
            expand();
        } else if (!waiting_.empty()) {
            nodes_.push_back(NodeHeap::node(waiting_.pop()));
        } else {
            break;
        }
    }
    ended_ = nodes_.size() < kBlock;
    rank(out);
    if (ended_) rank_others(out);
    return !out.empty();
}

std::uint64_t Walk::allowed_word(std::size_t i) const {
    const std::uint64_t word = allow_ != nullptr ? allow_[i] : ~std::uint64_t{0};
    const std::size_t rows = graph_.row_count - i * 64;
    return rows < 64 ? word & ((std::uint64_t{1} << rows) - 1) : word;
}

std::size_t Walk::count_allowed() const {
    if (allow_ == nullptr) return graph_.row_count;
    std::size_t count = 0;
    for (std::size_t i = 0; i < (graph_.row_count + 63) / 64; ++i) {
        count += static_cast<std::size_t>(std::popcount(allowed_word(i)));
    }
    return count;
}

// Scores the nodes visited from the first-th on.
void Walk::admit(std::size_t first) {
    const std::uint32_t* nodes = visited_.from(first);
    const std::size_t count = visited_.size() - first;
    if (scores_.size() < count) scores_.resize(count);
    query_.score_primary(nodes, count, scores_.data());
    for (std::size_t i = 0; i < count; ++i) frontier_.push(NodeHeap::word(scores_[i], nodes[i]));
}

void Walk::expand() {
    beam_.clear();
    while (beam_.size() < kBeam && !frontier_.empty()) {
        const std::uint64_t word = frontier_.pop();
        const std::uint32_t node = NodeHeap::node(word);
        prefetch(graph_.neighbours + node * graph_.degree, graph_.degree * sizeof(std::uint32_t));
        beam_.push_back(node);
        if (allowed(graph_.row_of[node])) waiting_.push(word);
    }
    const std::size_t first = visited_.size();
    for (const std::uint32_t node : beam_) {
        const std::uint32_t* neighbours = graph_.neighbours + node * graph_.degree;
        std::size_t degree = graph_.degree;
        while (degree > 0 && neighbours[degree - 1] == kNoNeighbour) --degree;
        visited_.add(neighbours, degree);
    }
    expanded_ += beam_.size();
    query_.prefetch_primary(visited_.from(first), visited_.size() - first);
    admit(first);
}

// Appends the rows of nodes_ with their exact distances.
void Walk::rank(std::vector<RankedRow>& out) {
    const std::size_t count = nodes_.size();
    if (count == 0) return;
    const std::size_t bytes = row_bytes(graph_);
    rows_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
        rows_[i] = graph_.row_of[nodes_[i]];
        prefetch(static_cast<const char*>(graph_.rows) + rows_[i] * bytes, bytes);
    }
    if (scores_.size() < count) scores_.resize(count);
    query_.score_rows(rows_.data(), count, scores_.data());
    for (std::size_t i = 0; i < count; ++i) out.push_back({scores_[i], rows_[i]});
}

// All that the walk has met and not ranked, and a scan of what it has not met.
void Walk::rank_others(std::vector<RankedRow>& out) {
    nodes_.clear();
    for (const NodeHeap* met : {&waiting_, &frontier_}) {
        for (const std::uint64_t word : met->words()) rank_later(NodeHeap::node(word), out);
    }
    for (std::size_t i = 0; i < (graph_.row_count + 63) / 64; ++i) {
        for (std::uint64_t word = allowed_word(i); word != 0; word &= word - 1) {
            const std::uint32_t node =
                graph_.node_of[i * 64 + static_cast<std::size_t>(std::countr_zero(word))];
            if (node == kNoNeighbour) continue;
            const std::size_t before = visited_.size();
            visited_.add(&node, 1);
            if (visited_.size() > before) rank_later(node, out);
        }
    }
    rank(out);
}

// Ranks it with others, a block at a time.
void Walk::rank_later(std::uint32_t node, std::vector<RankedRow>& out) {
    if (!allowed(graph_.row_of[node])) return;
    nodes_.push_back(node);
    if (nodes_.size() < kScanBlock) return;
    rank(out);
    nodes_.clear();
}

}  // namespace nearfield::graph
