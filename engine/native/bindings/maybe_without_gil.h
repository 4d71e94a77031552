#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>

namespace nearfield::bindings {

// Below so many bytes, giving the GIL away costs more than most work.
inline constexpr std::size_t kReleaseGilBytes = 256 * 1024;

// What `work` returns, done without the GIL if it reads that much.
template <class Work>
auto maybe_without_gil(std::size_t bytes, const Work& work) {
    if (bytes < kReleaseGilBytes) return work();
    const nanobind::gil_scoped_release release;
    return work();
}

}  // namespace nearfield::bindings
