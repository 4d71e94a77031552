#include "multivector/maxsim.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "flat/nearest.h"
#include "multivector/distance_scorer.h"
#include "multivector/document_scorer.h"
#include "multivector/packed_queries.h"

namespace nearfield::multivector {
namespace {

using flat::Nearest;
using flat::Neighbor;

constexpr std::size_t kQueryBytes = 256 * 1024;       // packed queries that share one pass over the documents
constexpr std::size_t kQueriesMax = 256;              // the same for queries of very few tokens
constexpr std::size_t kHeapBytes = 64 * 1024 * 1024;  // candidate heaps of one pass, all threads together
constexpr std::size_t kShareTokens = 4096;            // document tokens a thread takes at a time
constexpr std::size_t kCandidatesPerTask = 64;
// Query token x document token x dimension terms below which waking a thread costs more than it gives.
constexpr std::size_t kTermsPerThread = 1 << 22;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::size_t query_tokens(const Queries& queries) {
    return static_cast<std::size_t>(queries.offsets[queries.count] - queries.offsets[0]);
}

std::size_t useful_threads(std::size_t terms, const Resources& resources) {
    return std::clamp<std::size_t>(terms / kTermsPerThread, 1, resources.threads);
}

// Runs tasks on the pool of the call, or on one of its own.
class Workers {
public:
    Workers(std::size_t threads, ThreadPool* pool) : threads_(threads), pool_(pool) {
        if (threads == 1 || pool != nullptr) return;
        own_ = std::make_unique<ThreadPool>(threads);
        pool_ = own_.get();
    }
    void run(std::size_t tasks, const std::function<void(std::size_t)>& task) {
        if (threads_ > 1) return pool_->parallel_for(tasks, task);
        for (std::size_t i = 0; i < tasks; ++i) task(i);
    }

private:
    std::size_t threads_;
    ThreadPool* pool_;
    std::unique_ptr<ThreadPool> own_;
};

void write_best(const std::vector<Neighbor>& sorted, std::size_t k, std::int64_t* documents,
                float* distances) {
    const std::size_t found = std::min(sorted.size(), k);
    for (std::size_t i = 0; i < found; ++i) {
        documents[i] = sorted[i].row;
        distances[i] = sorted[i].distance;
    }
    std::fill(documents + found, documents + k, std::int64_t{-1});
    std::fill(distances + found, distances + k, kInfinity);
}

// How a group of queries is scored: by inner products, or by distances.
class ByProducts {
public:
    ByProducts(const KernelTable& kernels, const Queries& queries, const Documents& documents)
        : kernels_(*kernels.maxsim),
          queries_(kernels, queries, documents.dims, documents.type),
          documents_(documents) {}
    DocumentScorer scorer() const { return {kernels_, queries_, documents_}; }

private:
    const MaxSimKernels& kernels_;
    PackedQueries queries_;
    const Documents& documents_;
};

class ByDistances {
public:
    ByDistances(const KernelTable& kernels, const Queries& queries, const Documents& documents, Metric metric)
        : kernels_(kernels), queries_(queries), documents_(documents), metric_(metric) {}
    DistanceScorer scorer() const { return {kernels_, queries_, documents_, metric_}; }

private:
    const KernelTable& kernels_;
    const Queries& queries_;
    const Documents& documents_;
    Metric metric_;
};

// One pass over the documents for a group of queries.
class Pass {
public:
    Pass(std::size_t queries, const Documents& documents, std::size_t k, const std::uint64_t* allow,
         const Resources& resources, std::size_t slots)
        : queries_(queries),
          documents_(documents),
          k_(k),
          allow_(allow),
          cancel_(resources.cancel),
          nearest_(slots) {
        const std::size_t tokens =
            documents.count == 0 ? 1 : documents.end(documents.count - 1) / documents.count;
        share_ = std::max<std::size_t>(1, kShareTokens / std::max<std::size_t>(tokens, 1) / 64) * 64;
        const std::size_t kept = std::min(k, std::max<std::size_t>(documents.count, 1));
        for (std::vector<Nearest>& slot : nearest_) {
            slot.reserve(queries);
            for (std::size_t q = 0; q < queries; ++q) slot.emplace_back(kept);
        }
    }

