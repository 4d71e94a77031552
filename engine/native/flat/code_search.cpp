#include "flat/code_search.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <vector>

#include "flat/nearest.h"
#include "flat/row_batches.h"
#include "kernels/code_kernels.h"

namespace nearfield::flat {
namespace {

constexpr std::size_t kScanRows = 512;                // of a few queries scanned at once
constexpr std::size_t kShareBytes = 2 * 1024 * 1024;  // of the first plane in one task
constexpr std::size_t kQueriesPerTask = 64;
constexpr std::size_t kGroupsPerRound = 2;  // and thread; what passed is in memory for a round
// From so many queries on, rows are unpacked once for all of them.
constexpr std::size_t kTileQueries = 4;
// A limit is the distance of the 36th of every (kept / 32)-th row: about an eighth more than `kept` pass it.
constexpr std::size_t kSampledBest = 32;
constexpr std::size_t kSampledRank = 36;
constexpr std::size_t kRowsAhead = 32;  // of the other plane, fetched while as many are multiplied
constexpr std::size_t kConstants = 8;
// Query x row x byte terms below which waking a thread costs more than it gives.
constexpr std::size_t kTermsPerThread = 1 << 22;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A row that passed, and its distance so far.
struct Passed {
    float distance;
    std::uint32_t row;

    friend bool operator<(const Passed& a, const Passed& b) {
        return a.distance < b.distance || (a.distance == b.distance && a.row < b.row);
    }
};

// What of the queries meets one plane, as the kernels take it.
class QuantizedQueries {
public:
    QuantizedQueries(const CodeKernels& kernels, const Queries& queries, std::size_t from, std::size_t places,
                     std::size_t of)
        : places_(places), codes_(queries.count * places), scales_(queries.count), sums_(queries.count) {
        for (std::size_t q = 0; q < queries.count; ++q) {
            const QuantizedVector form =
                kernels.quantize(queries.data + q * of + from, places, codes_.data() + q * places);
            scales_[q] = form.scale;
            sums_[q] = form.sum;
        }
    }
    const std::int8_t* codes(std::size_t q) const { return codes_.data() + q * places_; }
    const float* scales(std::size_t q) const { return scales_.data() + q; }
    const float* sums(std::size_t q) const { return sums_.data() + q; }

private:
    std::size_t places_;
    std::vector<std::int8_t> codes_;
    std::vector<float> scales_, sums_;
};

// A range of queries.
struct Group {
    std::size_t first;
    std::size_t last;
    std::size_t size() const { return last - first; }
};

// Products of a group of queries with the first plane. One thread's.
class FirstPlane {
public:
    FirstPlane(const KernelTable& kernels, const QuantizedQueries& queries, const CodePlanes& rows,
               const SearchOptions& options, Group group)
        : kernels_(*kernels.codes),
          bits_(*kernels.bits),
          queries_(queries),
          rows_(rows),
          options_(options),
          group_(group),
          below_(group.size()) {
        if (tiled()) {
            const std::size_t bytes = rows.first_places() * CodeLanes::kRows;
            codes_.resize(bytes + kLine);
            const auto odd = reinterpret_cast<std::uintptr_t>(codes_.data()) % kLine;
            lanes_ = {rows.first_places() / 4, codes_.data() + (kLine - odd) % kLine, steps_, biases_};
        }
        distances_.resize(group.size() * block());
    }

    // Calls take(query of the group, row, distance) for allowed rows of [first, last) whose distance is at
    // most the query's limit, ascending by row; first is a multiple of 64.
    template <class Take>
    void scan(std::size_t first, std::size_t last, const float* limits, const Take& take) {
        RowBatcher batcher(bits_, options_.allow, rows_.count, block());
        const auto consume = [&](const RowBatch& batch) {
            const bool gathered = batch.offsets != nullptr;
            ids_.clear();
            for (std::size_t i = 0; gathered && i < batch.count; ++i) {
                ids_.push_back(static_cast<std::uint32_t>(batch.offsets[i]));
            }
            score(gathered ? ids_.data() : nullptr, batch.first, batch.count, limits,
                  [&](std::size_t q, std::size_t row, float distance) {
                      if (!batch.filtered || batcher.allows(static_cast<std::int64_t>(row)))
                          take(q, row, distance);
                  });
        };
        batcher.scan(first, last, consume);
        batcher.flush(consume);
    }

