#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/graph_kernels.h"

namespace nearfield::graph {

// Owns the words of a Frontier.
class FrontierBuffer {
public:
    static constexpr std::uint64_t kExpanded = 1;

    explicit FrontierBuffer(const GraphKernels& kernels) : kernels_(kernels) {}

    void reset(std::size_t capacity) {
        blocks_.assign((capacity + 7) / 8, Block());
        frontier_ = {blocks_.data()->words, capacity, 0, 0};
    }
    // Keeps no more than `capacity` from now on, at most what `reset` made room for.
    void limit(std::size_t capacity) { frontier_.capacity = capacity; }
    // The same where it may hold more already: the furthest are forgotten.
    void resize(std::size_t capacity) {
        while (frontier_.size > capacity) frontier_.words[--frontier_.size] = kNoWord;
        frontier_.next = std::min(frontier_.next, frontier_.size);
        limit(capacity);
    }
    // Makes room for `count` more, as long as there are no more than `most`.
    void make_room(std::size_t count, std::size_t most) {
        frontier_.capacity =
            std::max({std::min(frontier_.size + count, most), frontier_.size, std::size_t{1}});
        if (frontier_.capacity <= 8 * blocks_.size()) return;
        blocks_.resize((frontier_.capacity + 7) / 8);
        frontier_.words = blocks_.data()->words;
    }
    // Forgets those that are further.
    void drop_beyond(float bound) {
        while (frontier_.size > 0 && distance(frontier_.size - 1) > bound)
            frontier_.words[--frontier_.size] = kNoWord;
        frontier_.next = std::min(frontier_.next, frontier_.size);
    }

    std::size_t size() const { return frontier_.size; }
    bool full() const { return frontier_.size == frontier_.capacity; }
    std::uint32_t node(std::size_t i) const { return static_cast<std::uint32_t>(frontier_.words[i]) >> 1; }
    float distance(std::size_t i) const {
        const auto ordered = static_cast<std::uint32_t>(frontier_.words[i] >> 32);
        return std::bit_cast<float>((ordered & 0x80000000u) != 0 ? ordered ^ 0x80000000u : ~ordered);
    }

    void merge(const float* distances, const std::uint32_t* nodes, std::size_t count) {
        kernels_.merge(frontier_, distances, nodes, count);
    }

    // The nearest node not expanded yet among the first `window`, marked as expanded; false when there is
    // none.
    bool expand_next(std::size_t window, std::uint32_t& node) {
        const std::size_t end = std::min(frontier_.size, window);
        std::size_t at = frontier_.next;
        while (at < end && (frontier_.words[at] & kExpanded) != 0) ++at;
        frontier_.next = at;
        if (at >= end) return false;
        node = static_cast<std::uint32_t>(frontier_.words[at]) >> 1;
        frontier_.words[at] |= kExpanded;
        frontier_.next = at + 1;
        return true;
    }

    // Calls visit(node) for the nearest `most` nodes not expanded yet among the first `window`.
    template <class Visit>
    void for_next(std::size_t window, std::size_t most, const Visit& visit) const {
        const std::size_t end = std::min(frontier_.size, window);
        for (std::size_t at = frontier_.next; at < end && most > 0; ++at) {
            if ((frontier_.words[at] & kExpanded) != 0) continue;
            visit(node(at));
            --most;
        }
    }

private:
    // A line of the cache, so that no access to words lies across two.
    struct alignas(64) Block {
        std::uint64_t words[8];
        Block() { std::fill(words, words + 8, kNoWord); }
    };

    const GraphKernels& kernels_;
    std::vector<Block> blocks_;
    Frontier frontier_{};
};

}  // namespace nearfield::graph
