#include "graph/search.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>
#include <vector>

#include "core/dispatch.h"
#include "graph/candidate_buffer.h"
#include "graph/query_forms.h"

namespace nearfield::graph {
namespace {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kQueriesPerTask = 64;
constexpr std::size_t kScanBlock = 256;

inline void prefetch(const void* first, std::size_t bytes) {
    const char* at = static_cast<const char*>(first);
    for (std::size_t i = 0; i < bytes; i += kCacheLine) __builtin_prefetch(at + i);
}

std::size_t row_bytes(const GraphView& graph) {
    return graph.dims * (graph.row_type == RowType::f32 ? 4 : graph.row_type == RowType::f16 ? 2 : 1);
}

// Nodes a query has seen: a bitmap, and the list of set bits by which it is cleared.
class VisitedSet {
public:
    explicit VisitedSet(std::size_t count) : words_((count + 63) / 64) {}

    // True the first time a node comes.
    bool add(std::uint32_t node) {
        std::uint64_t& word = words_[node >> 6];
        const std::uint64_t before = word;
        word = before | std::uint64_t{1} << (node & 63);
        return (before >> (node & 63) & 1) == 0;
    }
    void forget(const std::vector<std::uint32_t>& nodes, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) words_[nodes[i] >> 6] = 0;
    }

private:
    std::vector<std::uint64_t> words_;
};

}  // namespace

// One query on its way through the graph. Every step prefetches what the next one reads, and a thread takes
// turns between several traversals, so that one computes while the others wait for memory.
class Traversal {
public:
    explicit Traversal(const GraphView& graph)
        : graph_(graph), tables_(kernels()), query_(graph, *kernels().codes), visited_(graph.count) {}

    bool idle() const { return stage_ == Stage::idle; }

    void configure(const SearchParams& params, const std::uint64_t* allow) {
        params_ = params;
        allow_ = allow;
        scores_.resize(std::max({graph_.degree, graph_.entry_count, params.window}));
    }

    void begin(const float* query, std::int64_t* rows, float* distances) {
        rows_out_ = rows;
        distances_out_ = distances;
        query_.set(query);
        nearest_.reset(params_.window);
        if (allow_ != nullptr) matches_.reset(params_.window);
        seen_count_ = 0;
        if (params_.scan) {
            scan();
        } else {
            enter();
        }
    }

