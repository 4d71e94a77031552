// The graph from its rows to its answers: build, search, range, stream and
// change, each the same for every number of threads, measured against brute
// force, and harmless when links and codes are damaged.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/dispatch.h"
#include "driver.h"
#include "graph/extend.h"
#include "graph/range_search.h"
#include "graph/row_stream.h"
#include "graph/search.h"
#include "graph_fixture.h"

namespace nearfield {
namespace {

constexpr std::size_t kQueries = 130;  // more than one task of a search
constexpr std::size_t kK = 10;
constexpr std::size_t kDegree = MadeGraph::kDegree;
constexpr std::size_t kNoLimit = ~std::size_t{0};
constexpr graph::SearchParams kPlain{kK, 40, 30, 20, 3, false, kNoLimit, 0.0f};

struct Answers {
    std::vector<std::int64_t> rows;
    std::vector<float> distances;

    bool operator==(const Answers&) const = default;
};

Answers answers_of(const graph::Searcher& searcher, const std::vector<float>& queries, std::size_t dims,
                   const graph::SearchParams& params, const std::uint64_t* allow, ThreadPool* pool) {
    const std::size_t count = queries.size() / dims;
    Answers answers{std::vector<std::int64_t>(count * params.k), std::vector<float>(count * params.k)};
    searcher.search({queries.data(), count, params, allow, answers.rows.data(), answers.distances.data()},
                    pool, nullptr);
    return answers;
}

Answers one_by_one(const graph::Searcher& searcher, const std::vector<float>& queries, std::size_t dims,
                   const graph::SearchParams& params, const std::uint64_t* allow) {
    Answers all;
    for (auto query = queries.begin(); query != queries.end(); query += static_cast<std::ptrdiff_t>(dims)) {
        const Answers one = answers_of(searcher, {query, query + static_cast<std::ptrdiff_t>(dims)}, dims,
                                       params, allow, nullptr);
        all.rows.insert(all.rows.end(), one.rows.begin(), one.rows.end());
        all.distances.insert(all.distances.end(), one.distances.begin(), one.distances.end());
    }
    return all;
}

bool is_allowed(const std::uint64_t* allow, std::size_t row) {
    return allow == nullptr || (allow[row / 64] >> (row % 64) & 1u) != 0;
}

std::vector<float> queries_near(const MadeRows& rows, std::mt19937& random) {
    std::normal_distribution<float> normal(0.0f, 0.4f);
    std::vector<float> queries(kQueries * rows.dims);
    for (std::size_t i = 0; i < queries.size(); ++i)
        queries[i] = rows.row((i / rows.dims * 7919) % rows.count)[i % rows.dims] + normal(random);
    return queries;
}

// Exact distances of every query to every row.
struct Truth {
    Truth(const MadeGraph& made, const std::vector<float>& queries)
        : dims(made.view().dims), rows(made.view().count), distances(queries.size() / dims * rows) {
        for (std::size_t i = 0; i < distances.size(); ++i)
            distances[i] = made.distance(queries.data() + i / rows * dims, i % rows);
    }
    double of(std::size_t query, std::int64_t row) const {
        return distances[query * rows + static_cast<std::size_t>(row)];
    }
    // Those of allowed rows, ascending.
    std::vector<double> sorted(std::size_t query, const std::uint64_t* allow) const {
        std::vector<double> allowed;
        for (std::size_t row = 0; row < rows; ++row)
            if (is_allowed(allow, row)) allowed.push_back(distances[query * rows + row]);
        std::sort(allowed.begin(), allowed.end());
        return allowed;
    }

