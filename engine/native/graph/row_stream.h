#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "graph/walk.h"

namespace nearfield::graph {

// All allowed rows of one query in nearly ascending distance, as many at a time as are asked for. Not for two
// threads at once.
class RowStream {
public:
    // `graph` needs full rows and must outlive the stream. A row comes when `ef` others are known, and one
    // more for every 8 that came before, which makes up for the errors of the codes and for what the walk
    // meets late. `allow` is a bitmap over row numbers, empty: all.
    RowStream(const GraphView& graph, std::vector<float> query, std::size_t ef,
              std::vector<std::uint64_t> allow)
        : query_(std::move(query)), allow_(std::move(allow)), ef_(ef), walk_(graph) {
        walk_.begin(query_.data(), allow_.empty() ? nullptr : allow_.data());
    }

    // The next `count` rows, fewer where no more are left.
    std::vector<RankedRow> next(std::size_t count) {
        while (known_.size() < count + ef_ + given_ / kGivenPerKnown && walk_.advance(block_)) {
            for (const RankedRow& row : block_) known_.push(row);
        }
        std::vector<RankedRow> rows;
        for (; rows.size() < count && !known_.empty(); known_.pop()) rows.push_back(known_.top());
        given_ += rows.size();
        return rows;
    }

private:
    // Further out rows lie closer together, and the errors of the codes mislead about more of them.
    static constexpr std::size_t kGivenPerKnown = 8;

    struct Further {
        bool operator()(const RankedRow& a, const RankedRow& b) const { return b < a; }
    };

    std::vector<float> query_;
    std::vector<std::uint64_t> allow_;
    std::size_t ef_;
    std::size_t given_ = 0;
    Walk walk_;
    std::vector<RankedRow> block_;
    std::priority_queue<RankedRow, std::vector<RankedRow>, Further> known_;
};

}  // namespace nearfield::graph
