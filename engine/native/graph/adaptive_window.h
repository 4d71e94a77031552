#pragma once

#include <array>
#include <cmath>
#include <cstddef>

namespace nearfield::graph {

// How wide a walk is, decided on the way: when the nearest `kProbe` nodes have been expanded, their distances
// tell how hard the query is. Hard ones get more than `ef`, easy ones less, so that all together cost the
// same.
struct AdaptiveWindow {
    static constexpr std::size_t kProbe = 12;
    // Ranks of the nodes that are looked at, from 0.
    static constexpr std::array<std::size_t, 3> kRanks{0, 4, kProbe - 1};

    // Windows that are all the same find as much when they are so much wider (measured: 1.2 to 1.25).
    static constexpr double kSameFound = 1.2;

    std::array<float, 3> weights{};  // of their distances by a query of unit weight
    float bias = 0.0f;
    std::size_t least = 0;
    std::size_t most = 0;  // 0: every walk is as wide as it was asked to be

    bool active() const { return most > 0; }

    // `distances` of the ranks; `weight` is that of the query's norms, see query_batch.h.
    std::size_t width(const std::array<float, 3>& distances, float weight) const {
        float sum = 0.0f;
        for (std::size_t i = 0; i < distances.size(); ++i) sum += weights[i] * distances[i];
        const float width = std::exp(bias + sum / weight);
        // Also where a query of no length makes it no number.
        if (!(width > static_cast<float>(least))) return least;
        return width < static_cast<float>(most) ? static_cast<std::size_t>(std::lround(width)) : most;
    }
};

}  // namespace nearfield::graph
