#pragma once

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
        const std::size_t padded = (capacity + 7) / 8 * 8 + 8;
        if (words_.size() < padded) words_.resize(padded);
        frontier_ = {words_.data(), capacity, 0, 0};
    }
    // Keeps no more than `capacity` from now on, at most what `reset` made room for.
    void limit(std::size_t capacity) { frontier_.capacity = capacity; }

    std::size_t size() const { return frontier_.size; }
    std::uint32_t node(std::size_t i) const { return static_cast<std::uint32_t>(words_[i]) >> 1; }
    float distance(std::size_t i) const {
        const auto ordered = static_cast<std::uint32_t>(words_[i] >> 32);
        return std::bit_cast<float>((ordered & 0x80000000u) != 0 ? ordered ^ 0x80000000u : ~ordered);
    }

    void merge(const float* distances, const std::uint32_t* nodes, std::size_t count) {
        kernels_.merge(frontier_, distances, nodes, count);
    }

    // The nearest node not expanded yet among the first `window`, marked as expanded; false when there is
    // none.
    bool expand_next(std::size_t window, std::uint32_t& node) {
        const std::size_t end = frontier_.size < window ? frontier_.size : window;
        std::size_t at = frontier_.next;
        while (at < end && (words_[at] & kExpanded) != 0) ++at;
        frontier_.next = at;
        if (at >= end) return false;
        node = static_cast<std::uint32_t>(words_[at]) >> 1;
        words_[at] |= kExpanded;
        frontier_.next = at + 1;
        return true;
    }

private:
    const GraphKernels& kernels_;
    std::vector<std::uint64_t> words_;
    Frontier frontier_{};
};

}  // namespace nearfield::graph
