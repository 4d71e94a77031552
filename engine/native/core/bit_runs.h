#pragma once

#include <cstddef>
#include <cstdint>

namespace nearfield {

// Sets the `count` bits from `out_at` on to what those of `words` from `at` on are, or leaves them set.
void or_bits(std::uint64_t* out, std::size_t out_at, const std::uint64_t* words, std::size_t at,
             std::size_t count);

// How numbers of one space (slots) stand for rows: runs of slots of consecutive rows, ascending in both, and
// single slots in any order of rows.
struct SlotRuns {
    const std::int64_t* starts;  // [count]
    const std::int64_t* stops;   // [count]
    const std::int64_t* rows;    // [count] of `starts`
    std::size_t count;
    const std::int64_t* single_slots;  // [single_count]
    const std::int64_t* single_rows;   // [single_count]
    std::size_t single_count;
};

// The rows of a segment: runs of consecutive ones, ascending.
struct SegmentRuns {
    const std::int64_t* starts;  // [count] positions in the segment, from 0
    const std::int64_t* rows;    // [count] of `starts`
    std::size_t count;
    std::size_t length;  // of the segment
};

// Whether the runs of a segment ascend from 0 and stay below its length, so that `lift_bits` may trust them.
bool are_ascending(const SegmentRuns& segment);

// Sets bit i of `out` [ceil(segment.length / 64)] for every row of the segment that a set bit of `words`, of
// `slot_count` slots, stands for. Slots beyond these are ignored.
void lift_bits(const std::uint64_t* words, std::size_t slot_count, const SlotRuns& slots,
               const SegmentRuns& segment, std::uint64_t* out);

}  // namespace nearfield
