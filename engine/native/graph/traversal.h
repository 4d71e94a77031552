#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "graph/frontier.h"
#include "graph/graph_view.h"
#include "graph/prefetch.h"
#include "graph/query_forms.h"
#include "graph/visited_set.h"

namespace nearfield::graph {

// One query on its way through the graph. Every step prefetches what the next one reads, and a thread takes
// turns between several traversals, so that one computes while the others wait for memory.
class Traversal {
public:
    explicit Traversal(const GraphView& graph);

    bool idle() const { return stage_ == Stage::idle; }

    // `allow` is a bitmap over row numbers, or nullptr; `alone`: nobody takes turns with this traversal.
    void configure(const SearchParams& params, const std::uint64_t* allow, bool alone);
    // Starts a query, whose answer goes to rows and distances [k].
    void begin(const PreparedQuery& query, std::int64_t* rows, float* distances);
    void step(SearchCounts& counts);

private:
    static constexpr float kEverywhere = std::numeric_limits<float>::infinity();

    enum class Stage { idle, visit, score, rerank_secondary, rerank_exact };

    bool allowed(std::uint32_t node) const {
        const std::uint32_t row = graph_.row_of[node];
        return (allow_[row >> 6] >> (row & 63) & 1) != 0;
    }
    [[gnu::always_inline]] void prefetch_links(std::uint32_t node) const {
        prefetch(graph_.neighbours + node * graph_.degree, graph_.degree * sizeof(std::uint32_t));
    }
    // Of the nearest so many nodes each is expanded; with a filter none is kept that is out of reach.
    std::size_t window() const { return allow_ != nullptr ? nearest_.size() : window_; }
    FrontierBuffer& results() { return allow_ != nullptr ? matches_ : nearest_; }

    void enter();
    void scan();
    std::size_t list_nodes(std::size_t& row);
    void admit(const std::uint32_t* nodes, std::size_t count);
    void admit_filtered(const std::uint32_t* nodes, std::size_t count, std::size_t most);
    void expand_next();
    void fill_beam();
    void add_to_beam(std::size_t window);
    void settle_window();
    void visit(SearchCounts& counts);
    void score();
    std::size_t reranked(bool use_secondary) const;
    std::size_t most_reranked() const;
    void finish();
    void rerank_secondary();
    void begin_exact();
    void rerank_exact();
    void remember_scores();
    bool misled(std::size_t most) const;
    void deliver(std::size_t count);

    const GraphView& graph_;
    const GraphKernels& kernels_;
    const BitKernels& bits_;
    SearchParams params_{};
    const std::uint64_t* allow_ = nullptr;
    bool alone_ = false;
    QueryForms query_;
    FrontierBuffer nearest_;  // what the walk is led by
    FrontierBuffer matches_;  // with a filter: the nearest allowed ones of all it has seen
    FrontierBuffer ranked_;   // what a re-ranking makes of them
    VisitedSet visited_;
    float weight_ = 1.0f;        // of the query's norms
    std::size_t window_ = 0;     // without a filter
    bool probing_ = false;       // window_ is still to be settled
    float reach_ = kEverywhere;  // no node further than this will be expanded
    std::size_t expanded_ = 0;
    std::size_t first_new_ = 0;        // where the visited set holds the neighbours to score
    std::size_t pending_ = 0;          // nodes to re-rank
    std::vector<std::uint32_t> beam_;  // nodes being expanded
    Stage stage_ = Stage::idle;
    std::vector<float> scores_;
    std::vector<std::uint32_t> nodes_;
    std::vector<float> scores_before_;  // a re-ranking
    std::vector<float> allowed_scores_;
    std::vector<std::uint32_t> allowed_nodes_;
    std::int64_t* rows_out_ = nullptr;
    float* distances_out_ = nullptr;
};

}  // namespace nearfield::graph