    void step(SearchCounts& counts) {
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

private:
    enum class Stage { idle, visit, score, rerank_secondary, rerank_exact };

    bool allowed(std::uint32_t node) const {
        const std::uint32_t row = graph_.row_of[node];
        return (allow_[row >> 6] >> (row & 63) & 1) != 0;
    }

    CandidateBuffer& results() { return allow_ != nullptr ? matches_ : nearest_; }

    // Starts from all entries: where the data falls into separate parts, the nearest may lead to the wrong
    // one.
    void enter() {
        query_.score_primary(graph_.entries, graph_.entry_count, scores_.data());
        if (seen_.size() < graph_.entry_count) seen_.resize(graph_.entry_count);
        for (std::size_t i = 0; i < graph_.entry_count; ++i) {
            seen_[seen_count_] = graph_.entries[i];
            if (!visited_.add(graph_.entries[i])) continue;
            ++seen_count_;
            admit(scores_[i], graph_.entries[i]);
        }
        expand_next();
    }

    // Scores every allowed node instead of walking, in the order they are stored in.
    void scan() {
        CandidateBuffer& found = results();
        found.reset(params_.window);
        ids_.clear();
        const auto flush = [&] {
            if (scores_.size() < ids_.size()) scores_.resize(ids_.size());
            query_.score_primary(ids_.data(), ids_.size(), scores_.data());
            for (std::size_t i = 0; i < ids_.size(); ++i) {
                if (scores_[i] < found.threshold()) found.insert(scores_[i], ids_[i]);
            }
            ids_.clear();
        };
        for (std::uint32_t node = 0; node < graph_.count; ++node) {
            if (allow_ != nullptr && !allowed(node)) continue;
            ids_.push_back(node);
            if (ids_.size() == kScanBlock) flush();
        }
        flush();
        finish_traversal();
    }

    void admit(float distance, std::uint32_t node) {
        if (distance < nearest_.threshold()) nearest_.insert(distance, node);
        if (allow_ != nullptr && distance < matches_.threshold() && allowed(node))
            matches_.insert(distance, node);
    }

    void expand_next() {
        if (nearest_.expand_next(params_.window, node_)) {
            prefetch(graph_.neighbours + node_ * graph_.degree, graph_.degree * sizeof(std::uint32_t));
            stage_ = Stage::visit;
        } else if (allow_ != nullptr && allowed_in_window() < params_.matches_least) {
            matches_.reset(params_.window);  // what the query looks for is not where it leads
            finish_traversal();
        } else {
            finish_traversal();
        }
    }

    std::size_t allowed_in_window() const {
        const float reach = nearest_.size() > 0 ? nearest_.distance(nearest_.size() - 1) : 0.0f;
        std::size_t count = 0;
        while (count < matches_.size() && matches_.distance(count) <= reach) ++count;
        return count;
    }

    void visit(SearchCounts& counts) {
        const std::uint32_t* neighbours = graph_.neighbours + node_ * graph_.degree;
        const std::size_t stride = graph_.primary.stride;
        first_new_ = seen_count_;
        if (seen_.size() < seen_count_ + graph_.degree) seen_.resize(2 * (seen_count_ + graph_.degree));
        for (std::size_t i = 0; i < graph_.degree && neighbours[i] != kNoNeighbour; ++i) {
            const std::uint32_t node = neighbours[i];
            prefetch(graph_.primary.rows + node * stride, stride);
            seen_[seen_count_] = node;  // kept only if new: no branch to mispredict
            seen_count_ += visited_.add(node) ? 1 : 0;
        }
        counts.distances += seen_count_ - first_new_;
        ++counts.hops;
        stage_ = Stage::score;
    }

    void score() {
        const std::uint32_t* nodes = seen_.data() + first_new_;
        const std::size_t count = seen_count_ - first_new_;
        query_.score_primary(nodes, count, scores_.data());
        if (allow_ != nullptr) {
            for (std::size_t i = 0; i < count; ++i) admit(scores_[i], nodes[i]);
        } else {
            float threshold = nearest_.threshold();
            for (std::size_t i = 0; i < count; ++i) {
                if (scores_[i] < threshold) {
                    nearest_.insert(scores_[i], nodes[i]);
                    threshold = nearest_.threshold();
                }
            }
        }
        expand_next();
    }

    void finish_traversal() {
        const CandidateBuffer& found = results();
        survivors_.clear();
        for (std::size_t i = 0; i < found.size(); ++i)
            survivors_.emplace_back(found.distance(i), found.node(i));
        const bool use_secondary =
            graph_.secondary.rows != nullptr && survivors_.size() > params_.rerank_exact;
        if (use_secondary) {
            survivors_.resize(std::min(survivors_.size(), std::max(params_.rerank_secondary, params_.k)));
            for (const auto& [distance, node] : survivors_) {
                prefetch(graph_.secondary.rows + node * graph_.secondary.stride, graph_.secondary.stride);
            }
            stage_ = Stage::rerank_secondary;
        } else {
            begin_exact();
        }
    }

    void rerank_secondary() {
        ids_.clear();
        for (const auto& survivor : survivors_) ids_.push_back(survivor.second);
        query_.score_secondary(ids_.data(), ids_.size(), scores_.data());
        for (std::size_t i = 0; i < survivors_.size(); ++i) {
            survivors_[i].first = scores_[i] + query_.secondary_offset();
        }
        begin_exact();
    }

    void begin_exact() {
        const bool exact = graph_.rows != nullptr && params_.rerank_exact > 0;
        const std::size_t keep =
            std::min(survivors_.size(), exact ? std::max(params_.rerank_exact, params_.k) : params_.k);
        std::partial_sort(survivors_.begin(), survivors_.begin() + static_cast<std::ptrdiff_t>(keep),
                          survivors_.end());
        survivors_.resize(keep);
        if (!exact) return deliver();
        const std::size_t bytes = row_bytes(graph_);
        for (const auto& [distance, node] : survivors_) {
            prefetch(static_cast<const char*>(graph_.rows) + graph_.row_of[node] * bytes, bytes);
        }
        stage_ = Stage::rerank_exact;
    }

    void rerank_exact() {
        offsets_.clear();
        for (const auto& survivor : survivors_) offsets_.push_back(graph_.row_of[survivor.second]);
        const DistanceBatch batch{query_.query(), 1,    graph_.rows,    offsets_.data(), offsets_.size(),
                                  graph_.dims,    true, scores_.data(), offsets_.size()};
        tables_.distances[static_cast<int>(graph_.metric)][static_cast<int>(graph_.row_type)](batch);
        for (std::size_t i = 0; i < survivors_.size(); ++i) {
            const float scale = graph_.row_scale != nullptr ? graph_.row_scale[offsets_[i]] : 1.0f;
            survivors_[i].first = scores_[i] * scale;
        }
        deliver();
    }

    void deliver() {
        for (auto& survivor : survivors_) survivor.second = graph_.row_of[survivor.second];
        std::sort(survivors_.begin(), survivors_.end());
        for (std::size_t i = 0; i < params_.k; ++i) {
            const bool found = i < survivors_.size();
            rows_out_[i] = found ? static_cast<std::int64_t>(survivors_[i].second) : -1;
            distances_out_[i] = found ? survivors_[i].first : std::numeric_limits<float>::infinity();
        }
        visited_.forget(seen_, seen_count_);
        stage_ = Stage::idle;
    }

    const GraphView& graph_;
    const KernelTable& tables_;
    SearchParams params_{};
    const std::uint64_t* allow_ = nullptr;
    QueryForms query_;
    CandidateBuffer nearest_;
    CandidateBuffer matches_;
    VisitedSet visited_;
    std::vector<std::uint32_t> seen_;
    std::size_t seen_count_ = 0;
    std::size_t first_new_ = 0;
    std::vector<float> scores_;
    std::vector<std::pair<float, std::uint32_t>> survivors_;
    std::vector<std::uint32_t> ids_;
    std::vector<std::int64_t> offsets_;
    std::uint32_t node_ = 0;
    Stage stage_ = Stage::idle;
    std::int64_t* rows_out_ = nullptr;
    float* distances_out_ = nullptr;
};

Searcher::Searcher(const GraphView& graph) : graph_(graph) {}

Searcher::~Searcher() = default;

std::unique_ptr<Traversal> Searcher::borrow() const {
    {
        const std::lock_guard lock(mutex_);
        if (!idle_.empty()) {
            auto traversal = std::move(idle_.back());
            idle_.pop_back();
            return traversal;
        }
    }
    return std::make_unique<Traversal>(graph_);
}

void Searcher::give_back(std::unique_ptr<Traversal> traversal) const {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(traversal));
}