    // The same for chosen rows, whether or not they are allowed. Limits may fall meanwhile.
    template <class Take>
    void scan(const std::vector<std::uint32_t>& ids, const float* limits, const Take& take) {
        for (std::size_t i = 0; i < ids.size(); i += block()) {
            score(ids.data() + i, 0, std::min(block(), ids.size() - i), limits, take);
        }
    }

private:
    static constexpr std::size_t kLine = 64;

    bool tiled() const { return group_.size() >= kTileQueries; }
    std::size_t block() const { return tiled() ? CodeLanes::kRows : kScanRows; }

    template <class Take>
    void score(const std::uint32_t* ids, std::size_t first, std::size_t count, const float* limits,
               const Take& take) {
        if (options_.cancel != nullptr && options_.cancel->is_set()) throw Cancelled();
        const std::uint8_t* from = rows_.first + (ids != nullptr ? 0 : first * rows_.first_stride);
        const auto row = [&](std::size_t i) { return ids != nullptr ? ids[i] : first + i; };
        if (tiled()) {
            kernels_.unpack_lanes({from, rows_.first_stride, ids, count}, lanes_);
            kernels_.scan_lanes({queries_.codes(group_.first), queries_.scales(group_.first),
                                 queries_.sums(group_.first), limits, group_.size()},
                                lanes_, distances_.data(), below_.data());
            const std::uint64_t present = ~std::uint64_t{0} >> (CodeLanes::kRows - count);
            for (std::size_t q = 0; q < group_.size(); ++q) {
                for (std::uint64_t left = below_[q] & present; left != 0; left &= left - 1) {
                    const auto i = static_cast<std::size_t>(std::countr_zero(left));
                    take(q, row(i), distances_[q * CodeLanes::kRows + i]);
                }
            }
            return;
        }
        for (std::size_t q = 0; q < group_.size(); ++q) {
            const std::size_t query = group_.first + q;
            kernels_.scan4({queries_.codes(query), *queries_.scales(query), *queries_.sums(query), 0.0f, from,
                            rows_.first_stride, rows_.first_stride / kLine, ids, count, distances_.data()});
            for (std::size_t i = 0; i < count; ++i) {
                if (distances_[i] <= limits[q]) take(q, row(i), distances_[i]);
            }
        }
    }

    const CodeKernels& kernels_;
    const BitKernels& bits_;
    const QuantizedQueries& queries_;
    const CodePlanes& rows_;
    const SearchOptions& options_;
    Group group_;
    std::vector<std::uint64_t> below_;
    std::vector<std::uint8_t> codes_;
    std::vector<std::uint32_t> ids_;
    std::vector<float> distances_;
    float steps_[CodeLanes::kRows], biases_[CodeLanes::kRows];
    CodeLanes lanes_{};
};

// Runs tasks on the pool that was given, or on one for this call where several threads are wanted.
void run_all(std::size_t tasks, std::size_t terms, const SearchOptions& options,
             const std::function<void(std::size_t)>& task) {
    const std::size_t threads = std::clamp<std::size_t>(terms / kTermsPerThread, 1, options.threads);
    if (threads == 1) {
        for (std::size_t i = 0; i < tasks; ++i) task(i);
    } else if (options.pool != nullptr) {
        options.pool->parallel_for(tasks, task);
    } else {
        ThreadPool(threads).parallel_for(tasks, task);
    }
}

void write(const std::vector<Passed>& sorted, std::size_t k, std::int64_t* rows, float* distances) {
    const std::size_t found = std::min(sorted.size(), k);
    for (std::size_t i = 0; i < found; ++i) {
        rows[i] = sorted[i].row;
        distances[i] = sorted[i].distance;
    }
    std::fill(rows + found, rows + k, std::int64_t{-1});
    std::fill(distances + found, distances + k, kInfinity);
}

void keep_best(std::vector<Passed>& found, std::size_t count) {
    if (found.size() <= count) return;
    std::nth_element(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), found.end());
    found.resize(count);
}

// One search. What passes for a query depends on nothing but the query and the rows.
class CodeSearch {
public:
    CodeSearch(const KernelTable& kernels, const Queries& queries, const CodePlanes& rows, std::size_t kept,
               const SearchOptions& options)
        : kernels_(kernels),
          rows_(rows),
          options_(options),
          kept_(std::max(kept, options.k)),
          first_(*kernels.codes, queries, 0, rows.first_places(), rows.places()),
          rest_(*kernels.codes, queries, rows.first_places(), 2 * rows.rest_stride, rows.places()),
          share_(std::max<std::size_t>(kShareBytes / rows.first_stride / 64, 1) * 64),
          shares_((rows.count + share_ - 1) / share_) {
        sample();
    }

