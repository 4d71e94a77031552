#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/bit_kernels.h"

namespace nearfield::flat {

// Rows handed to a kernel at once: `count` consecutive ones from `first`, or those at `offsets`.
struct RowBatch {
    std::size_t first;
    std::size_t count;
    const std::int64_t* offsets;  // nullptr: consecutive
    bool filtered;                // consecutive, but some of them are not allowed

    std::int64_t row(std::size_t i) const {
        return offsets != nullptr ? offsets[i] : static_cast<std::int64_t>(first + i);
    }
};

// Cuts a range of rows into batches in ascending order. Where a bitmap is mostly full, consecutive rows are
// scanned and filtered afterwards; where it is not, the allowed rows are gathered until a batch is worth a
// call.
class RowBatcher {
public:
    // `block` is a multiple of 64, the most rows of one batch.
    RowBatcher(const BitKernels& bits, const std::uint64_t* allow, std::size_t row_count, std::size_t block)
        : bits_(bits),
          allow_(allow),
          block_(block),
          group_(std::max(kGroupRows / block, std::size_t{1}) * block) {
        if (allow == nullptr) return;
        listed_.resize(std::min(group_, (row_count + 63) / 64 * 64) + BitKernels::kSlack);
        gathered_.reserve(block);
    }

    bool allows(std::int64_t row) const { return (allow_[row >> 6] >> (row & 63) & 1u) != 0; }

    // Calls consume(batch) for the rows of [first, last), first being a multiple of 64. Some may stay back.
    template <class Consume>
    void scan(std::size_t first, std::size_t last, const Consume& consume) {
        if (allow_ == nullptr) return consecutive(first, last, false, consume);
        for (; first < last; first += group_) {
            const std::size_t count = std::min(last - first, group_);
            const std::size_t allowed = count_allowed(first, count);
            if (allowed * 4 >= count * 3) {
                flush(consume);
                consecutive(first, first + count, allowed < count, consume);
            } else if (allowed > 0) {
                gather(first, count, consume);
            }
        }
    }

    // Hands over the rows that stayed back.
    template <class Consume>
    void flush(const Consume& consume) {
        if (gathered_.empty()) return;
        consume(RowBatch{0, gathered_.size(), gathered_.data(), false});
        gathered_.clear();
    }

private:
    static constexpr std::size_t kGroupRows = 8192;  // listed at once

    template <class Consume>
    void consecutive(std::size_t first, std::size_t last, bool filtered, const Consume& consume) {
        for (; first < last; first += block_)
            consume(RowBatch{first, std::min(last - first, block_), nullptr, filtered});
    }

    // The bits of the rows behind the last whole word; what follows them means nothing.
    std::uint64_t last_word(std::size_t first, std::size_t count) const {
        return allow_[(first + count) / 64] & ((std::uint64_t{1} << count % 64) - 1);
    }

    std::size_t count_allowed(std::size_t first, std::size_t count) const {
        const std::size_t whole = bits_.count(allow_ + first / 64, count / 64);
        if (count % 64 == 0) return whole;
        const std::uint64_t last = last_word(first, count);
        return whole + bits_.count(&last, 1);
    }

    template <class Consume>
    void gather(std::size_t first, std::size_t count, const Consume& consume) {
        const std::uint64_t* words = allow_ + first / 64;
        const auto row = static_cast<std::uint32_t>(first);
        std::size_t found = bits_.positions(words, count / 64, row, listed_.data());
        if (count % 64 != 0) {
            const std::uint64_t last = last_word(first, count);
            const std::size_t behind = count / 64 * 64;
            found += bits_.positions(&last, 1, row + static_cast<std::uint32_t>(behind), &listed_[found]);
        }
        for (const std::uint32_t *at = listed_.data(), *end = at + found; at < end;) {
            const auto taken = std::min(static_cast<std::size_t>(end - at), block_ - gathered_.size());
            gathered_.insert(gathered_.end(), at, at + taken);
            at += taken;
            if (gathered_.size() == block_) flush(consume);
        }
    }

    const BitKernels& bits_;
    const std::uint64_t* allow_;
    std::size_t block_;
    std::size_t group_;
    std::vector<std::uint32_t> listed_;
    std::vector<std::int64_t> gathered_;
};

}  // namespace nearfield::flat
