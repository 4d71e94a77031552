#include "core/bit_runs.h"

#include <algorithm>

namespace nearfield {
namespace {

constexpr std::size_t kWordBits = 64;

// `count` bits, 1 to 64, from `at` on.
std::uint64_t bits_from(const std::uint64_t* words, std::size_t at, std::size_t count) {
    const std::size_t shift = at % kWordBits;
    std::uint64_t bits = words[at / kWordBits] >> shift;
    if (shift + count > kWordBits) bits |= words[at / kWordBits + 1] << (kWordBits - shift);
    return count == kWordBits ? bits : bits & ((std::uint64_t{1} << count) - 1);
}

bool is_set(const std::uint64_t* words, std::size_t at) {
    return (words[at / kWordBits] >> at % kWordBits & 1) != 0;
}

std::int64_t signed_of(std::size_t number) { return static_cast<std::int64_t>(number); }
std::size_t unsigned_of(std::int64_t number) { return static_cast<std::size_t>(number); }

std::int64_t stop_of(const SegmentRuns& segment, std::size_t run) {
    return run + 1 < segment.count ? segment.starts[run + 1] : signed_of(segment.length);
}

void lift_runs(const std::uint64_t* words, std::int64_t slot_count, const SlotRuns& slots,
               const SegmentRuns& segment, std::uint64_t* out) {
    std::size_t run = 0;
    // The last run of slots that begins at or before the segment's first row.
    std::size_t i =
        unsigned_of(std::upper_bound(slots.rows, slots.rows + slots.count, segment.rows[0]) - slots.rows);
    i -= i > 0 ? 1 : 0;
    while (i < slots.count && run < segment.count) {
        const std::int64_t slot = slots.starts[i];
        const std::int64_t row = slots.rows[i];
        const std::int64_t row_stop = row + std::min(slots.stops[i], slot_count) - slot;
        const std::int64_t own = segment.rows[run];
        const std::int64_t own_stop = own + stop_of(segment, run) - segment.starts[run];
        const std::int64_t first = std::max(row, own);
        const std::int64_t last = std::min(row_stop, own_stop);
        if (slot >= 0 && first < last) {
            or_bits(out, unsigned_of(segment.starts[run] + first - own), words,
                    unsigned_of(slot + first - row), unsigned_of(last - first));
        }
        i += row_stop <= own_stop ? 1 : 0;
        run += own_stop <= row_stop ? 1 : 0;
    }
}

void lift_singles(const std::uint64_t* words, std::int64_t slot_count, const SlotRuns& slots,
                  const SegmentRuns& segment, std::uint64_t* out) {
    for (std::size_t i = 0; i < slots.single_count; ++i) {
        const std::int64_t slot = slots.single_slots[i];
        if (slot < 0 || slot >= slot_count || !is_set(words, unsigned_of(slot))) continue;
        const std::int64_t row = slots.single_rows[i];
        const std::size_t after =
            unsigned_of(std::upper_bound(segment.rows, segment.rows + segment.count, row) - segment.rows);
        if (after == 0) continue;
        const std::int64_t at = segment.starts[after - 1] + row - segment.rows[after - 1];
        if (at < stop_of(segment, after - 1))
            out[unsigned_of(at) / kWordBits] |= std::uint64_t{1} << unsigned_of(at) % kWordBits;
    }
}

}  // namespace

void or_bits(std::uint64_t* out, std::size_t out_at, const std::uint64_t* words, std::size_t at,
             std::size_t count) {
    const std::size_t head = std::min(count, (kWordBits - out_at % kWordBits) % kWordBits);
    if (head > 0) out[out_at / kWordBits] |= bits_from(words, at, head) << out_at % kWordBits;
    std::uint64_t* const to = out + (out_at + head) / kWordBits;
    const std::uint64_t* const from = words + (at + head) / kWordBits;
    const std::size_t shift = (at + head) % kWordBits;
    const std::size_t whole = (count - head) / kWordBits;
    if (shift == 0) {
        for (std::size_t i = 0; i < whole; ++i) to[i] |= from[i];
    } else {
        for (std::size_t i = 0; i < whole; ++i)
            to[i] |= from[i] >> shift | from[i + 1] << (kWordBits - shift);
    }
    const std::size_t tail = (count - head) % kWordBits;
    if (tail > 0) to[whole] |= bits_from(words, at + head + whole * kWordBits, tail);
}

bool are_ascending(const SegmentRuns& segment) {
    std::int64_t least = 0;
    for (std::size_t run = 0; run < segment.count; ++run) {
        if (segment.starts[run] < least || (run == 0 && segment.starts[0] != 0)) return false;
        least = segment.starts[run] + 1;
    }
    return segment.count == 0 ? segment.length == 0 : least <= signed_of(segment.length);
}

void lift_bits(const std::uint64_t* words, std::size_t slot_count, const SlotRuns& slots,
               const SegmentRuns& segment, std::uint64_t* out) {
    if (segment.count == 0) return;
    lift_runs(words, signed_of(slot_count), slots, segment, out);
    lift_singles(words, signed_of(slot_count), slots, segment, out);
}

}  // namespace nearfield