SearchCounts Searcher::search_range(const SearchCall& call, std::size_t first, std::size_t last) const {
    std::vector<std::unique_ptr<Traversal>> flight(
        std::min(std::max<std::size_t>(call.params.in_flight, 1), last - first));
    SearchCounts counts{};
    std::size_t next = first;
    std::size_t active = 0;
    // Gives a traversal the next query that needs more than its first step; false when there is none.
    const auto feed = [&](Traversal& traversal) {
        while (traversal.idle() && next < last) {
            const std::size_t k = call.params.k;
            traversal.begin(call.queries + next * graph_.dims, call.rows + next * k,
                            call.distances + next * k);
            ++next;
        }
        return !traversal.idle();
    };
    for (auto& traversal : flight) {
        traversal = borrow();
        traversal->configure(call.params, call.allow);
        active += feed(*traversal) ? 1 : 0;
    }
    while (active > 0) {
        for (auto& traversal : flight) {
            if (traversal->idle()) continue;
            traversal->step(counts);
            if (traversal->idle() && !feed(*traversal)) --active;
        }
    }
    for (auto& traversal : flight) give_back(std::move(traversal));
    return counts;
}

SearchCounts Searcher::search(const SearchCall& call, ThreadPool* pool, const CancelFlag* cancel) const {
    std::atomic<std::uint64_t> distances{0};
    std::atomic<std::uint64_t> hops{0};
    const std::size_t threads = pool != nullptr ? pool->threads() : 1;
    const std::size_t per_task =
        std::min(kQueriesPerTask, std::max<std::size_t>(1, (call.query_count + threads - 1) / threads));
    const auto run = [&](std::size_t task) {
        if (cancel != nullptr && cancel->is_set()) throw Cancelled();
        const std::size_t first = task * per_task;
        const SearchCounts counts = search_range(call, first, std::min(call.query_count, first + per_task));
        distances += counts.distances;
        hops += counts.hops;
    };
    const std::size_t tasks = (call.query_count + per_task - 1) / per_task;
    if (threads == 1) {
        for (std::size_t task = 0; task < tasks; ++task) run(task);
    } else {
        pool->parallel_for(tasks, run);
    }
    return {distances.load(), hops.load()};
}

}  // namespace nearfield::graph