    void run(Group round, std::int64_t* rows_out, float* distances_out) {
        const std::size_t groups = (round.size() + kQueriesPerTask - 1) / kQueriesPerTask;
        const std::size_t terms = round.size() * rows_.count * rows_.first_stride;
        const auto group = [&](std::size_t number) {
            const std::size_t from = round.first + number * kQueriesPerTask;
            return Group{from, std::min(round.last, from + kQueriesPerTask)};
        };
        limits_.assign(round.size(), kInfinity);
        if (!sample_.empty()) {
            run_all(groups, terms / kSampledBest, options_, [&](std::size_t number) {
                set_limits(group(number), limits_.data() + number * kQueriesPerTask);
            });
        }
        found_.resize(groups * shares_);
        run_all(groups * shares_, terms, options_, [&](std::size_t number) {
            const Group of = group(number / shares_);
            const float* limits = limits_.data() + number / shares_ * kQueriesPerTask;
            passing(of, number % shares_ * share_, limits, found_[number]);
        });
        run_all(round.size(), round.size() * kept_ * rows_.rest_stride, options_, [&](std::size_t q) {
            const auto of_share = [&](std::size_t share) -> std::vector<Passed>& {
                return found_[q / kQueriesPerTask * shares_ + share][q % kQueriesPerTask];
            };
            std::vector<Passed> none;
            std::vector<Passed>& all = shares_ > 0 ? of_share(0) : none;
            for (std::size_t share = 1; share < shares_; ++share) {
                all.insert(all.end(), of_share(share).begin(), of_share(share).end());
            }
            const std::size_t query = round.first + q;
            finish(query, all, limits_[q] < kInfinity);
            write(all, options_.k, rows_out + query * options_.k, distances_out + query * options_.k);
        });
    }

private:
    // Rows spread evenly over those allowed, one at a random place of each stretch; none where all are to be
    // scored completely.
    void sample() {
        std::vector<std::uint32_t> allowed;
        std::size_t count = rows_.count;
        if (options_.allow != nullptr) {
            allowed.resize((rows_.count + 63) / 64 * 64 + BitKernels::kSlack);
            const std::size_t words = rows_.count / 64;
            count = kernels_.bits->positions(options_.allow, words, 0, allowed.data());
            for (std::size_t row = words * 64; row < rows_.count; ++row) {
                if ((options_.allow[words] >> row % 64 & 1u) != 0)
                    allowed[count++] = static_cast<std::uint32_t>(row);
            }
        }
        const std::size_t stretch = kept_ / kSampledBest;
        if (count / 2 <= kept_ || stretch < 2) return;
        std::uint64_t random = 0x9e3779b97f4a7c15u;
        for (std::size_t from = 0; from + stretch <= count; from += stretch) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            const std::size_t at = from + (random >> 33) % stretch;
            sample_.push_back(options_.allow != nullptr ? allowed[at] : static_cast<std::uint32_t>(at));
        }
    }

