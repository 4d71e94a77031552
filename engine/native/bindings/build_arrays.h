// Arguments that the bindings of building and extending a graph share.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "bindings/array_view.h"
#include "graph/build.h"

namespace nearfield::bindings {

inline std::size_t checked_size(std::int64_t value, const char* name, std::int64_t least) {
    if (value < least) {
        throw nanobind::value_error((std::string(name) + ": expected at least " + std::to_string(least) +
                                     ", got " + std::to_string(value))
                                        .c_str());
    }
    return static_cast<std::size_t>(value);
}

// The arrays of graph::BuildRows.
class BuildArrays {
public:
    BuildArrays(nanobind::handle vectors, nanobind::handle scales)
        : vectors_(vectors, "vectors"), scales_(scales, "scales") {
        if (!vectors_.is(DType::i8, 2) || vectors_.shape(1) % 64 != 0)
            vectors_.reject("int8 [n, multiple of 64]");
        expect(scales_, DType::f32, {count()});
    }
    std::size_t count() const { return vectors_.shape(0); }
    graph::BuildRows rows() const {
        return {vectors_.data<std::int8_t>(), scales_.data<float>(), count(), vectors_.shape(1)};
    }

private:
    ArrayView vectors_;
    ArrayView scales_;
};

inline graph::BuildParams build_params(std::int64_t degree, float alpha) {
    if (!(alpha >= 1.0f)) throw nanobind::value_error("alpha: expected at least 1");
    return {checked_size(degree, "degree", 2), alpha};
}

}  // namespace nearfield::bindings
