#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nearfield::graph {

// Nodes a query has seen, in the order they came. A byte per node tells in which round it was seen last:
// tests of neighbours then never wait for each other, as they would for the shared words of a bitmap. What is
// no node (a damaged link) always counts as seen.
class VisitedSet {
public:
    explicit VisitedSet(std::size_t count) : outside_(static_cast<std::uint32_t>(count)), rounds_(count + 1) {
        rounds_[outside_] = round_;
    }

    std::size_t size() const { return size_; }
    // The nodes from the i-th on.
    const std::uint32_t* from(std::size_t i) const { return nodes_.data() + i; }

    // Adds those of `count` distinct nodes that are new.
    void add(const std::uint32_t* nodes, std::size_t count) {
        if (nodes_.size() < size_ + count) nodes_.resize(2 * (size_ + count));
        std::uint32_t* list = nodes_.data();
        std::uint8_t* rounds = rounds_.data();
        const std::uint8_t round = round_;
        std::size_t size = size_;
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint32_t node = std::min(nodes[i], outside_);
            list[size] = node;  // kept only if new: no branch to mispredict
            size += rounds[node] != round ? 1 : 0;
            rounds[node] = round;
        }
        size_ = size;
    }

    void clear() {
        size_ = 0;
        if (++round_ == 0) {
            std::fill(rounds_.begin(), rounds_.end(), std::uint8_t{0});
            round_ = 1;
        }
        rounds_[outside_] = round_;
    }

private:
    std::uint32_t outside_;  // the first number that is no node
    std::uint8_t round_ = 1;
    std::vector<std::uint8_t> rounds_;
    std::vector<std::uint32_t> nodes_;
    std::size_t size_ = 0;
};

}  // namespace nearfield::graph
