#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

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
// scanned and filtered afterwards; where it is not, the allowed rows are gathered across blocks until a batch
// is worth a call.
class RowBatcher {
public:
    // `block` is a multiple of 64, the most rows of one batch.
    RowBatcher(const std::uint64_t* allow, std::size_t row_count, std::size_t block)
        : allow_(allow), row_count_(row_count), block_(block) {
        if (allow != nullptr) gathered_.reserve(block + 64);
    }

    bool allows(std::int64_t row) const { return (allow_[row >> 6] >> (row & 63) & 1u) != 0; }

    // Calls consume(batch) for the rows of [first, last), first being a multiple of 64. Some may stay back.
    template <class Consume>
    void scan(std::size_t first, std::size_t last, const Consume& consume) {
        for (; first < last; first += block_) {
            const std::size_t count = last - first < block_ ? last - first : block_;
            if (allow_ == nullptr) {
                consume(RowBatch{first, count, nullptr, false});
                continue;
            }
            const std::size_t allowed = count_allowed(first, count);
            if (allowed * 4 >= count * 3) {
                flush(consume);
                consume(RowBatch{first, count, nullptr, allowed < count});
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
    std::uint64_t word(std::size_t index) const {
        const std::size_t rows_left = row_count_ - index * 64;
        const std::uint64_t inside = rows_left < 64 ? (std::uint64_t{1} << rows_left) - 1 : ~std::uint64_t{0};
        return allow_[index] & inside;
    }

    std::size_t count_allowed(std::size_t first, std::size_t count) const {
        std::size_t allowed = 0;
        for (std::size_t w = first / 64; w * 64 < first + count; ++w) {
            allowed += static_cast<std::size_t>(std::popcount(word(w)));
        }
        return allowed;
    }

    template <class Consume>
    void gather(std::size_t first, std::size_t count, const Consume& consume) {
        for (std::size_t w = first / 64; w * 64 < first + count; ++w) {
            for (std::uint64_t bits = word(w); bits != 0; bits &= bits - 1) {
                gathered_.push_back(static_cast<std::int64_t>(w * 64) + std::countr_zero(bits));
            }
            if (gathered_.size() + 64 > block_) flush(consume);
        }
    }

    const std::uint64_t* allow_;
    std::size_t row_count_;
    std::size_t block_;
    std::vector<std::int64_t> gathered_;
};

}  // namespace nearfield::flat
