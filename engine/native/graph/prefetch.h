#pragma once

#include <cstddef>

namespace nearfield::graph {

// Always inlined: g++ 12 takes a function that only prefetches for one without effect, and drops the call.
[[gnu::always_inline]] inline void prefetch(const void* first, std::size_t bytes) {
    const char* at = static_cast<const char*>(first);
    for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i);
}

}  // namespace nearfield::graph
