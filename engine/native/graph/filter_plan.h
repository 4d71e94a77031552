#pragma once

#include <algorithm>
#include <cstddef>

#include "graph/graph_view.h"

namespace nearfield::graph {

// What a re-ranking reads.
struct RerankCounts {
    std::size_t secondary;
    std::size_t exact;
};

// How searches of one k and `ef` with a filter are answered, whatever number of rows it allows.
struct FilterPlan {
    std::size_t k;
    std::size_t ef;
    std::size_t rows_most;   // up to so many allowed, a scan of full rows costs least
    std::size_t codes_most;  // up to so many, a scan of code rows
    RerankCounts after_scan;
    RerankCounts after_walk;
    // A walk gives up when it has expanded so many nodes, and so many per allowed row: a scan of their codes
    // would cost no more.
    double expansions_least;
    double expansions_per_row;
    float agreement_least;
    std::size_t in_flight;
    AdaptiveWindow adaptive{};  // of a walk where every row is allowed

    // How many allowed nodes must be nearer than all that are left before a walk ends. The k nearest of a
    // share s of the nodes are among the k / s nearest of all, and ef - k more of those are expanded, as
    // without a filter: so many of them are allowed.
    static std::size_t window(std::size_t k, std::size_t ef, std::size_t allowed, std::size_t count) {
        if (ef <= k || allowed >= count) return std::max(k, ef);
        const double share = static_cast<double>(allowed) / static_cast<double>(count);
        return k + static_cast<std::size_t>(static_cast<double>(ef - k) * share + 0.999);
    }

    // For more than `rows_most` allowed of `count` rows.
    SearchParams params(std::size_t allowed, std::size_t count) const {
        const bool scan = allowed <= codes_most;
        const RerankCounts& rerank = scan ? after_scan : after_walk;
        // Windows do not adapt where rows are left out, and are to find as much as those that do.
        const bool adapts = adaptive.active() && allowed < count;
        const auto walked =
            adapts ? static_cast<std::size_t>(AdaptiveWindow::kSameFound * static_cast<double>(ef)) : ef;
        const double expansions = expansions_least + expansions_per_row * static_cast<double>(allowed);
        return {k,
                scan ? std::max({k, rerank.secondary, rerank.exact}) : window(k, walked, allowed, count),
                rerank.secondary,
                rerank.exact,
                in_flight,
                scan,
                static_cast<std::size_t>(expansions),
                allowed < count ? agreement_least : 0.0f,
                scan || allowed < count ? AdaptiveWindow{} : adaptive};
    }
};

}  // namespace nearfield::graph
