// The native core without Python, to run under sanitizers and under an emulator: every tier this CPU has
// against the baseline, the flat search against a plain loop, the thread pool against itself, LVQ against its
// laws, the graph against brute force. Exits 1 when a check failed.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/cosine.h"
#include "core/dispatch.h"
#include "core/thread_pool.h"
#include "core/unit_rows.h"
#include "flat/flat_search.h"
#include "driver.h"
#include "kernels/code_kernels.h"

using namespace nearfield;

namespace {

std::atomic<int> passed{0};
std::atomic<int> failed{0};

}  // namespace

void nearfield::check(bool holds, const std::string& what) {
    (holds ? passed : failed)++;
    if (!holds) std::printf("FAILED %s\n", what.c_str());
}

namespace {

constexpr Metric kMetrics[] = {Metric::l2, Metric::ip, Metric::l1};
constexpr RowType kRowTypes[] = {RowType::f32, RowType::f16, RowType::u8};
constexpr std::size_t kElementBytes[] = {4, 2, 1};

// Exactly as many bytes as asked for, at an odd multiple of the element size, so that a read past either end
// is seen.
class RandomRows {
public:
    RandomRows(RowType type, std::size_t count, std::size_t dims, std::mt19937& random)
        : element_bytes_(kElementBytes[static_cast<int>(type)]),
          storage_(new unsigned char[element_bytes_ * (count * dims + 1)]) {
        for (std::size_t i = 0; i < count * dims; ++i) write(type, i, random);
    }
    const void* data() const { return storage_.get() + element_bytes_; }

private:
    void write(RowType type, std::size_t i, std::mt19937& random) {
        unsigned char* element = storage_.get() + element_bytes_ * (i + 1);
        const float value = std::uniform_real_distribution<float>(-1.0f, 1.0f)(random);
        // A half of sign, exponent 8..15 and random fraction: normal numbers from 2^-7 to 2.
        const auto bits = static_cast<std::uint16_t>((random() & 0x83ffu) | ((8u + random() % 8u) << 10));
        switch (type) {
            case RowType::f32: std::memcpy(element, &value, 4); break;
            case RowType::f16: std::memcpy(element, &bits, 2); break;
            case RowType::u8: *element = static_cast<unsigned char>(random()); break;
        }
    }