    // Takes shares of the documents until none are left; each slot is used by one thread.
    template <class Scorer>
    void run(std::size_t slot, Scorer scorer) {
        std::vector<float> scores(queries_ * Scorer::kBatch);
        std::vector<std::int64_t> batch;
        batch.reserve(Scorer::kBatch);
        const auto flush = [&] {
            if (cancel_ != nullptr && cancel_->is_set()) throw Cancelled();
            scorer.score(batch.data(), batch.size(), scores.data());
            for (std::size_t q = 0; q < queries_; ++q) {
                for (std::size_t i = 0; i < batch.size(); ++i) {
                    const float distance = -scores[q * batch.size() + i];
                    if (nearest_[slot][q].may_enter(distance)) nearest_[slot][q].offer(distance, batch[i]);
                }
            }
            batch.clear();
        };
        for (;;) {
            const std::size_t first = next_share_.fetch_add(share_, std::memory_order_relaxed);
            if (first >= documents_.count) break;
            const std::size_t last = std::min(first + share_, documents_.count);
            for (std::size_t document = first; document < last; ++document) {
                if (allow_ != nullptr && (allow_[document / 64] >> (document % 64) & 1u) == 0) continue;
                if (documents_.begin(document) == documents_.end(document)) continue;
                batch.push_back(static_cast<std::int64_t>(document));
                if (batch.size() == Scorer::kBatch) flush();
            }
        }
        if (!batch.empty()) flush();
    }