    std::size_t dims, rows;
    std::vector<double> distances;
};

double slack(double distance) { return 1e-4 * std::fabs(distance) + 1e-4; }

// Share of places whose row is as near as the true one; also that answers are
// sorted, single and allowed.
double recall(const Truth& truth, const Answers& answers, const std::uint64_t* allow,
              const std::string& what) {
    std::size_t near = 0, wanted = 0;
    bool sound = true;
    for (std::size_t q = 0; q < answers.rows.size() / kK; ++q) {
        const std::vector<double> sorted = truth.sorted(q, allow);
        const std::size_t places = std::min(kK, sorted.size());
        std::set<std::int64_t> seen;
        for (std::size_t i = q * kK; i < (q + 1) * kK; ++i) {
            const std::int64_t row = answers.rows[i];
            if (row < 0) continue;
            const double exact = truth.of(q, row);
            sound = sound && seen.insert(row).second && is_allowed(allow, static_cast<std::size_t>(row)) &&
                    std::fabs(exact - answers.distances[i]) <= slack(exact) &&
                    (i == q * kK || answers.distances[i - 1] <= answers.distances[i]);
            near += exact <= sorted[places - 1] + slack(sorted[places - 1]) ? 1 : 0;
        }
        wanted += places;
    }
    check(sound, what + ": answers are sorted, single, allowed, with exact distances");
    return static_cast<double>(near) / static_cast<double>(wanted);
}

// What one tier measured, in order; kept by the baseline's run for those of the
// others.
class Recalls {
public:
    explicit Recalls(const std::string& path)
        : path_(path), is_reference_(kernels().isa == std::string("baseline")) {
        if (is_reference_ || path.empty()) return;
        std::ifstream file(path);
        for (double value; file >> value;) reference_.push_back(value);
        check(!reference_.empty(), "the baseline's recalls are there to compare with");
    }
    ~Recalls() {
        if (!is_reference_ || path_.empty()) return;
        std::ofstream file(path_);
        for (const double value : measured_) file << value << '\n';
    }
    void add(double value, double least, const std::string& what) {
        check(value >= least, what + ": recall " + std::to_string(value));
        const std::size_t i = measured_.size();
        measured_.push_back(value);
        if (!reference_.empty())
            check(i < reference_.size() && value >= reference_[i] - 0.005,
                  what + ": recall " + std::to_string(value) + " reaches the baseline's");
    }

private:
    std::string path_;
    bool is_reference_;
    std::vector<double> reference_, measured_;
};

bool same(const Lists& a, const Lists& b) {
    return a.size() == b.size() && std::equal(a.data(), a.data() + a.size(), b.data());
}

struct Pools {
    ThreadPool one{1}, three{3};
};

// Searches of all kinds on one graph: equal on any number of threads.
void check_searches(const MadeGraph& made, const std::vector<float>& queries, const Truth& truth,
                    Pools& pools, Recalls& recalls, const std::string& what) {
    const graph::Searcher searcher(made.view());
    const std::size_t dims = made.view().dims, count = made.view().count;
    std::vector<std::uint64_t> third((count + 63) / 64), few(third.size());
    for (std::size_t row = 0; row < count; ++row) {
        third[row / 64] |= std::uint64_t{row % 3 == 0} << (row % 64);
        few[row / 64] |= std::uint64_t{row % 97 == 5} << (row % 64);
    }
    if (count % 64 != 0) third.back() |= few.back() |= std::uint64_t{1} << 63;  // beyond the rows: nothing
    std::vector<std::uint64_t> most(third.size());  // as where some rows were deleted
    for (std::size_t row = 0; row < count; ++row)
        most[row / 64] |= std::uint64_t{row % 20 != 0} << (row % 64);
    graph::SearchParams narrow = kPlain, scan = kPlain, alone = kPlain, adaptive = kPlain;
    narrow.window = kK + (kPlain.window - kK) / 3;
    scan.scan = true;
    alone.in_flight = 1;
    adaptive.adaptive = {{0.01f, 0.0f, 0.01f}, 3.7f, 30, 85};
    // Links of Euclidean neighbours lead to largest products almost as well.
    const double walked = made.view().metric == Metric::l2 ? 0.97 : 0.93;
    struct Case {
        const char* name;
        const graph::SearchParams& params;
        const std::uint64_t* allow;
        double least;
    };
    for (const Case& each :
         {Case{"plain", kPlain, nullptr, walked}, Case{"adaptive", adaptive, nullptr, walked - 0.03},
          Case{"a third allowed", narrow, third.data(), walked - 0.01},
          Case{"few allowed", kPlain, few.data(), walked}, Case{"most allowed", kPlain, most.data(), walked},
          Case{"few allowed, scanned", scan, few.data(), 0.97}, Case{"all scanned", scan, nullptr, 0.97}}) {
        const std::string name = what + ", " + each.name;
        const Answers found = answers_of(searcher, queries, dims, each.params, each.allow, nullptr);
        check(answers_of(searcher, queries, dims, each.params, each.allow, &pools.one) == found &&
                  answers_of(searcher, queries, dims, each.params, each.allow, &pools.three) == found,
              name + ": the same on threads");
        recalls.add(recall(truth, found, each.allow, name), each.least, name);
    }
    const Answers found = answers_of(searcher, queries, dims, kPlain, nullptr, nullptr);
    check(answers_of(searcher, queries, dims, alone, nullptr, nullptr) == found, what + ": one at a time");
    check(answers_of(searcher, queries, dims, adaptive, nullptr, nullptr) ==
              one_by_one(searcher, queries, dims, adaptive, nullptr),
          what + ": adaptive, the same alone");
    std::vector<Answers> each(3);
    std::vector<std::thread> callers;
    for (Answers& own : each)
        callers.emplace_back(
            [&] { own = answers_of(searcher, queries, dims, kPlain, nullptr, &pools.three); });
    for (std::thread& caller : callers) caller.join();
    check(each[0] == found && each[1] == found && each[2] == found, what + ": from several callers at once");
    check(answers_of(searcher, queries, dims, narrow, third.data(), nullptr) ==
              one_by_one(searcher, queries, dims, narrow, third.data()),
          what + ": filtered, the same alone");
    graph::SearchParams hurried = kPlain, doubting = kPlain;
    hurried.expansions_most = 2;
    doubting.agreement_least = 1.01f;  // more than any order agrees with another
    for (const graph::SearchParams& params : {hurried, doubting}) {
        const Answers none = answers_of(searcher, queries, dims, params, third.data(), nullptr);
        check(std::all_of(none.rows.begin(), none.rows.end(), [](std::int64_t row) { return row == -1; }),
              what + ": no answer where a walk was long or codes are not to be trusted");
    }
}

void check_ranges(const MadeGraph& made, const std::vector<float>& queries, const Truth& truth, Pools& pools,
                  Recalls& recalls, const std::string& what) {
    const std::size_t dims = made.view().dims, count = made.view().count;
    std::vector<std::uint64_t> half((count + 63) / 64);
    for (std::size_t row = 0; row < count; ++row) half[row / 64] |= std::uint64_t{row % 2} << (row % 64);
    std::size_t found = 0, wanted = 0;
    bool threads_agree = true, sound = true;
    const std::vector<double> first = truth.sorted(0, half.data());
    const auto radius = static_cast<float>(first[std::min<std::size_t>(40, first.size() - 1)]);
    const graph::RangeCall call{queries.data(), kQueries / 4, radius, 32, half.data()};
    const auto rows = graph::range_search(made.view(), call, nullptr, nullptr);
    const auto threaded = graph::range_search(made.view(), call, &pools.three, nullptr);
    for (std::size_t q = 0; q < call.query_count; ++q) {
        threads_agree = threads_agree && rows[q].size() == threaded[q].size();
        for (std::size_t i = 0; i < rows[q].size(); ++i) {
            threads_agree = threads_agree && rows[q][i].row == threaded[q][i].row;
            sound = sound && rows[q][i].distance <= radius && is_allowed(half.data(), rows[q][i].row) &&
                    (i == 0 || rows[q][i - 1] < rows[q][i]);
        }
        const std::vector<double> sorted = truth.sorted(q, half.data());
        wanted +=
            static_cast<std::size_t>(std::upper_bound(sorted.begin(), sorted.end(), radius) - sorted.begin());
        found += rows[q].size();
    }
    check(threads_agree, what + ": ranges are the same on threads");
    check(sound, what + ": ranges are sorted, single and allowed");
    recalls.add(static_cast<double>(found) / static_cast<double>(wanted), 0.95, what + ", range");

    graph::RowStream stream(made.view(),
                            {queries.begin(), queries.begin() + static_cast<std::ptrdiff_t>(dims)}, 32, half);
    std::set<std::uint32_t> seen;
    std::size_t given = 0, near = 0;
    for (auto batch = stream.next(7); !batch.empty(); batch = stream.next(7)) {
        for (const graph::RankedRow& row : batch) {
            if (given++ < 100 && row.distance <= first[99] + slack(first[99])) ++near;
            seen.insert(row.row);
        }
    }
    check(given == first.size() && seen.size() == given, what + ": a stream has every allowed row once");
    recalls.add(static_cast<double>(near) / 100.0, 0.9, what + ", stream");
}

// Cuts every fifth row out of the links, appends it again, and mends what is
// hard to find.
Lists changed(const MadeRows& rows, const Lists& lists, ThreadPool* pool) {
    const std::size_t count = rows.count, entering = count / 5, staying = count - entering;
    const graph::BuildParams params{kDegree, 1.2f};
    const graph::BuildControl control{pool, nullptr, {}};
    Lists place(count), neighbours(count * kDegree), order(count), forward(entering * kDegree);
    std::fill_n(neighbours.data(), neighbours.size(), graph::kNoNeighbour);
    // The last rows leave and come back, so that the numbers of those that stay
    // remain what they are.
    for (std::size_t i = 0; i < count; ++i)
        place[i] = i < staying ? static_cast<std::uint32_t>(i) : graph::kNoNeighbour;
    const graph::BuildRows all = rows.build_rows();
    const graph::BuildRows kept{all.vectors, all.scales, staying, all.stride};
    graph::drop_nodes(kept, {lists.data(), count, place.data()}, 32, params, control, neighbours.data());
    graph::connect_and_order(staying, kDegree, 0, neighbours.data(), order.data());
    for (std::size_t known : {staying, count}) {
        std::vector<std::int64_t> found = searched(rows, neighbours, known, staying, 32, pool);
        for (std::size_t i = 0; i < entering; ++i)  // who enters beside it, as clusters would tell
            for (std::size_t j = 0; j < 8; ++j)
                found[i * 32 + 24 + j] = static_cast<std::int64_t>(staying + (i + j + 1) % entering);
        graph::link_candidates(all, staying, entering, found.data(), 32, params, control, forward.data());
        graph::add_nodes(all, staying, entering, forward.data(), params, control, neighbours.data());
        graph::connect_and_order(count, kDegree, 0, neighbours.data(), order.data());
    }
    graph::raise_in_degrees(count, kDegree, kDegree / 3, neighbours.data());
    const std::uint32_t hidden[] = {3, static_cast<std::uint32_t>(count - 1)};
    const std::int64_t by[] = {1, 2, -1, 5, 6, 7};
    graph::name_nodes(count, kDegree, kDegree / 3, hidden, 2, by, 3, neighbours.data());
    return neighbours;
}

void check_damage(const MadeRows& rows, const Lists& lists, Variant variant,
                  const std::vector<float>& queries, const std::string& what) {
    std::vector<std::uint64_t> half((rows.count + 63) / 64, 0x5555555555555555u);
    for (unsigned seed = 0; seed < 3; ++seed) {
        MadeGraph made(rows, lists, variant, Metric::l2);
        if (seed != 1) made.damage_links(seed);
        if (seed != 0) made.damage_codes(seed);
        const graph::Searcher searcher(made.view());
        const Truth truth(made, queries);
        for (const std::uint64_t* allow :
             {static_cast<const std::uint64_t*>(nullptr), static_cast<const std::uint64_t*>(half.data())}) {
            const Answers found = answers_of(searcher, queries, rows.dims, kPlain, allow, nullptr);
            recall(truth, found, allow, what + ", damaged");
            const graph::RangeCall call{queries.data(), 8, 0.9f * static_cast<float>(rows.dims), 16, allow};
            for (const auto& within : graph::range_search(made.view(), call, nullptr, nullptr))
                check(std::is_sorted(within.begin(), within.end()), what + ": damaged, ranges are sorted");
        }
        graph::RowStream stream(
            made.view(), {queries.begin(), queries.begin() + static_cast<std::ptrdiff_t>(rows.dims)}, 8, {});
        check(stream.next(rows.count + 1).size() == rows.count, what + ": damaged, a stream has every row");
    }
}

void check_one(std::size_t count, std::size_t dims, std::size_t rounds, Pools& pools, Recalls& recalls) {
    const std::string what = std::to_string(count) + " rows of " + std::to_string(dims);
    const MadeRows rows(count, dims, static_cast<unsigned>(dims));
    std::mt19937 random(static_cast<unsigned>(count));
    const std::vector<float> queries = queries_near(rows, random);
    const Lists lists = linked(rows, nullptr, rounds);
    check(same(linked(rows, &pools.one, rounds), lists) && same(linked(rows, &pools.three, rounds), lists),
          what + ": the same links on threads");
    for (const Metric metric : {Metric::l2, Metric::ip}) {
        for (const Variant variant :
             {Variant::lvq8, Variant::two_levels, Variant::projected, Variant::full_rows}) {
            if (metric == Metric::ip && variant == Variant::projected) continue;
            const MadeGraph made(rows, lists, variant, metric);
            const std::string name = what + (metric == Metric::ip ? " ip" : " l2") + " variant " +
                                     std::to_string(static_cast<int>(variant));
            const Truth truth(made, queries);
            check_searches(made, queries, truth, pools, recalls, name);
            if (variant != Variant::two_levels) check_ranges(made, queries, truth, pools, recalls, name);
        }
    }
    const Lists after = changed(rows, lists, nullptr);
    check(same(changed(rows, lists, &pools.three), after), what + ": the same change on threads");
    const MadeGraph made(rows, after, Variant::lvq8, Metric::l2);
    const graph::Searcher searcher(made.view());
    const Answers found = answers_of(searcher, queries, dims, kPlain, nullptr, nullptr);
    recalls.add(recall(Truth(made, queries), found, nullptr, what + ", changed"), 0.97, what + ", changed");
    for (const Variant variant : {Variant::lvq8, Variant::two_levels, Variant::full_rows})
        check_damage(rows, lists, variant, queries, what);
}

void check_cancelling(Pools& pools) {
    const MadeRows rows(700, 8, 1);
    Lists lists = linked(rows, nullptr, 0);
    const MadeGraph made(rows, lists, Variant::lvq8, Metric::l2);
    CancelFlag cancel;
    cancel.set();
    const graph::Searcher searcher(made.view());
    Answers answers{std::vector<std::int64_t>(rows.count * kK), std::vector<float>(rows.count * kK)};
    const auto cancelled = [](const auto& work) {
        try {
            work();
        } catch (const Cancelled&) {
            return true;
        }
        return false;
    };
    for (ThreadPool* pool : {&pools.one, &pools.three}) {
        check(cancelled([&] {
                  searcher.search({rows.values.data(), rows.count, kPlain, nullptr, answers.rows.data(),
                                   answers.distances.data()},
                                  pool, &cancel);
              }),
              "a search is cancelled");
        check(cancelled([&] {
                  graph::range_search(made.view(), {rows.values.data(), 40, 1.0f, 8, nullptr}, pool, &cancel);
              }),
              "a range search is cancelled");
        check(cancelled([&] {
                  graph::add_reverse(rows.build_rows(), {kDegree, 1.2f}, {pool, &cancel, {}}, lists.data());
              }),
              "linking is cancelled");
    }
}

}  // namespace

void check_graph(const std::string& reference) {
    Pools pools;
    Recalls recalls(reference);
    check_one(1500, 33, 2, pools, recalls);
    check_one(700, 129, 1, pools, recalls);
    check_one(300, 7, 1, pools, recalls);
    check_cancelling(pools);
}

}  // namespace nearfield
