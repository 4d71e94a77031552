// Bitmap kernels of every tier against the baseline's, which are compared with plain loops; slots lifted to
// rows.

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/bit_runs.h"
#include "core/dispatch.h"
#include "driver.h"
#include "kernels/bit_kernels.h"

using namespace nearfield;

namespace {

using Words = std::vector<std::uint64_t>;

Words random_words(std::size_t bits, std::mt19937& random) {
    Words words((bits + 63) / 64);
    for (std::uint64_t& word : words) word = std::uint64_t{random()} << 32 | random();
    if (bits % 64 != 0) words.back() &= (std::uint64_t{1} << bits % 64) - 1;
    return words;
}

bool is_set(const Words& words, std::size_t bit) { return (words[bit / 64] >> bit % 64 & 1) != 0; }

// Exactly as many codes as asked for, so that a read past the end is seen.
template <class Code>
void mark_codes(const BitKernels& tier, std::size_t kernel, std::size_t count, const std::string& what,
                std::mt19937& random) {
    std::unique_ptr<Code[]> codes(new Code[count]);
    for (std::size_t i = 0; i < count; ++i)
        codes[i] = static_cast<Code>(random() % 3 == 0 ? random() : random() % 9);
    constexpr Code kMost = static_cast<Code>(~Code{0});
    const Code ranges[][2] = {{0, 0}, {0, 1}, {3, 4}, {0, kMost}, {kMost, 1}, {kMost / 2, kMost / 4}};
    for (const auto& [first, width] : ranges) {
        const Words before = random_words(count, random);
        Words found = before;
        tier.mark_range[kernel](codes.get(), count, first, width, found.data());
        Words expected = before;
        for (std::size_t i = 0; i < count; ++i) {
            if (codes[i] >= first && codes[i] - first < width) expected[i / 64] |= std::uint64_t{1} << i % 64;
        }
        check(found == expected, what + ": codes in a range");
    }
}

void list_bits(const BitKernels& tier, std::size_t count, const std::string& what, std::mt19937& random) {
    Words words = random_words(count, random);
    for (const unsigned share : {1u, 30u, 100u}) {
        for (std::uint64_t& word : words) word = random() % 100 < share ? word : 0;
        std::vector<std::uint32_t> expected;
        for (std::size_t i = 0; i < count; ++i) {
            if (is_set(words, i)) expected.push_back(static_cast<std::uint32_t>(5 + i));
        }
        std::vector<std::uint32_t> listed(expected.size() + BitKernels::kSlack);
        const std::size_t found = tier.positions(words.data(), words.size(), 5, listed.data());
        listed.resize(found <= listed.size() ? found : 0);
        check(listed == expected, what + ": positions");
        check(tier.count(words.data(), words.size()) == expected.size(), what + ": count");
    }
}

void copy_bits(std::mt19937& random) {
    for (int round = 0; round < 400; ++round) {
        const std::size_t length = 1 + random() % 300, from = random() % 200, to = random() % 200;
        const Words source = random_words(from + length, random);
        const Words before = random_words(to + length, random);
        Words found = before;
        or_bits(found.data(), to, source.data(), from, length);
        bool right = true;
        for (std::size_t i = 0; i < to + length; ++i) {
            const bool expected = is_set(before, i) || (i >= to && is_set(source, from + i - to));
            right = right && is_set(found, i) == expected;
        }
        check(right, "bits are copied between any positions");
    }
}

// Slots of rows of which some are missing, and of rows that moved, against a plain table.
void lift_slots(std::mt19937& random) {
    for (const unsigned gap : {0u, 3u, 50u}) {
        std::vector<std::int64_t> starts, stops, rows, single_slots, single_rows, at, own;
        std::vector<std::int64_t> slot_of_row(600, -1);
        std::int64_t slots = 0;
        std::int64_t length = 0;
        for (std::int64_t row = 0; row < 600; ++row) {
            if (random() % 100 >= gap) {
                const bool goes_on =
                    !rows.empty() && stops.back() == slots && rows.back() + slots - starts.back() == row;
                if (!goes_on) {
                    starts.push_back(slots);
                    rows.push_back(row);
                    stops.push_back(slots);
                }
                slot_of_row[static_cast<std::size_t>(row)] = slots++;
                stops.back() = slots;
            }
            if (random() % 100 >= gap) {
                if (own.empty() || own.back() + length - at.back() != row) {
                    at.push_back(length);
                    own.push_back(row);
                }
                ++length;
            }
        }
        for (std::size_t row = 0; row < 600; row += 7) {
            if (slot_of_row[row] < 0) continue;
            single_slots.push_back(slots);
            single_rows.push_back(static_cast<std::int64_t>(row));
            slot_of_row[row] = slots++;
        }
        Words words = random_words(static_cast<std::size_t>(slots), random);
        Words alive(words.size());
        for (const std::int64_t slot : slot_of_row) {
            if (slot >= 0) alive[static_cast<std::size_t>(slot) / 64] |= std::uint64_t{1} << slot % 64;
        }
        for (std::size_t i = 0; i < words.size(); ++i) words[i] &= alive[i];
        const SlotRuns runs{starts.data(),       stops.data(),       rows.data(),        starts.size(),
                            single_slots.data(), single_rows.data(), single_slots.size()};
        const SegmentRuns segment{at.data(), own.data(), at.size(), static_cast<std::size_t>(length)};
        check(are_ascending(segment), "runs of a segment ascend");
        Words found((segment.length + 63) / 64);
        lift_bits(words.data(), words.size() * 64, runs, segment, found.data());
        bool right = true;
        for (std::size_t run = 0; run < at.size(); ++run) {
            const std::int64_t stop = run + 1 < at.size() ? at[run + 1] : length;
            for (std::int64_t local = at[run]; local < stop; ++local) {
                const std::int64_t slot = slot_of_row[static_cast<std::size_t>(own[run] + local - at[run])];
                const bool expected = slot >= 0 && is_set(words, static_cast<std::size_t>(slot));
                right = right && is_set(found, static_cast<std::size_t>(local)) == expected;
            }
        }
        check(right, "slots are lifted to the rows of a segment");
    }
}

}  // namespace

void nearfield::check_bits() {
    std::mt19937 random(3);
    for (const KernelTable* tier : available_tiers()) {
        for (const std::size_t count : {1, 31, 63, 64, 65, 128, 1000, 4097}) {
            const std::string what = std::string(tier->isa) + " " + std::to_string(count) + " bits";
            mark_codes<std::uint8_t>(*tier->bits, 0, count, what, random);
            mark_codes<std::uint16_t>(*tier->bits, 1, count, what, random);
            mark_codes<std::uint32_t>(*tier->bits, 2, count, what, random);
            list_bits(*tier->bits, count, what, random);
        }
    }
    copy_bits(random);
    lift_slots(random);
}
