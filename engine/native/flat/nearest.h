#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nearfield::flat {

struct Neighbor {
    float distance;
    std::int64_t row;

    // Nearer first; equal distances by row, so that results never depend on the order of scanning.
    friend bool operator<(const Neighbor& a, const Neighbor& b) {
        return a.distance < b.distance || (a.distance == b.distance && a.row < b.row);
    }
};

// The k nearest of the rows offered so far. They must come in ascending order; NaN distances are ignored.
class Nearest {
public:
    explicit Nearest(std::size_t k) : k_(k) { heap_.reserve(k); }

    void offer(float distance, std::int64_t row) {
        if (heap_.size() == k_) {
            if (distance < heap_.front().distance) replace_farthest({distance, row});
        } else if (distance == distance) {
            push({distance, row});
        }
    }

    // A distance at or beyond this cannot enter any more. NaN compares false, as it should.
    bool may_enter(float distance) const { return heap_.size() < k_ || distance < heap_.front().distance; }

    const std::vector<Neighbor>& heap() const { return heap_; }

private:
    void push(Neighbor neighbor);
    void replace_farthest(Neighbor neighbor);

    std::size_t k_;
    std::vector<Neighbor> heap_;  // a max-heap: the farthest is in front
};

}  // namespace nearfield::flat