    void set_limits(Group group, float* limits) const {
        std::vector<Nearest> nearest(group.size(), Nearest(kSampledRank));
        FirstPlane(kernels_, first_, rows_, options_, group)
            .scan(sample_, limits, [&](std::size_t q, std::size_t row, float distance) {
                nearest[q].offer(distance, static_cast<std::int64_t>(row));
                if (!nearest[q].may_enter(kInfinity)) limits[q] = nearest[q].heap().front().distance;
            });
    }

    // By query, the rows of a share that pass.
    void passing(Group group, std::size_t first, const float* limits,
                 std::vector<std::vector<Passed>>& found) const {
        found.resize(std::max(found.size(), group.size()));
        for (std::vector<Passed>& rows : found) rows.clear();
        FirstPlane(kernels_, first_, rows_, options_, group)
            .scan(first, std::min(rows_.count, first + share_), limits,
                  [&](std::size_t q, std::size_t row, float distance) {
                      found[q].push_back({distance, static_cast<std::uint32_t>(row)});
                  });
    }

    // Leaves the k best of those that passed, by both planes, sorted.
    void finish(std::size_t query, std::vector<Passed>& found, bool limited) const {
        if (limited &&
            found.size() < kept_ / 2) {  // the sample misled: rows like its best are rare elsewhere
            found.clear();
            std::vector<std::vector<Passed>> more;
            for (std::size_t first = 0; first < rows_.count; first += share_) {
                passing({query, query + 1}, first, &kInfinity, more);
                found.insert(found.end(), more.front().begin(), more.front().end());
            }
        }
        keep_best(found, 2 * kept_);
        if (rows_.rest_stride > 0) add_rest(query, found);
        keep_best(found, options_.k);
        std::sort(found.begin(), found.end());
    }

    void add_rest(std::size_t query, std::vector<Passed>& found) const {
        std::uint32_t ids[kRowsAhead];
        float distances[kRowsAhead];
        fetch(found, 0);
        for (std::size_t first = 0; first < found.size(); first += kRowsAhead) {
            const std::size_t count = std::min(kRowsAhead, found.size() - first);
            for (std::size_t i = 0; i < count; ++i) ids[i] = found[first + i].row;
            fetch(found, first + kRowsAhead);
            kernels_.codes->scan4_rest({rest_.codes(query), *rest_.scales(query), *rest_.sums(query),
                                        rows_.rest, rows_.rest_stride, rows_.rest_stride / 64,
                                        rows_.first + rows_.first_stride - kConstants, rows_.first_stride,
                                        ids, count, distances});
            for (std::size_t i = 0; i < count; ++i) found[first + i].distance += distances[i];
        }
    }

    void fetch(const std::vector<Passed>& found, std::size_t first) const {
        const std::size_t last = std::min(first + kRowsAhead, found.size());
        for (; first < last; ++first) {
            const std::uint8_t* row = rows_.rest + found[first].row * rows_.rest_stride;
            for (std::size_t at = 0; at < rows_.rest_stride; at += 64) __builtin_prefetch(row + at);
        }
    }

    const KernelTable& kernels_;
    const CodePlanes& rows_;
    const SearchOptions& options_;
    std::size_t kept_;
    QuantizedQueries first_, rest_;
    std::size_t share_, shares_;
    std::vector<std::uint32_t> sample_;
    std::vector<float> limits_;  // of a round's queries
    std::vector<std::vector<std::vector<Passed>>>
        found_;  // [group and share][query], kept from round to round
};

}  // namespace

void search_codes(const KernelTable& kernels, const Queries& queries, const CodePlanes& rows,
                  std::size_t kept, const SearchOptions& options, std::int64_t* rows_out,
                  float* distances_out) {
    CodeSearch search(kernels, queries, rows, kept, options);
    const std::size_t round = kGroupsPerRound * kQueriesPerTask * options.threads;
    for (std::size_t first = 0; first < queries.count; first += round) {
        search.run({first, std::min(queries.count, first + round)}, rows_out, distances_out);
    }
}

}  // namespace nearfield::flat
