#include "flat/nearest.h"

#include <algorithm>

namespace nearfield::flat {

void Nearest::push(Neighbor neighbor) {
    heap_.push_back(neighbor);
    std::push_heap(heap_.begin(), heap_.end());
}

void Nearest::replace_farthest(Neighbor neighbor) {
    std::size_t hole = 0;
    const std::size_t count = heap_.size();
    for (std::size_t child = 1; child < count; child = 2 * hole + 1) {
        if (child + 1 < count && heap_[child] < heap_[child + 1]) ++child;
        if (!(neighbor < heap_[child])) break;
        heap_[hole] = heap_[child];
        hole = child;
    }
    heap_[hole] = neighbor;
}

}  // namespace nearfield::flat