    std::size_t element_bytes_;
    std::unique_ptr<unsigned char[]> storage_;
};

std::vector<float> random_queries(std::size_t count, std::size_t dims, std::mt19937& random) {
    std::vector<float> queries(count * dims);
    for (float& value : queries) value = std::uniform_real_distribution<float>(-1.0f, 1.0f)(random);
    return queries;
}

DistanceBatch batch_of(const std::vector<float>& queries, const void* rows, std::size_t row_count,
                       std::size_t dims) {
    DistanceBatch batch{};
    batch.queries = queries.data();
    batch.query_count = queries.size() / dims;
    batch.rows = rows;
    batch.row_count = row_count;
    batch.dims = dims;
    return batch;
}

std::vector<float> run_kernel(const KernelTable& tier, Metric metric, RowType type, DistanceBatch batch) {
    std::vector<float> out(batch.query_count * batch.row_count, -7.0f);
    batch.out = out.data();
    batch.out_stride = batch.row_count;
    tier.distances[static_cast<int>(metric)][static_cast<int>(type)](batch);
    return out;
}

// Sums of `dims` terms of up to `largest` each, in another order: a generous bound on what rounding may
// differ by.
bool near(float a, float b, std::size_t dims, float largest) {
    return std::fabs(a - b) <= 1e-6f * static_cast<float>(dims) * largest + 1e-6f * std::fabs(b);
}

void compare_tier(const KernelTable& tier, std::size_t dims, std::mt19937& random) {
    constexpr std::size_t kRows = 11;
    constexpr std::size_t kQueries = 7;
    const std::vector<std::int64_t> offsets{10, 0, 3, 3, 7, 9, 1, 2, 4};
    const std::vector<float> queries = random_queries(kQueries, dims, random);
    for (const RowType type : kRowTypes) {
        const RandomRows rows(type, kRows, dims, random);
        const float largest = type == RowType::u8 ? 256.0f * 256.0f : 9.0f;
        for (const Metric metric : kMetrics) {
            const std::string what = std::string(tier.isa) + " metric " +
                                     std::to_string(static_cast<int>(metric)) + " type " +
                                     std::to_string(static_cast<int>(type)) + " dims " + std::to_string(dims);
            const DistanceBatch all = batch_of(queries, rows.data(), kRows, dims);
            DistanceBatch some = all;
            some.offsets = offsets.data();
            some.row_count = offsets.size();
            const std::vector<float> expected = run_kernel(kBaselineKernels, metric, type, all);
            const std::vector<float> found = run_kernel(tier, metric, type, all);
            const std::vector<float> gathered = run_kernel(tier, metric, type, some);
            bool agrees = true;
            bool same_alone = true;
            for (std::size_t q = 0; q < kQueries; ++q) {
                DistanceBatch alone = all;
                alone.queries += q * dims;
                alone.query_count = 1;
                const std::vector<float> single = run_kernel(tier, metric, type, alone);
                alone.from_memory = true;
                same_alone = same_alone && run_kernel(tier, metric, type, alone) == single;
                for (std::size_t r = 0; r < kRows; ++r) {
                    agrees = agrees && near(found[q * kRows + r], expected[q * kRows + r], dims, largest);
                    same_alone = same_alone && single[r] == found[q * kRows + r];
                }
                for (std::size_t i = 0; i < offsets.size(); ++i) {
                    const float here = found[q * kRows + static_cast<std::size_t>(offsets[i])];
                    same_alone = same_alone && gathered[q * offsets.size() + i] == here;
                }
            }
            check(agrees, what + ": agrees with the baseline");
            check(same_alone, what + ": a distance does not depend on its batch");
        }
    }
}

void compare_checksums(const KernelTable& tier, std::mt19937& random) {
    check(tier.crc32c(0, "123456789", 9) == 0xe3069283u, std::string(tier.isa) + ": CRC-32C check value");
    for (const std::size_t bytes : {0, 1, 7, 8, 9, 255, 767, 768, 769, 5000, 24575, 24576, 24577, 100003}) {
        std::vector<unsigned char> data(bytes + 1);
        for (unsigned char& byte : data) byte = static_cast<unsigned char>(random());
        const std::uint32_t whole = tier.crc32c(0, data.data() + 1, bytes);
        const std::size_t cut = bytes / 3;
        const std::uint32_t parts =
            tier.crc32c(tier.crc32c(0, data.data() + 1, cut), data.data() + 1 + cut, bytes - cut);
        check(whole == kBaselineKernels.crc32c(0, data.data() + 1, bytes),
              std::string(tier.isa) + ": CRC-32C");
        check(whole == parts, std::string(tier.isa) + ": CRC-32C in parts");
        for (std::size_t streams = 1; streams <= 8; ++streams)
            tier.stream_read(data.data() + 1, bytes, streams, 512);
    }
}

struct Found {
    std::vector<std::int64_t> rows;
    std::vector<float> distances;

