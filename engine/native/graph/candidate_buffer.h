#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nearfield::graph {

// The nearest nodes seen so far, ascending. One 64-bit word each: distance in an order-preserving form, then
// node, whose top bit says that its neighbours have been visited. Ties go to the smaller node.
class CandidateBuffer {
public:
    static constexpr std::uint32_t kExpanded = 0x80000000u;

    void reset(std::size_t capacity) {
        if (words_.size() < capacity + 1) words_.resize(capacity + 1);
        capacity_ = capacity;
        size_ = 0;
        next_ = 0;
    }

    std::size_t size() const { return size_; }
    std::uint32_t node(std::size_t i) const { return static_cast<std::uint32_t>(words_[i]) & ~kExpanded; }
    float distance(std::size_t i) const { return from_ordered(static_cast<std::uint32_t>(words_[i] >> 32)); }
    // A node at this distance or beyond cannot enter.
    float threshold() const { return size_ == capacity_ ? distance(size_ - 1) : __builtin_inff(); }

    void insert(float distance, std::uint32_t node) {
        const std::uint64_t word = static_cast<std::uint64_t>(to_ordered(distance)) << 32 | node;
        std::size_t at = size_ < capacity_ ? size_++ : size_ - 1;
        std::uint64_t* words = words_.data();
        for (; at > 0 && words[at - 1] > word; --at) words[at] = words[at - 1];
        words[at] = word;
        if (at < next_) next_ = at;
    }

    // The nearest node not expanded yet among the first `window`, marked as expanded; false when there is
    // none.
    bool expand_next(std::size_t window, std::uint32_t& node) {
        const std::size_t end = size_ < window ? size_ : window;
        while (next_ < end && (words_[next_] & kExpanded) != 0) ++next_;
        if (next_ >= end) return false;
        node = static_cast<std::uint32_t>(words_[next_]);
        words_[next_++] |= kExpanded;
        return true;
    }

private:
    static std::uint32_t to_ordered(float value) {
        const auto bits = std::bit_cast<std::uint32_t>(value);
        return bits ^ (static_cast<std::uint32_t>(-static_cast<std::int32_t>(bits >> 31)) | 0x80000000u);
    }
    static float from_ordered(std::uint32_t ordered) {
        return std::bit_cast<float>((ordered & 0x80000000u) != 0 ? ordered ^ 0x80000000u : ~ordered);
    }

    std::vector<std::uint64_t> words_;
    std::size_t capacity_ = 0;
    std::size_t size_ = 0;
    std::size_t next_ = 0;
};

}  // namespace nearfield::graph
