#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/dispatch.h"
#include "driver.h"
#include "encodings/half.h"
#include "flat/code_search.h"
#include "kernels/code_kernels.h"

namespace nearfield {
namespace {

using flat::CodePlanes;
using flat::SearchOptions;

// Rows of random codes around 7.5, exactly as many bytes as are named.
class RandomPlanes {
public:
    RandomPlanes(std::size_t count, std::size_t first_stride, std::size_t rest_stride, std::mt19937& random)
        : first_(count * first_stride), rest_(count * rest_stride) {
        for (auto* plane : {&first_, &rest_}) {
            for (std::uint8_t& byte : *plane) byte = static_cast<std::uint8_t>(random());
        }
        for (std::size_t row = 0; row < count; ++row) {
            const float step = 0.5f + static_cast<float>(random() % 64) / 64.0f;
            const std::uint16_t constants[4] = {encodings::to_half(step), encodings::to_half(-7.5f * step), 0,
                                                0};
            std::memcpy(first_.data() + (row + 1) * first_stride - 8, constants, sizeof constants);
        }
        planes_ = {first_.data(), rest_.data(), count, first_stride, rest_stride};
    }
    const CodePlanes& planes() const { return planes_; }

private:
    std::vector<std::uint8_t> first_, rest_;
    CodePlanes planes_;
};

// Queries with larger values for the first plane, zeros where constants lie.
std::vector<float> random_queries(std::size_t count, const CodePlanes& rows, std::mt19937& random) {
    std::vector<float> values(count * rows.places());
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t place = i % rows.places();
        const bool first = place < rows.first_places();
        const std::size_t end = rows.first_places() - 1 - place;
        if (first && (end < 8 || (end >= 64 && end < 72))) continue;
        values[i] = std::normal_distribution<float>(0.0f, first ? 4.0f : 1.0f)(random);
    }
    return values;
}

// By a plain loop: distances [queries, rows] of the rounded queries.
std::vector<float> by_loop(const std::vector<float>& queries, const CodePlanes& rows) {
    std::vector<float> out;
    std::vector<std::int8_t> codes(rows.places());
    for (const float* query = queries.data(); query < queries.data() + queries.size();
         query += rows.places()) {
        const std::size_t ends[3] = {0, rows.first_places(), rows.places()};
        double scales[2];
        for (int p = 0; p < 2; ++p) {
            scales[p] =
                kBaselineCodeKernels.quantize(query + ends[p], ends[p + 1] - ends[p], codes.data() + ends[p])
                    .scale;
        }
        for (std::size_t row = 0; row < rows.count; ++row) {
            const std::uint8_t* planes[2] = {rows.first + row * rows.first_stride,
                                             rows.rest + row * rows.rest_stride};
            std::uint16_t constants[2];
            std::memcpy(constants, planes[0] + rows.first_stride - 8, sizeof constants);
            const double step = encodings::from_half(constants[0]), bias = encodings::from_half(constants[1]);
            double sum = 0;
            for (int p = 0; p < 2; ++p) {
                for (std::size_t i = 0; i < ends[p + 1] - ends[p]; ++i) {
                    const std::uint8_t byte = planes[p][i / 128 * 64 + i % 64];
                    const double code = i % 128 < 64 ? byte & 15 : byte >> 4;
                    sum += scales[p] * codes[ends[p] + i] * (bias + step * code);
                }
            }
            out.push_back(static_cast<float>(-sum));
        }
    }
    return out;
}

bool near(float a, float b) { return std::fabs(a - b) <= 2e-3f * (1.0f + std::fabs(b)); }

struct Answers {
    std::vector<std::int64_t> rows;
    std::vector<float> distances;
    bool operator==(const Answers&) const = default;
};

Answers search(const KernelTable& tier, const float* queries, std::size_t count, const CodePlanes& rows,
               std::size_t kept, const SearchOptions& options) {
    Answers found{std::vector<std::int64_t>(count * options.k), std::vector<float>(count * options.k)};
    flat::search_codes(tier, {queries, count}, rows, kept, options, found.rows.data(),
                       found.distances.data());
    return found;
}

void check_search(const KernelTable& tier, std::size_t first_stride, std::size_t rest_stride,
                  std::size_t queries, std::mt19937& random) {
    constexpr std::size_t kRows = 1500, kBest = 20;
    const std::string what = std::string(tier.isa) + " code search of " + std::to_string(first_stride) +
                             " + " + std::to_string(rest_stride) + " bytes, " + std::to_string(queries) +
                             " queries";
    const RandomPlanes random_planes(kRows, first_stride, rest_stride, random);
    const CodePlanes& rows = random_planes.planes();
    const std::vector<float> values = random_queries(queries, rows, random);
    const std::vector<float> all = by_loop(values, rows);
    ThreadPool pool(3);
    for (const unsigned share : {100u, 90u, 30u, 1u}) {
        std::vector<std::uint64_t> words((kRows + 63) / 64, ~std::uint64_t{0} << (kRows % 64));
        std::fill(words.begin(), words.end() - 1, 0);  // bits past the end mean nothing
        std::vector<std::size_t> allowed;
        for (std::size_t row = 0; row < kRows; ++row) {
            if (random() % 100 >= share) continue;
            words[row / 64] |= std::uint64_t{1} << row % 64;
            allowed.push_back(row);
        }
        const std::uint64_t* allow = share < 100 ? words.data() : nullptr;
        for (const std::size_t kept : {std::size_t{100}, kRows}) {
            const SearchOptions one{Metric::ip, kBest, allow, 1, nullptr, nullptr};
            const SearchOptions three{Metric::ip, kBest, allow, 3, &pool, nullptr};
            const Answers found = search(tier, values.data(), queries, rows, kept, one);
            check(search(tier, values.data(), queries, rows, kept, three) == found, what + ": threads");
            for (std::size_t q = 0; q < queries; q += 23) {
                const Answers alone = search(tier, values.data() + q * rows.places(), 1, rows, kept, one);
                check(std::equal(alone.rows.begin(), alone.rows.end(), found.rows.begin() + q * kBest) &&
                          std::equal(alone.distances.begin(), alone.distances.end(),
                                     found.distances.begin() + q * kBest),
                      what + ": alone");
            }
            const std::size_t expected = std::min(kBest, allowed.size());
            for (std::size_t q = 0; q < queries; ++q) {
                std::vector<float> best;
                for (const std::size_t row : allowed) best.push_back(all[q * kRows + row]);
                std::sort(best.begin(), best.end());
                bool agree = true, sorted = true;
                for (std::size_t i = 0; i < kBest; ++i) {
                    const std::int64_t row = found.rows[q * kBest + i];
                    const float distance = found.distances[q * kBest + i];
                    if (i >= expected) {
                        agree = agree && row == -1 && std::isinf(distance);
                        continue;
                    }
                    const auto at = static_cast<std::size_t>(row);
                    agree = agree && row >= 0 && (words[at / 64] >> at % 64 & 1u) != 0 &&
                            near(distance, all[q * kRows + at]);
                    if (kept == kRows || rest_stride == 0) agree = agree && near(distance, best[i]);
                    sorted = sorted && (i == 0 || found.distances[q * kBest + i - 1] <= distance);
                }
                check(agree, what + ": what a loop finds");
                check(sorted, what + ": in order");
            }
        }
    }
    CancelFlag cancel;
    cancel.set();
    bool cancelled = false;
    try {
        search(tier, values.data(), queries, rows, 100, {Metric::ip, 1, nullptr, 1, nullptr, &cancel});
    } catch (const Cancelled&) {
        cancelled = true;
    }
    check(cancelled, what + ": cancelled");
}

struct alignas(64) Line {
    std::uint8_t bytes[64];
};

// Rows in lanes against the scan of one query.
void check_lanes(const KernelTable& tier, std::size_t stride, std::size_t count, std::mt19937& random) {
    constexpr std::size_t kQueries = 11;
    const std::string what = std::string(tier.isa) + " lanes of " + std::to_string(stride) + " bytes, " +
                             std::to_string(count) + " rows";
    const RandomPlanes random_planes(100, stride, 0, random);
    const CodePlanes& rows = random_planes.planes();
    std::vector<std::int8_t> codes(kQueries * rows.places());
    for (std::int8_t& code : codes) code = static_cast<std::int8_t>(static_cast<int>(random() % 255) - 127);
    std::vector<std::uint32_t> ids(count);
    for (std::uint32_t& id : ids) id = static_cast<std::uint32_t>(random() % rows.count);
    std::vector<float> scales(kQueries), sums(kQueries), limits(kQueries), out(kQueries * CodeLanes::kRows);
    std::vector<std::uint64_t> below(kQueries);
    for (std::size_t q = 0; q < kQueries; ++q) {
        scales[q] = 0.01f * static_cast<float>(q + 1);
        sums[q] = static_cast<float>(random() % 100) - 50.0f;
        limits[q] = static_cast<float>(random() % 400) - 200.0f;
    }
    std::vector<Line> tile(rows.places());
    std::vector<float> steps(CodeLanes::kRows), biases(CodeLanes::kRows);
    const CodeLanes lanes{rows.places() / 4, tile.data()->bytes, steps.data(), biases.data()};
    for (const bool consecutive : {true, false}) {
        const std::uint32_t* chosen = consecutive ? nullptr : ids.data();
        tier.codes->unpack_lanes({rows.first, stride, chosen, count}, lanes);
        tier.codes->scan_lanes({codes.data(), scales.data(), sums.data(), limits.data(), kQueries}, lanes,
                               out.data(), below.data());
        for (std::size_t q = 0; q < kQueries; ++q) {
            std::vector<float> expected(count), rest(count);
            const std::int8_t* query = codes.data() + q * rows.places();
            tier.codes->scan4({query, scales[q], sums[q], 0.0f, rows.first, stride, stride / 64, chosen,
                               count, expected.data()});
            const float* found = out.data() + q * CodeLanes::kRows;
            check(std::equal(expected.begin(), expected.end(), found), what + ": as scan4");
            bool right = true;
            for (std::size_t i = 0; i < count; ++i)
                right = right && (below[q] >> i & 1u) == static_cast<unsigned>(found[i] <= limits[q]);
            check(right, what + ": at most the limit");
            if (consecutive) continue;
            tier.codes->scan4_rest({query, scales[q], sums[q], rows.first, stride, stride / 64,
                                    rows.first + stride - 8, stride, chosen, count, rest.data()});
            check(rest == expected, what + ": scan4_rest as scan4");
        }
    }
}

}  // namespace

void check_code_search() {
    std::mt19937 random(5);
    for (const KernelTable* tier : available_tiers()) {
        for (const std::size_t stride : {64, 128, 192, 512}) {
            for (const std::size_t count : {1, 15, 16, 17, 63, 64}) check_lanes(*tier, stride, count, random);
        }
        for (const std::size_t queries : {1, 3, 4, 70}) {
            check_search(*tier, 64, 0, queries, random);
            check_search(*tier, 128, 64, queries, random);
        }
        check_search(*tier, 128, 384, 5, random);
    }
}

}  // namespace nearfield
