#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nearfield::graph {

// Nodes a query has seen, in the order they came. A byte per node tells in which round it was seen last:
// tests of neighbours then never wait for each other, as they would for the shared words of a bitmap.
class VisitedSet {
public:
    VisitedSet() = default;
    explicit VisitedSet(std::size_t count) { cover(count); }

    // Takes nodes below `count`, which is less than 2^31; nothing where it does already.
    void cover(std::size_t count) {
        if (rounds_.size() != count) rounds_.assign(count, 0);
    }

    std::size_t size() const { return size_; }
    // The nodes from the i-th on.
    const std::uint32_t* from(std::size_t i) const { return nodes_.data() + i; }

    // Adds those of `count` numbers that are new, and nodes: a damaged link is none.
    void add(const std::uint32_t* nodes, std::size_t count) {
        if (!all_are_nodes(nodes, count)) {
            for (std::size_t i = 0; i < count; ++i) {
                if (nodes[i] < rounds_.size()) add(nodes + i, 1);
            }
            return;
        }
        if (nodes_.size() < size_ + count) nodes_.resize(2 * (size_ + count));
        std::uint32_t* list = nodes_.data();
        std::uint8_t* rounds = rounds_.data();
        const std::uint8_t round = round_;
        std::size_t size = size_;
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint32_t node = nodes[i];
            list[size] = node;  // kept only if new: no branch to mispredict
            size += rounds[node] != round ? 1 : 0;
            rounds[node] = round;
        }
        size_ = size;
    }

    void clear() {
        size_ = 0;
        if (++round_ != 0) return;
        std::fill(rounds_.begin(), rounds_.end(), std::uint8_t{0});
        round_ = 1;
    }

private:
    // Without a branch in the loop: the sign tells, that of a number too, which may be 2^31 or more.
    bool all_are_nodes(const std::uint32_t* nodes, std::size_t count) const {
        const auto last = static_cast<std::uint32_t>(rounds_.size()) - 1;
        std::uint32_t signs = 0;
        for (std::size_t i = 0; i < count; ++i) signs |= (last - nodes[i]) | nodes[i];
        return signs >> 31 == 0;
    }

    std::vector<std::uint8_t> rounds_;
    std::vector<std::uint32_t> nodes_;
    std::uint8_t round_ = 1;
    std::size_t size_ = 0;
};

}  // namespace nearfield::graph