    bool operator==(const Found&) const = default;
};

Found flat_search(const KernelTable& tier, const std::vector<float>& queries, const flat::Rows& rows,
                  const flat::SearchOptions& options) {
    const std::size_t count = queries.size() / rows.dims;
    Found found{std::vector<std::int64_t>(count * options.k), std::vector<float>(count * options.k)};
    flat::search(tier, {queries.data(), count}, rows, options, found.rows.data(), found.distances.data());
    return found;
}

// The same by sorting every allowed distance.
Found by_sorting(const KernelTable& tier, const std::vector<float>& queries, const flat::Rows& rows,
                 const flat::SearchOptions& options) {
    Found found;
    const std::size_t count = queries.size() / rows.dims;
    const DistanceBatch batch = batch_of(queries, rows.data, rows.count, rows.dims);
    const std::vector<float> distances = run_kernel(tier, options.metric, rows.type, batch);
    for (std::size_t q = 0; q < count; ++q) {
        std::vector<std::pair<float, std::int64_t>> order;
        for (std::size_t r = 0; r < rows.count; ++r) {
            const float distance = distances[q * rows.count + r];
            const bool allowed = options.allow == nullptr || (options.allow[r / 64] >> (r % 64) & 1u) != 0;
            if (allowed && !std::isnan(distance)) order.emplace_back(distance, static_cast<std::int64_t>(r));
        }
        std::sort(order.begin(), order.end());
        order.resize(options.k, {std::numeric_limits<float>::infinity(), -1});
        for (const auto& [distance, row] : order) {
            found.distances.push_back(distance);
            found.rows.push_back(row);
        }
    }
    return found;
}

void compare_searches(const KernelTable& tier, std::mt19937& random) {
    ThreadPool pool(3);
    for (const std::size_t count : {0, 1, 63, 64, 65, 1000, 5003}) {
        constexpr std::size_t kDims = 70;
        const std::vector<float> queries = random_queries(6, kDims, random);
        RandomRows data(RowType::f32, count, kDims, random);
        const flat::Rows rows{data.data(), RowType::f32, count, kDims, nullptr};
        for (const unsigned share : {0u, 1u, 30u, 95u, 100u}) {
            std::vector<std::uint64_t> allow((count + 63) / 64, ~std::uint64_t{0} * (share == 100));
            for (std::size_t r = 0; r < count; ++r)
                allow[r / 64] |= std::uint64_t{random() % 100 < share} << (r % 64);
            if (count % 64 != 0) allow.back() |= std::uint64_t{1} << 63;  // beyond the rows: means nothing
            for (const std::size_t k : {std::size_t{1}, std::size_t{10}, count + 3}) {
                const flat::SearchOptions one{Metric::l2, k, allow.data(), 1, nullptr, nullptr};
                const flat::SearchOptions three{Metric::l2, k, allow.data(), 3, &pool, nullptr};
                const Found expected = by_sorting(tier, queries, rows, one);
                check(flat_search(tier, queries, rows, one) == expected, "flat search");
                check(flat_search(tier, queries, rows, three) == expected, "flat search on a pool");
            }
        }
    }
    CancelFlag cancel;
    cancel.set();
    const std::vector<float> zeros(64 * 8);
    bool cancelled = false;
    try {
        flat_search(tier, {0, 0, 0, 0, 0, 0, 0, 0}, {zeros.data(), RowType::f32, 64, 8, nullptr},
                    {Metric::ip, 1, nullptr, 1, nullptr, &cancel});
    } catch (const Cancelled&) {
        cancelled = true;
    }
    check(cancelled, "flat search is cancelled");
}

struct CodeAnswers {
    std::vector<float> scan4, scan8;
    std::vector<std::int32_t> dots, tile;
    std::vector<std::int8_t> quantized;
    float scale;
};

// Random code rows of `dims` coordinates: the constants are halves between 1 and 2, so that scans can be
// compared.
CodeAnswers run_codes(const CodeKernels& tier, std::size_t dims, unsigned seed) {
    constexpr std::size_t kRows = 11, kQueries = 7, kTail = 8;
    std::mt19937 random(seed);
    const std::size_t blocks = (dims + 63) / 64, width = blocks * 64, stride = width + kTail;
    std::vector<std::uint8_t> rows(kRows * stride + 64);
    for (std::uint8_t& byte : rows) byte = static_cast<std::uint8_t>(random());
    for (std::size_t r = 0; r < kRows; ++r) {
        const std::uint16_t constants[2] = {static_cast<std::uint16_t>(0x3c00u | (random() & 0x3ffu)),
                                            static_cast<std::uint16_t>(0x3c00u | (random() & 0x3ffu))};
        const float norm = static_cast<float>(random() % 1000);
        std::memcpy(rows.data() + r * stride + width, constants, sizeof constants);
        std::memcpy(rows.data() + r * stride + width + 4, &norm, sizeof norm);
    }
    std::vector<std::int8_t> query(2 * width), left(kQueries * width), right(kRows * width);
    for (auto* vectors : {&query, &left, &right}) {
        for (std::int8_t& value : *vectors)
            value = static_cast<std::int8_t>(static_cast<int>(random() % 255) - 127);
    }
    std::vector<std::int32_t> sums(kRows);
    for (std::size_t i = 0; i < right.size(); ++i) sums[i / width] += right[i];
    const std::vector<std::uint32_t> ids{10, 0, 3, 3, 7, 9, 1};
    CodeAnswers answers{std::vector<float>(ids.size()),
                        std::vector<float>(kRows),
                        std::vector<std::int32_t>(kRows),
                        std::vector<std::int32_t>(kQueries * kRows),
                        std::vector<std::int8_t>(dims),
                        0.0f};
    tier.scan4({query.data(), 1.0f, 2.0f, 3.0f, rows.data(), stride, blocks, ids.data(), ids.size(),
                answers.scan4.data()});
    tier.scan8({query.data(), 1.0f, 2.0f, 3.0f, rows.data(), stride, blocks, nullptr, kRows,
                answers.scan8.data()});
    tier.dot_rows(left.data(), right.data(), sums.data(), width, kRows, answers.dots.data());
    tier.dot_tile(left.data(), kQueries, right.data(), sums.data(), kRows, width, answers.tile.data(), kRows);
    std::vector<float> values(dims);
    for (float& value : values) value = std::uniform_real_distribution<float>(-3.0f, 3.0f)(random);
    answers.scale = tier.quantize(values.data(), dims, answers.quantized.data()).scale;
    return answers;
}

bool all_near(const std::vector<float>& found, const std::vector<float>& expected) {
    bool agrees = found.size() == expected.size();
    for (std::size_t i = 0; agrees && i < found.size(); ++i)
        agrees = std::fabs(found[i] - expected[i]) <= 1.0f + 1e-5f * std::fabs(expected[i]);
    return agrees;
}

void compare_codes(const CodeKernels& tier, std::size_t dims) {
    const std::string what = std::string(tier.isa) + " codes of dims " + std::to_string(dims);
    const auto seed = static_cast<unsigned>(dims);
    const CodeAnswers found = run_codes(tier, dims, seed);
    const CodeAnswers expected = run_codes(kBaselineCodeKernels, dims, seed);
    check(found.dots == expected.dots, what + ": dot_rows is the baseline's");
    check(found.tile == expected.tile, what + ": dot_tile is the baseline's");
    check(std::equal(found.dots.begin(), found.dots.end(), found.tile.begin()), what + ": a row of the tile");
    check(found.quantized == expected.quantized && found.scale == expected.scale, what + ": quantize");
    check(all_near(found.scan4, expected.scan4), what + ": scan4");
    check(all_near(found.scan8, expected.scan8), what + ": scan8");
}

void use_pool_from_many_threads() {
    ThreadPool pool(3);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller) {
        callers.emplace_back([&pool] {
            for (int round = 0; round < 200; ++round) {
                std::vector<int> runs(17);
                pool.parallel_for(runs.size(), [&](std::size_t i) {
                    ++runs[i];
                    if (i == 3) pool.parallel_for(2, [](std::size_t) {});
                });
                check(std::count(runs.begin(), runs.end(), 1) == 17, "every task runs once");
                bool thrown = false;
                try {
                    pool.parallel_for(9, [](std::size_t i) {
                        if (i == 5) throw std::runtime_error("task");
                    });
                } catch (const std::runtime_error&) {
                    thrown = true;
                }
                check(thrown, "an exception reaches the caller");
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
}

void scale_some_rows() {
    const float inf = std::numeric_limits<float>::infinity();
    const std::vector<float> rows{3, 0, 4, 0, 0, 0, 1e30f, 1e30f, 0, inf, 1, 1};
    std::vector<float> units(rows.size());
    unit_rows(rows.data(), 4, 3, units.data());
    check(units[0] == 0.6f && units[2] == 0.8f, "rows of unit length");
    check(units[3] == 0.0f, "a zero row stays");
    check(std::fabs(units[6] - 0.70710678f) < 1e-6f, "large values do not overflow");
    check(units[9] == inf && units[10] == 1.0f, "an infinite row stays");
}

void order_cosine_hits() {
    const float inf = std::numeric_limits<float>::infinity();
    std::vector<std::int64_t> rows{7, 3, 5, -1, 2, 1, -1, -1};
    std::vector<float> products{-2e-8f, -1e-8f, 0.5f, inf, -1, -1, inf, inf};
    cosine_hits(rows.data(), products.data(), 2, 4);
    check(rows == std::vector<std::int64_t>{3, 7, 5, -1, 1, 2, -1, -1}, "equal cosine distances go by row");
    check(products == std::vector<float>{1, 1, 1.5f, inf, 0, 0, inf, inf}, "cosine distances");
}

}  // namespace

// Without an argument everything that chooses its tiers itself. `tiers` prints their names. `graph [FILE]`
// checks the graph on the tier in use (NEARFIELD_ISA), see check_graph.
int main(int count, char** arguments) {
    const std::string what = count > 1 ? arguments[1] : "";
    if (what == "tiers") {
        for (const KernelTable* tier : available_tiers()) std::printf("%s\n", tier->isa);
        return 0;
    }
    if (what == "graph") {
        check_graph(count > 2 ? arguments[2] : "");
        std::printf("graph on %s: %d passed, %d failed\n", kernels().isa, passed.load(), failed.load());
        return failed.load() == 0 ? 0 : 1;
    }
    std::mt19937 random(1);
    for (const KernelTable* tier : available_tiers()) {
        for (std::size_t dims = 1; dims <= 130; ++dims) {
            compare_tier(*tier, dims, random);
            compare_codes(*tier->codes, dims);
        }
        for (const std::size_t dims : {384, 784, 1024, 1025, 1536}) compare_codes(*tier->codes, dims);
        compare_tier(*tier, 768, random);
        compare_checksums(*tier, random);
        compare_searches(*tier, random);
        std::printf("%s: %d checks so far\n", tier->isa, passed.load());
    }
    use_pool_from_many_threads();
    scale_some_rows();
    order_cosine_hits();
    check_bits();
    check_lvq();
    check_frontier();
    check_code_search();
    check_encodings();
    check_maxsim();
    std::printf("%d passed, %d failed\n", passed.load(), failed.load());
    return failed.load() == 0 ? 0 : 1;
}