    void write(std::int64_t* documents_out, float* distances_out) const {
        std::vector<Neighbor> merged;
        for (std::size_t q = 0; q < queries_; ++q) {
            merged.clear();
            for (const std::vector<Nearest>& slot : nearest_) {
                const std::vector<Neighbor>& heap = slot[q].heap();
                merged.insert(merged.end(), heap.begin(), heap.end());
            }
            std::sort(merged.begin(), merged.end());
            write_best(merged, k_, documents_out + q * k_, distances_out + q * k_);
        }
    }

private:
    std::size_t queries_;
    const Documents& documents_;
    std::size_t k_;
    const std::uint64_t* allow_;
    const CancelFlag* cancel_;
    std::size_t share_ = 0;
    std::atomic<std::size_t> next_share_{0};
    std::vector<std::vector<Nearest>> nearest_;  // [slot][query]
};

// How many queries from `first` share a pass.
std::size_t queries_of_pass(const Queries& queries, std::size_t first, const Documents& documents,
                            std::size_t k, std::size_t threads) {
    const std::size_t kept = std::max<std::size_t>(1, std::min(k, documents.count));
    const std::size_t by_heap = kHeapBytes / (kept * sizeof(Neighbor) * threads);
    const std::size_t most = std::clamp<std::size_t>(by_heap, 1, kQueriesMax);
    const auto tokens = static_cast<std::int64_t>(kQueryBytes / (documents.dims * sizeof(float)));
    std::size_t last = first + 1;
    while (last < queries.count && last - first < most &&
           queries.offsets[last + 1] - queries.offsets[first] <= tokens) {
        ++last;
    }
    return last - first;
}

// As `score`; with `k`, candidates that are certainly not among a query's k best may get -inf.
void score_for(const KernelTable& kernels, const Queries& queries, const Documents& documents,
               const Candidates& candidates, std::optional<std::size_t> k, const Resources& resources,
               float* scores_out) {
    const std::size_t tokens =
        documents.count == 0 ? 0 : documents.end(documents.count - 1) / documents.count;
    const std::size_t terms = tokens * candidates.each * documents.dims * query_tokens(queries);
    const std::size_t threads = useful_threads(terms, resources);
    // A query's candidates stay together unless there are too few queries for the threads.
    const bool cut = threads > 1 && queries.count < 4 * threads;
    const std::size_t part = cut ? kCandidatesPerTask : std::max<std::size_t>(candidates.each, 1);
    const std::size_t parts = (candidates.each + part - 1) / part;
    std::fill(scores_out, scores_out + queries.count * candidates.each, -kInfinity);
    Workers(threads, resources.pool).run(queries.count * parts, [&](std::size_t task) {
        const std::size_t q = task / parts, first = task % parts * part;
        const std::size_t last = std::min(first + part, candidates.each);
        const PackedQueries packed(kernels, {queries.tokens, queries.offsets + q, 1}, documents.dims,
                                   documents.type);
        ScoreFloor floor(k.value_or(0));
        DocumentScorer scorer(*kernels.maxsim, packed, documents, &floor);
        std::int64_t batch[DocumentScorer::kBatch];
        std::size_t places[DocumentScorer::kBatch];
        float scores[DocumentScorer::kBatch];
        std::size_t count = 0;
        for (std::size_t i = first; i < last; ++i) {
            const std::int64_t document = candidates.documents[q * candidates.each + i];
            const auto number = static_cast<std::size_t>(document);
            if (document >= 0 && documents.begin(number) < documents.end(number)) {
                batch[count] = document;
                places[count++] = i;
            }
            if (count < DocumentScorer::kBatch && i + 1 < last) continue;
            if (resources.cancel != nullptr && resources.cancel->is_set()) throw Cancelled();
            scorer.score(batch, count, scores);
            for (std::size_t j = 0; j < count; ++j) scores_out[q * candidates.each + places[j]] = scores[j];
            count = 0;
        }
    });
}

}  // namespace

void search(const KernelTable& kernels, const Queries& queries, const Documents& documents, Metric metric,
            std::size_t k, const std::uint64_t* allow, const Resources& resources,
            std::int64_t* documents_out, float* distances_out) {
    const std::size_t tokens = documents.count == 0 ? 0 : documents.end(documents.count - 1);
    const std::size_t threads = useful_threads(tokens * documents.dims * query_tokens(queries), resources);
    Workers workers(threads, resources.pool);
    std::size_t first = 0;
    while (first < queries.count) {
        const std::size_t count = queries_of_pass(queries, first, documents, k, threads);
        const Queries group{queries.tokens, queries.offsets + first, count};
        Pass pass(count, documents, k, allow, resources, threads);
        const auto run = [&](const auto& scoring) {
            workers.run(threads, [&](std::size_t slot) { pass.run(slot, scoring.scorer()); });
        };
        if (metric == Metric::ip) {
            run(ByProducts(kernels, group, documents));
        } else {
            run(ByDistances(kernels, group, documents, metric));
        }
        pass.write(documents_out + first * k, distances_out + first * k);
        first += count;
    }
}

void score(const KernelTable& kernels, const Queries& queries, const Documents& documents,
           const Candidates& candidates, const Resources& resources, float* scores_out) {
    score_for(kernels, queries, documents, candidates, std::nullopt, resources, scores_out);
}

void rerank(const KernelTable& kernels, const Queries& queries, const Documents& documents,
            const Candidates& candidates, std::size_t k, const Resources& resources,
            std::int64_t* documents_out, float* distances_out) {
    std::vector<float> scores(queries.count * candidates.each);
    score_for(kernels, queries, documents, candidates, k, resources, scores.data());
    std::vector<Neighbor> found;
    for (std::size_t q = 0; q < queries.count; ++q) {
        found.clear();
        for (std::size_t i = q * candidates.each; i < (q + 1) * candidates.each; ++i) {
            if (scores[i] > -kInfinity) found.push_back({-scores[i], candidates.documents[i]});
        }
        std::sort(found.begin(), found.end());
        const auto same = [](const Neighbor& a, const Neighbor& b) { return a.row == b.row; };
        found.erase(std::unique(found.begin(), found.end(), same), found.end());
        write_best(found, k, documents_out + q * k, distances_out + q * k);
    }
}

}  // namespace nearfield::multivector
