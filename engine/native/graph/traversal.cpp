#include "graph/traversal.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/dispatch.h"
#include "graph/prefetch.h"
#include "kernels/bit_kernels.h"

namespace nearfield::graph {
namespace {

// A scan lists this many nodes at a time, scores them in blocks, and asks for the codes of those that come so
// many later: about as many as memory can deliver at once.
constexpr std::size_t kScanNodes = 4096;
constexpr std::size_t kScanBlock = 16;
constexpr std::size_t kScanAhead = 32;
constexpr std::size_t kWordRows = 64;
// Nodes of a query expanded at once: their memory arrives together, which a query that comes alone needs, and
// hardly any of them would not have been expanded one by one.
constexpr std::size_t kBeam = 3;
// What fewer candidates tell about codes is chance.
constexpr std::size_t kAgreementCandidates = 8;
// Distances that differ by a smaller share are equal.
constexpr double kRounding = 1e-5;
// A walk starts from this many of the entries, the nearest.
constexpr std::size_t kStarts = 16;

template <class T>
void grow(std::vector<T>& values, std::size_t size) {
    if (values.size() < size) values.resize(size);
}

}  // namespace

Traversal::Traversal(const GraphView& graph)
    : graph_(graph),
      kernels_(*kernels().graph),
      bits_(*kernels().bits),
      query_(graph, kernels()),
      nearest_(*kernels().graph),
      matches_(*kernels().graph),
      ranked_(*kernels().graph) {}

void Traversal::configure(const SearchParams& params, const std::uint64_t* allow, bool alone) {
    params_ = params;
    alone_ = alone;
    allow_ = allow;
    std::size_t most = std::max(
        {kBeam * graph_.degree, graph_.entry_count, params.window, params.adaptive.most, most_reranked()});
    if (params.scan) most = std::max(most, kScanNodes + BitKernels::kSlack);
    grow(scores_, most);
    grow(nodes_, most);
    if (params.scan) return;
    visited_.cover(graph_.count);
    if (allow == nullptr) return;
    grow(allowed_scores_, most);
    grow(allowed_nodes_, most);
}

void Traversal::begin(const PreparedQuery& query, std::int64_t* rows, float* distances) {
    rows_out_ = rows;
    distances_out_ = distances;
    query_.set(query);
    weight_ = query.weight;
    reach_ = kEverywhere;
    expanded_ = 0;
    if (params_.scan) {
        scan();
    } else {
        enter();
    }
}

void Traversal::step(SearchCounts& counts) {
    switch (stage_) {
        case Stage::idle:
            return;
        case Stage::visit:
            return visit(counts);
        case Stage::score:
            return score();
        case Stage::rerank_secondary:
            return rerank_secondary();
        case Stage::rerank_exact:
            return rerank_exact();
    }
}

// Starts from several of the nearest entries: where the data falls into separate parts, one may lead to the
// wrong part.
void Traversal::enter() {
    visited_.add(graph_.entries, graph_.entry_count);
    if (allow_ != nullptr) {
        nearest_.reset(kStarts);
        matches_.reset(std::max(params_.window, most_reranked()));
        admit_filtered(visited_.from(0), visited_.size(), kStarts);
    } else {
        probing_ = params_.adaptive.active();
        window_ = probing_ ? std::min(AdaptiveWindow::kProbe, params_.window) : params_.window;
        nearest_.reset(std::max(params_.window, (params_.adaptive.most + 7) / 8 * 8));
        nearest_.limit(std::min(params_.window, kStarts));
        admit(visited_.from(0), visited_.size());
        nearest_.limit(params_.window);
    }
    expand_next();
}

// Scores every allowed node instead of walking, and keeps those that will be re-ranked.
void Traversal::scan() {
    results().reset(std::min(params_.window, most_reranked()));
    for (std::size_t row = 0; row < graph_.row_count;) {
        const std::size_t count = list_nodes(row);
        query_.prefetch_primary(nodes_.data(), std::min(count, kScanAhead));
        for (std::size_t i = 0; i < count; i += kScanBlock) {
            const std::size_t ahead = std::min(i + kScanAhead, count);
            query_.prefetch_primary(nodes_.data() + ahead, std::min(kScanBlock, count - ahead));
            query_.score_primary(nodes_.data() + i, std::min(kScanBlock, count - i), scores_.data() + i);
        }
        results().merge(scores_.data(), nodes_.data(), count);
    }
    finish();
}

// Lists nodes of allowed rows from `row` on, a multiple of 64, in nodes_; moves `row` behind them.
std::size_t Traversal::list_nodes(std::size_t& row) {
    std::size_t count = 0;
    while (row < graph_.row_count && count + kWordRows <= kScanNodes) {
        const std::size_t left = graph_.row_count - row;
        std::size_t words = std::min((kScanNodes - count) / kWordRows, left / kWordRows);
        const std::uint64_t* bits = allow_ + row / kWordRows;
        std::uint64_t word = ~std::uint64_t{0};
        if (words == 0 || allow_ == nullptr) {
            if (allow_ != nullptr) word = *bits;
            // Bits behind the rows mean nothing.
            if (left < kWordRows) word &= (std::uint64_t{1} << left) - 1;
            bits = &word;
            words = 1;
        }
        std::uint32_t* nodes = nodes_.data() + count;
        const std::size_t found = bits_.positions(bits, words, static_cast<std::uint32_t>(row), nodes);
        std::uint32_t last = 0;
        for (std::size_t i = 0; i < found; ++i) {
            nodes[i] = graph_.node_of[nodes[i]];
            last = std::max(last, nodes[i]);
        }
        // Hardly ever is there a row without a node.
        const bool all = last != kNoNeighbour;
        count +=
            all ? found : static_cast<std::size_t>(std::remove(nodes, nodes + found, kNoNeighbour) - nodes);
        row += words * kWordRows;
    }
    return count;
}

void Traversal::admit(const std::uint32_t* nodes, std::size_t count) {
    query_.score_primary(nodes, count, scores_.data());
    nearest_.merge(scores_.data(), nodes, count);
}

// With a filter the walk is led by nodes whether they are allowed or not, and ends when the next of them is
// further than the window-th nearest allowed one: how far that is shows only on the way. Most of what is met
// is further than anything that counts, and is not even asked whether it is allowed.
void Traversal::admit_filtered(const std::uint32_t* nodes, std::size_t count, std::size_t most) {
    query_.score_primary(nodes, count, scores_.data());
    std::copy_n(nodes, count, nodes_.data());
    const float last = matches_.full() ? matches_.distance(matches_.size() - 1) : kEverywhere;
    std::size_t near = kernels_.within(scores_.data(), nodes_.data(), count, last);
    std::size_t matching = 0;
    for (std::size_t i = 0; i < near; ++i) {
        allowed_scores_[matching] = scores_[i];  // kept only if allowed: no branch to mispredict
        allowed_nodes_[matching] = nodes_[i];
        matching += allowed(nodes_[i]) ? 1 : 0;
    }
    if (matching > 0) {
        matches_.merge(allowed_scores_.data(), allowed_nodes_.data(), matching);
        if (matches_.size() >= params_.window) {
            reach_ = matches_.distance(params_.window - 1);
            nearest_.drop_beyond(reach_);
        }
    }
    // So that the frontier never holds what is out of reach.
    if (reach_ < last) near = kernels_.within(scores_.data(), nodes_.data(), near, reach_);
    if (near == 0) return;
    nearest_.make_room(near, most);
    nearest_.merge(scores_.data(), nodes_.data(), near);
}

void Traversal::expand_next() {
    fill_beam();
    if (beam_.empty() && probing_) {
        settle_window();
        fill_beam();
    }
    expanded_ += beam_.size();
    // Also where the frontier had room for no more than may be expanded, and has none left.
    const bool lost = allow_ != nullptr && expanded_ >= params_.expansions_most;
    if (!beam_.empty() && !lost) {
        stage_ = Stage::visit;
        return;
    }
    if (lost) matches_.reset(1);  // what the query looks for is not where it leads
    finish();
}

void Traversal::fill_beam() {
    beam_.clear();
    add_to_beam(window());
    // Before the window is settled too beams are full: what comes next would be expanded soon anyway.
    if (probing_ && !beam_.empty()) add_to_beam(params_.window);
}

void Traversal::add_to_beam(std::size_t window) {
    for (std::uint32_t node; beam_.size() < kBeam && nearest_.expand_next(window, node);) {
        prefetch_links(node);
        beam_.push_back(node);
    }
}

void Traversal::settle_window() {
    probing_ = false;
    window_ = params_.window;
    if (nearest_.size() < AdaptiveWindow::kProbe) return;
    std::array<float, 3> distances;
    for (std::size_t i = 0; i < distances.size(); ++i)
        distances[i] = nearest_.distance(AdaptiveWindow::kRanks[i]);
    window_ = params_.adaptive.width(distances, weight_);
    // Not less than what will be re-ranked; in whole lines, whose last word tells a merge what to pass over.
    const std::size_t held = std::max(window_, std::min(params_.window, most_reranked()));
    nearest_.resize((held + 7) / 8 * 8);
}

void Traversal::visit(SearchCounts& counts) {
    first_new_ = visited_.size();
    for (const std::uint32_t node : beam_) {
        const std::uint32_t* neighbours = graph_.neighbours + node * graph_.degree;
        std::size_t degree = graph_.degree;
        while (degree > 0 && neighbours[degree - 1] == kNoNeighbour) --degree;
        visited_.add(neighbours, degree);
    }
    const std::size_t count = visited_.size() - first_new_;
    query_.prefetch_primary(visited_.from(first_new_), count);
    // Most of the nearest so far come next; the links of a query in company arrive while others compute.
    if (alone_) nearest_.for_next(window(), kBeam, [this](std::uint32_t node) { prefetch_links(node); });
    counts.distances += count;
    counts.hops += beam_.size();
    stage_ = Stage::score;
}

void Traversal::score() {
    const std::uint32_t* nodes = visited_.from(first_new_);
    const std::size_t count = visited_.size() - first_new_;
    if (allow_ != nullptr) {
        admit_filtered(nodes, count, params_.expansions_most);
    } else {
        admit(nodes, count);
    }
    expand_next();
}

// The most nodes that a re-ranking with the secondary codes, or else with the full rows, looks at.
std::size_t Traversal::reranked(bool use_secondary) const {
    if (use_secondary) return std::max(params_.rerank_secondary, params_.k);
    return graph_.rows != nullptr ? std::max(params_.rerank_exact, params_.k) : params_.k;
}

std::size_t Traversal::most_reranked() const {
    return std::max(reranked(false), graph_.secondary.rows != nullptr ? reranked(true) : 0);
}

void Traversal::finish() {
    const FrontierBuffer& found = results();
    ranked_.reset(std::max(params_.k, params_.rerank_exact));
    const bool use_secondary = graph_.secondary.rows != nullptr && found.size() > params_.rerank_exact;
    const std::size_t count = std::min(found.size(), reranked(use_secondary));
    for (std::size_t i = 0; i < count; ++i) {
        nodes_[i] = found.node(i);
        scores_[i] = found.distance(i);
    }
    if (!use_secondary) {
        ranked_.merge(scores_.data(), nodes_.data(), count);
        return begin_exact();
    }
    pending_ = count;
    for (std::size_t i = 0; i < count; ++i) {
        prefetch(graph_.secondary.rows + nodes_[i] * graph_.secondary.stride, graph_.secondary.stride);
    }
    stage_ = Stage::rerank_secondary;
}

void Traversal::rerank_secondary() {
    remember_scores();
    query_.score_secondary(nodes_.data(), pending_, scores_.data());
    if (misled(reranked(true))) return deliver(0);
    ranked_.merge(scores_.data(), nodes_.data(), pending_);
    begin_exact();
}

void Traversal::begin_exact() {
    const std::size_t count = ranked_.size();
    const std::size_t bytes = row_bytes(graph_);
    for (std::size_t i = 0; i < count; ++i) {
        nodes_[i] = graph_.row_of[ranked_.node(i)];
        scores_[i] = ranked_.distance(i);
    }
    if (graph_.rows == nullptr || params_.rerank_exact == 0) return deliver(count);
    for (std::size_t i = 0; i < count; ++i) {
        prefetch(static_cast<const char*>(graph_.rows) + nodes_[i] * bytes, bytes);
    }
    pending_ = count;
    stage_ = Stage::rerank_exact;
}

void Traversal::rerank_exact() {
    remember_scores();
    query_.score_rows(nodes_.data(), pending_, scores_.data());
    deliver(misled(reranked(false)) ? 0 : pending_);
}

void Traversal::remember_scores() {
    if (params_.agreement_least > 0.0f) scores_before_.assign(scores_.data(), scores_.data() + pending_);
}

// Whether scores_ of the candidates, `most` or fewer, have little to do with scores_before_. Where a filter
// leaves only rows that are far away, many lie so close together that codes cannot tell which are nearest,
// and better ones than these may be among those that were left out.
bool Traversal::misled(std::size_t most) const {
    if (params_.agreement_least <= 0.0f || pending_ < std::max(most, kAgreementCandidates)) return false;
    const auto count = static_cast<double>(pending_);
    double mean_before = 0.0, mean_after = 0.0;
    for (std::size_t i = 0; i < pending_; ++i) {
        mean_before += static_cast<double>(scores_before_[i]) / count;
        mean_after += static_cast<double>(scores_[i]) / count;
    }
    double before = 0.0, after = 0.0, both = 0.0;
    for (std::size_t i = 0; i < pending_; ++i) {
        const double x = scores_before_[i] - mean_before, y = scores_[i] - mean_after;
        before += x * x;
        after += y * y;
        both += x * y;
    }
    // Of equal distances any order is right.
    if (after <= count * kRounding * kRounding * mean_after * mean_after) return false;
    return both <= static_cast<double>(params_.agreement_least) * std::sqrt(before * after);
}

// The answer: `count` rows in nodes_, with their distances in scores_.
void Traversal::deliver(std::size_t count) {
    ranked_.reset(params_.k);
    ranked_.merge(scores_.data(), nodes_.data(), count);
    for (std::size_t i = 0; i < params_.k; ++i) {
        const bool found = i < ranked_.size();
        rows_out_[i] = found ? static_cast<std::int64_t>(ranked_.node(i)) : -1;
        distances_out_[i] = found ? ranked_.distance(i) : std::numeric_limits<float>::infinity();
    }
    visited_.clear();
    stage_ = Stage::idle;
}

}  // namespace nearfield::graph
