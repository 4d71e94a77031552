#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/dispatch.h"
#include "driver.h"
#include "kernels/graph_kernels.h"

namespace nearfield {
namespace {

struct alignas(64) Block {
    std::uint64_t words[8];
};

std::uint64_t word_of(float distance, std::uint32_t node) {
    const auto bits = std::bit_cast<std::uint32_t>(distance);
    const std::uint32_t ordered = bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
    return static_cast<std::uint64_t>(ordered) << 32 | node << 1;
}

bool all_before_next_are_expanded(const Frontier& frontier) {
    for (std::size_t i = 0; i < frontier.next; ++i) {
        if ((frontier.words[i] & 1) == 0) return false;
    }
    return true;
}

// Merges batches into a frontier as a search does, beside a sorted list of
// everything that came.
void check_merges(const KernelTable& tier, std::size_t capacity, std::mt19937& random) {
    const std::string what = std::string(tier.isa) + " frontier of " + std::to_string(capacity);
    std::vector<Block> blocks((capacity + 7) / 8);
    for (Block& block : blocks) std::fill(block.words, block.words + 8, kNoWord);
    Frontier frontier{blocks.data()->words, capacity, 0, 0};
    std::vector<std::uint64_t> expected;
    std::uint32_t node = 0;
    for (int batch = 0; batch < 12; ++batch) {
        const std::size_t count = random() % 70;
        std::vector<float> distances(count);
        std::vector<std::uint32_t> nodes(count);
        for (std::size_t i = 0; i < count; ++i) {
            nodes[i] = node++;
            distances[i] = static_cast<float>(static_cast<int>(random() % 64) - 32);  // many equal ones
            if (random() % 50 == 0) distances[i] = std::numeric_limits<float>::infinity();
            expected.push_back(word_of(distances[i], nodes[i]));
        }
        tier.graph->merge(frontier, distances.data(), nodes.data(), count);
        std::sort(expected.begin(), expected.end());
        expected.resize(std::min(expected.size(), capacity));
        check(frontier.size == expected.size(), what + ": size");
        check(std::equal(expected.begin(), expected.end(), frontier.words), what + ": words");
        check(std::all_of(frontier.words + frontier.size, frontier.words + blocks.size() * 8,
                          [](std::uint64_t word) { return word == kNoWord; }),
              what + ": nothing behind the last");
        check(all_before_next_are_expanded(frontier), what + ": next");
        for (int expanded = 0; expanded < 3 && frontier.next < frontier.size; ++expanded) {
            frontier.words[frontier.next] |= 1;
            expected[frontier.next++] |= 1;
        }
    }
}

// What is no further than a bound moves to the front, in order, and nothing
// beyond the arrays is touched.
void check_within(const KernelTable& tier, std::size_t count, std::mt19937& random) {
    std::vector<float> distances(count + 1, -7.0f), expected_distances;
    std::vector<std::uint32_t> nodes(count + 1, 7), expected_nodes;
    for (std::size_t i = 0; i < count; ++i) {
        nodes[i] = static_cast<std::uint32_t>(random());
        distances[i] = static_cast<float>(static_cast<int>(random() % 16) - 8);
        if (random() % 20 == 0) distances[i] = std::numeric_limits<float>::quiet_NaN();
        if (!(distances[i] <= 2.0f)) continue;
        expected_distances.push_back(distances[i]);
        expected_nodes.push_back(nodes[i]);
    }
    const std::size_t kept = tier.graph->within(distances.data(), nodes.data(), count, 2.0f);
    const std::string what = std::string(tier.isa) + " within, of " + std::to_string(count);
    check(kept == expected_nodes.size(), what + ": how many");
    check(std::equal(expected_nodes.begin(), expected_nodes.end(), nodes.begin()) &&
              std::equal(expected_distances.begin(), expected_distances.end(), distances.begin()),
          what + ": which");
    check(distances[count] == -7.0f && nodes[count] == 7, what + ": nothing behind them");
}

}  // namespace

void check_frontier() {
    std::mt19937 random(4);
    for (const KernelTable* tier : available_tiers()) {
        for (std::size_t count = 0; count <= 70; ++count) check_within(*tier, count, random);
        for (std::size_t capacity = 1; capacity <= 140; ++capacity) check_merges(*tier, capacity, random);
    }
}

}  // namespace nearfield
