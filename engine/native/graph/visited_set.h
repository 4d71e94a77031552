#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nearfield::graph {

// Nodes a query has seen, in the order they came: a bitmap, and the list by which it is cleared.
class VisitedSet {
public:
    explicit VisitedSet(std::size_t count) : words_((count + 63) / 64) {}

    std::size_t size() const { return size_; }
    // The nodes from the i-th on.
    const std::uint32_t* from(std::size_t i) const { return nodes_.data() + i; }

    // Adds those of `count` distinct nodes that are new.
    void add(const std::uint32_t* nodes, std::size_t count) {
        if (nodes_.size() < size_ + count) nodes_.resize(2 * (size_ + count));
        std::uint32_t* list = nodes_.data();
        std::uint64_t* words = words_.data();
        std::size_t size = size_;
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint32_t node = nodes[i];
            std::uint64_t& word = words[node >> 6];
            const std::uint64_t before = word;
            list[size] = node;  // kept only if new: no branch to mispredict
            size += ~before >> (node & 63) & 1;
            word = before | std::uint64_t{1} << (node & 63);
        }
        size_ = size;
    }

    void clear() {
        for (std::size_t i = 0; i < size_; ++i) words_[nodes_[i] >> 6] = 0;
        size_ = 0;
    }

private:
    std::vector<std::uint64_t> words_;
    std::vector<std::uint32_t> nodes_;
    std::size_t size_ = 0;
};

}  // namespace nearfield::graph
