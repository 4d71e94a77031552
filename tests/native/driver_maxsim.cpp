// MaxSim of every tier against plain loops in double precision: ragged
// documents and queries in exactly the memory they need, every encoding, scan,
// re-rank and scores, with any number of threads.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/dispatch.h"
#include "core/thread_pool.h"
#include "driver.h"
#include "encodings/half.h"
#include "encodings/lvq.h"
#include "kernels/code_kernels.h"
#include "multivector/carving.h"
#include "multivector/maxsim.h"

namespace nearfield {
namespace {

using encodings::CodeLayout;
using multivector::Documents;
using multivector::Queries;
using multivector::TokenType;

constexpr TokenType kTypes[] = {TokenType::f32, TokenType::f16, TokenType::lvq8, TokenType::lvq4};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_values(std::size_t count, std::mt19937& random) {
    std::vector<float> values(count);
    for (float& value : values) value = std::uniform_real_distribution<float>(-1.0f, 1.0f)(random);
    return values;
}

std::vector<std::int64_t> offsets_of(const std::vector<std::size_t>& sizes) {
    std::vector<std::int64_t> offsets{0};
    for (const std::size_t size : sizes) offsets.push_back(offsets.back() + static_cast<std::int64_t>(size));
    return offsets;
}

// Token matrices in exactly the bytes they take, at an odd multiple of the
// element size.
class Stored {
public:
    Stored(TokenType type, std::vector<std::int64_t> offsets, std::size_t dims, std::mt19937& random)
        : type_(type), dims_(dims), offsets_(std::move(offsets)), values_(tokens() * dims) {
        values_ = random_values(values_.size(), random);
        const std::size_t element = type == TokenType::f32 ? 4 : type == TokenType::f16 ? 2 : 1;
        const CodeLayout layout{type == TokenType::lvq4 ? 4 : 8, dims};
        row_bytes_ = element > 1 ? element * dims : layout.stride(1);
        shift_ = element;
        bytes_.reset(new unsigned char[shift_ + tokens() * row_bytes_]);
        unsigned char* out = bytes_.get() + shift_;
        if (tokens() == 0) return;
        if (type == TokenType::f32) {
            std::memcpy(out, values_.data(), values_.size() * sizeof(float));
        } else if (type == TokenType::f16) {
            for (std::size_t i = 0; i < values_.size(); ++i) {
                const std::uint16_t half = encodings::to_half(values_[i]);
                std::memcpy(out + 2 * i, &half, sizeof half);
                values_[i] = encodings::from_half(half);
            }
        } else {
            encodings::encode_lvq(values_.data(), tokens(), layout, {true}, nullptr, out, row_bytes_);
            encodings::decode_lvq({layout, out, row_bytes_}, tokens(), values_.data());
        }
    }
    std::size_t tokens() const { return static_cast<std::size_t>(offsets_.back()); }
    std::size_t count() const { return offsets_.size() - 1; }
    Documents documents() const {
        return {bytes_.get() + shift_, type_, dims_, row_bytes_, count(), offsets_.data(), 0};
    }
    // The same without offsets, for documents of `each` tokens.
    Documents even(std::size_t each) const {
        return {bytes_.get() + shift_, type_, dims_, row_bytes_, tokens() / each, nullptr, each};
    }
    // MaxSim by plain loops over what is stored; -inf for an empty document.
    double score(const std::vector<float>& query, std::size_t document) const {
        double sum = 0.0;
        const auto first = static_cast<std::size_t>(offsets_[document]);
        const auto last = static_cast<std::size_t>(offsets_[document + 1]);
        if (first == last) return -std::numeric_limits<double>::infinity();
        for (std::size_t q = 0; q < query.size() / dims_; ++q) {
            double best = -std::numeric_limits<double>::infinity();
            for (std::size_t t = first; t < last; ++t) {
                double dot = 0.0;
                for (std::size_t k = 0; k < dims_; ++k)
                    dot += static_cast<double>(query[q * dims_ + k]) *
                           static_cast<double>(values_[t * dims_ + k]);
                best = std::max(best, dot);
            }
            sum += best;
        }
        return sum;
    }
    // The sum of the distances from the query's tokens to the nearest of a
    // document.
    double distance(const std::vector<float>& query, std::size_t document, Metric metric) const {
        double sum = 0.0;
        for (std::size_t q = 0; q < query.size(); q += dims_) {
            double nearest = std::numeric_limits<double>::infinity();
            for (auto t = static_cast<std::size_t>(offsets_[document]);
                 t < static_cast<std::size_t>(offsets_[document + 1]); ++t) {
                double between = 0.0;
                for (std::size_t k = 0; k < dims_; ++k) {
                    const double difference =
                        static_cast<double>(query[q + k]) - static_cast<double>(values_[t * dims_ + k]);
                    between += metric == Metric::l2 ? difference * difference : std::fabs(difference);
                }
                nearest = std::min(nearest, between);
            }
            sum += nearest;
        }
        return sum;
    }
    bool is_codes() const { return type_ == TokenType::lvq8 || type_ == TokenType::lvq4; }

private:
    TokenType type_;
    std::size_t dims_;
    std::vector<std::int64_t> offsets_;
    std::vector<float> values_;  // what is stored, widened
    std::size_t row_bytes_ = 0;
    std::size_t shift_ = 0;
    std::unique_ptr<unsigned char[]> bytes_;
};

// The tokens of query `q` as the kernels meet them: codes are multiplied with
// 8-bit steps of a query token.
std::vector<float> as_scored(const Stored& stored, const std::vector<float>& tokens, const Queries& queries,
                             std::size_t q, std::size_t dims) {
    std::vector<float> query(tokens.begin() + queries.offsets[q] * static_cast<std::ptrdiff_t>(dims),
                             tokens.begin() + queries.offsets[q + 1] * static_cast<std::ptrdiff_t>(dims));
    if (!stored.is_codes()) return query;
    std::vector<std::int8_t> codes(dims);
    for (std::size_t t = 0; t < query.size(); t += dims) {
        const float scale = kBaselineCodeKernels.quantize(query.data() + t, dims, codes.data()).scale;
        for (std::size_t k = 0; k < dims; ++k) query[t + k] = scale * static_cast<float>(codes[k]);
    }
    return query;
}

struct Best {
    std::vector<std::int64_t> documents;
    std::vector<float> distances;

    bool operator==(const Best&) const = default;
};

Best sorted(const std::vector<float>& scores, std::size_t count, std::size_t k, const std::uint64_t* allow) {
    Best best;
    for (std::size_t q = 0; q < scores.size() / std::max<std::size_t>(count, 1); ++q) {
        std::vector<std::pair<float, std::int64_t>> order;
        for (std::size_t d = 0; d < count; ++d) {
            const bool allowed = allow == nullptr || (allow[d / 64] >> (d % 64) & 1u) != 0;
            if (allowed && scores[q * count + d] > -kInfinity) order.emplace_back(-scores[q * count + d], d);
        }
        std::sort(order.begin(), order.end());
        order.resize(k, {kInfinity, -1});
        for (const auto& [distance, document] : order) {
            best.distances.push_back(distance);
            best.documents.push_back(document);
        }
    }
    return best;
}

std::vector<float> scores_of(const KernelTable& tier, const Queries& queries, const Documents& documents,
                             const multivector::Resources& resources) {
    std::vector<std::int64_t> every(queries.count * documents.count);
    for (std::size_t i = 0; i < every.size(); ++i) every[i] = static_cast<std::int64_t>(i % documents.count);
    std::vector<float> scores(every.size());
    multivector::score(tier, queries, documents, {every.data(), documents.count}, resources, scores.data());
    return scores;
}

Best search(const KernelTable& tier, const Queries& queries, const Documents& documents, std::size_t k,
            const std::uint64_t* allow, const multivector::Resources& resources, Metric metric = Metric::ip) {
    Best best{std::vector<std::int64_t>(queries.count * k), std::vector<float>(queries.count * k)};
    multivector::search(tier, queries, documents, metric, k, allow, resources, best.documents.data(),
                        best.distances.data());
    return best;
}

void check_scores(const KernelTable& tier, std::size_t dims, std::mt19937& random) {
    std::vector<std::size_t> sizes{0, 1, 2, 3, 17, 40, 0};
    if (dims == 64) sizes.insert(sizes.end(), {1000, 7, 23, 24, 25});
    const std::vector<std::int64_t> starts = offsets_of({1, 5 + dims % 13, 0, 16 + dims % 40});
    const std::vector<float> tokens = random_values(static_cast<std::size_t>(starts.back()) * dims, random);
    const Queries queries{tokens.data(), starts.data(), starts.size() - 1};
    for (const TokenType type : kTypes) {
        const Stored stored(type, offsets_of(sizes), dims, random);
        const std::vector<float> found = scores_of(tier, queries, stored.documents(), {1, nullptr, nullptr});
        bool agrees = true;
        for (std::size_t q = 0; q < queries.count; ++q) {
            const std::vector<float> query = as_scored(stored, tokens, queries, q, dims);
            for (std::size_t d = 0; d < stored.count(); ++d) {
                const double expected = stored.score(query, d);
                const float score = found[q * stored.count() + d];
                const double allowed = 2e-7 * static_cast<double>((dims + 8) * (query.size() / dims));
                agrees = agrees && (std::isinf(expected) ? score == -kInfinity
                                                         : std::fabs(score - expected) <= allowed);
            }
        }
        check(agrees, std::string(tier.isa) + " MaxSim of type " + std::to_string(static_cast<int>(type)) +
                          ", dims " + std::to_string(dims));
        // One query after the other, all of them in one pass, on a pool: the same
        // bits.
        const Best expected = sorted(found, stored.count(), 3, nullptr);
        check(search(tier, queries, stored.documents(), 3, nullptr, {1, nullptr, nullptr}) == expected,
              std::string(tier.isa) + " MaxSim does not depend on the pass");
    }
}

// Sums of the distances to the nearest tokens, against plain loops; the same on
// a pool.
void check_distances(const KernelTable& tier, std::mt19937& random) {
    ThreadPool pool(3);
    constexpr std::size_t kDims = 21;
    const std::vector<std::int64_t> starts = offsets_of({2, 0, 30});
    const std::vector<float> tokens = random_values(static_cast<std::size_t>(starts.back()) * kDims, random);
    const Queries queries{tokens.data(), starts.data(), 3};
    std::vector<std::size_t> sizes{1, 0, 63, 64, 65, 200};
    for (std::size_t i = 0; i < 300; ++i) sizes.push_back(1 + random() % 90);
    for (const TokenType type : {TokenType::f32, TokenType::f16}) {
        const Stored stored(type, offsets_of(sizes), kDims, random);
        for (const Metric metric : {Metric::l2, Metric::l1}) {
            const Best best = search(tier, queries, stored.documents(), sizes.size(), nullptr,
                                     {1, nullptr, nullptr}, metric);
            check(best == search(tier, queries, stored.documents(), sizes.size(), nullptr,
                                 {3, &pool, nullptr}, metric),
                  "MaxSim by distances on a pool");
            bool agrees = true;
            for (std::size_t i = 0; i < best.documents.size(); ++i) {
                const std::size_t q = i / sizes.size();
                if (best.documents[i] < 0) continue;
                const std::vector<float> query(
                    tokens.begin() + starts[q] * static_cast<std::ptrdiff_t>(kDims),
                    tokens.begin() + starts[q + 1] * static_cast<std::ptrdiff_t>(kDims));
                const double expected =
                    stored.distance(query, static_cast<std::size_t>(best.documents[i]), metric);
                agrees = agrees && std::fabs(best.distances[i] - expected) <= 1e-5 * expected;
            }
            check(agrees, std::string(tier.isa) + " MaxSim by distances");
        }
    }
}

void check_searches(const KernelTable& tier, std::mt19937& random) {
    ThreadPool pool(3);
    constexpr std::size_t kDims = 33, kEach = 6;
    for (const std::size_t count : {1, 64, 65, 700}) {
        std::vector<std::size_t> sizes(count);
        for (std::size_t& size : sizes) size = random() % 30 < 3 ? 0 : random() % 90;
        std::vector<std::int64_t> starts = offsets_of({9, 3, 20});
        const std::vector<float> tokens =
            random_values(static_cast<std::size_t>(starts.back()) * kDims, random);
        const Queries queries{tokens.data(), starts.data(), 3};
        for (const TokenType type : kTypes) {
            const Stored stored(type, offsets_of(sizes), kDims, random);
            const multivector::Resources one{1, nullptr, nullptr}, three{3, &pool, nullptr},
                own{2, nullptr, nullptr};
            const Documents documents = stored.documents();
            const std::vector<float> scores = scores_of(tier, queries, documents, one);
            check(scores == scores_of(tier, queries, documents, three), "MaxSim scores on a pool");
            for (const unsigned share : {0u, 3u, 60u, 100u}) {
                std::vector<std::uint64_t> allow((count + 63) / 64);
                for (std::size_t d = 0; d < count; ++d)
                    allow[d / 64] |= std::uint64_t{random() % 100 < share} << (d % 64);
                if (count % 64 != 0)
                    allow.back() |= std::uint64_t{1} << 63;  // beyond the documents: means nothing
                for (const std::size_t k : {std::size_t{1}, std::size_t{10}, count + 3}) {
                    const Best expected = sorted(scores, count, k, allow.data());
                    check(search(tier, queries, documents, k, allow.data(), one) == expected, "MaxSim scan");
                    check(search(tier, queries, documents, k, allow.data(), three) == expected,
                          "MaxSim scan on a pool");
                }
            }
            std::vector<std::int64_t> candidates(3 * 150);
            std::vector<std::uint64_t> named(3 * ((count + 63) / 64));
            for (std::size_t i = 0; i < candidates.size(); ++i) {
                candidates[i] = static_cast<std::int64_t>(random() % (count + 1)) - 1;
                if (candidates[i] < 0) continue;
                const auto d = static_cast<std::size_t>(candidates[i]);
                named[i / 150 * ((count + 63) / 64) + d / 64] |= std::uint64_t{1} << (d % 64);
            }
            Best best{std::vector<std::int64_t>(3 * 7), std::vector<float>(3 * 7)};
            multivector::rerank(tier, queries, documents, {candidates.data(), 150}, 7, own,
                                best.documents.data(), best.distances.data());
            Best expected;
            for (std::size_t q = 0; q < 3; ++q) {
                const std::vector<float> line(scores.begin() + static_cast<std::ptrdiff_t>(q * count),
                                              scores.begin() + static_cast<std::ptrdiff_t>((q + 1) * count));
                const Best part = sorted(line, count, 7, named.data() + q * ((count + 63) / 64));
                expected.documents.insert(expected.documents.end(), part.documents.begin(),
                                          part.documents.end());
                expected.distances.insert(expected.distances.end(), part.distances.begin(),
                                          part.distances.end());
            }
            check(best == expected, "MaxSim re-rank");
        }
        const std::vector<std::int64_t> even = offsets_of(std::vector<std::size_t>(count, kEach));
        const Stored stored(TokenType::f16, even, kDims, random);
        check(search(tier, queries, stored.even(kEach), 5, nullptr, {1, nullptr, nullptr}) ==
                  search(tier, queries, stored.documents(), 5, nullptr, {1, nullptr, nullptr}),
              "documents of one size need no offsets");
    }
    CancelFlag cancel;
    cancel.set();
    const Stored stored(TokenType::f32, offsets_of({4, 4}), 8, random);
    const std::vector<float> query(8);
    const std::vector<std::int64_t> starts{0, 1};
    bool cancelled = false;
    try {
        search(tier, {query.data(), starts.data(), 1}, stored.documents(), 1, nullptr, {1, nullptr, &cancel});
    } catch (const Cancelled&) {
        cancelled = true;
    }
    check(cancelled, "a MaxSim scan is cancelled");
}

void check_carving(const KernelTable& tier, std::mt19937& random) {
    constexpr std::size_t kDims = 19;
    const std::vector<std::int64_t> starts = offsets_of({0, 1, 12, 30});
    const std::vector<float> tokens = random_values(static_cast<std::size_t>(starts.back()) * kDims, random);
    const Queries queries{tokens.data(), starts.data(), 4};
    const multivector::Carved whole = multivector::carve(tier, queries, kDims, kInfinity);
    check(whole.tokens == tokens && whole.offsets == starts, "nothing is carved beyond any product");
    const multivector::Carved one = multivector::carve(tier, queries, kDims, -kInfinity);
    check(one.offsets == std::vector<std::int64_t>({0, 0, 1, 2, 3}),
          "everything is one group below any product");
    const multivector::Carved some = multivector::carve(tier, queries, kDims, 0.5f);
    const Stored stored(TokenType::f32, offsets_of({5, 50, 9}), kDims, random);
    const Queries carved{some.tokens.data(), some.offsets.data(), 4};
    const std::vector<float> exact = scores_of(tier, queries, stored.documents(), {1, nullptr, nullptr});
    const std::vector<float> less = scores_of(tier, carved, stored.documents(), {1, nullptr, nullptr});
    bool below = some.offsets.back() < starts.back();
    for (std::size_t i = 0; i < exact.size(); ++i) below = below && less[i] <= exact[i] + 1e-4f;
    check(below, "a carved query scores no higher");
}

}  // namespace

void check_maxsim() {
    std::mt19937 random(5);
    for (const KernelTable* tier : available_tiers()) {
        for (std::size_t dims = 1; dims <= 130; ++dims) check_scores(*tier, dims, random);
        check_scores(*tier, 300, random);
        check_searches(*tier, random);
        check_distances(*tier, random);
        check_carving(*tier, random);
    }
}

}  // namespace nearfield
