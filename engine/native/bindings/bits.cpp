#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "bindings/array_view.h"
#include "bindings/maybe_without_gil.h"
#include "bindings/register.h"
#include "core/bit_runs.h"
#include "core/dispatch.h"
#include "kernels/bit_kernels.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace nearfield::bindings {
namespace {

constexpr const char* kCountBitsDoc = R"(How many bits of uint64 [n] are set.

Raises:
    ValueError: not a C-contiguous uint64 [n].)";

constexpr const char* kIsBitmapDoc =
    "Whether a value is a bitmap uint64 [ceil(length / 64)], C-contiguous, of zeros from bit `length` on.";

constexpr const char* kBitsAtDoc = R"(A bitmap uint64 [ceil(length / 64)] with some bits set.

Args:
    positions: int64 [m], each within 0 .. length - 1, in any order.

Raises:
    ValueError: not a C-contiguous int64 [m], or a position outside the bitmap.)";

constexpr const char* kSetBitsDoc = R"(Set some bits of a bitmap.

Args:
    words: uint64 [n], changed in place.
    positions: uint32 [m], each below 64 n, in any order.

Raises:
    ValueError: not such C-contiguous arrays, or a position outside the bitmap.)";

constexpr const char* kMarkRangeDoc = R"(Set the bits i of a bitmap with first <= codes[i] < first + width.

Args:
    words: uint64 [n], changed in place.
    codes: uint8, uint16 or uint32 [m], m <= 64 n.
    first, width: within what the codes' type holds.

Raises:
    ValueError: not such C-contiguous arrays or numbers.)";

constexpr const char* kLiftBitsDoc = R"(What a bitmap of slots says of the rows of a segment.

Args:
    words: uint64 [n], bit i is slot i.
    runs: int64 [3, a]: first slots, the slots after the last ones, and first rows of runs of slots that stand
        for consecutive rows; ascending.
    singles: int64 [2, b]: other slots, and the row of each.
    segment: int64 [2, c]: positions in the segment, from 0, and rows of where runs of consecutive rows begin;
        ascending.
    length: rows of the segment.

Returns:
    uint64 [ceil(length / 64)]: bit i is set if that of a slot of the segment's row i is.

Raises:
    ValueError: not such C-contiguous arrays.)";

bool is_bitmap(nb::handle value, std::size_t length) try {
    const ArrayView words(value, "value");
    if (!words.is(DType::u64, 1) || words.shape(0) != (length + 63) / 64) return false;
    return length % 64 == 0 || words.data<std::uint64_t>()[length / 64] >> length % 64 == 0;
} catch (const nb::builtin_exception&) {
    return false;
}

nb::object zero_words(std::size_t length) {
    nb::object words = empty_array(DType::u64, {(length + 63) / 64});
    const ArrayView out(words, "words", true);
    auto* bits = out.mutable_data<std::uint64_t>();
    std::fill(bits, bits + out.shape(0), std::uint64_t{0});
    return words;
}

// The index of the first position that is not below `length`, `count` if all are.
template <class Position>
std::size_t set_all(const Position* positions, std::size_t count, std::size_t length, std::uint64_t* words) {
    for (std::size_t i = 0; i < count; ++i) {
        const auto bit = static_cast<std::uint64_t>(positions[i]);
        if (bit >= length) return i;
        words[bit / 64] |= std::uint64_t{1} << bit % 64;
    }
    return count;
}

[[noreturn]] void reject_position(std::size_t at, std::size_t length, const std::string& got) {
    raise_value_error("positions[" + std::to_string(at) + "]: expected 0 <= position < " +
                      std::to_string(length) + ", got " + got);
}

nb::object bits_at(nb::handle positions, std::size_t length) {
    const ArrayView view(positions, "positions");
    if (!view.is(DType::i64, 1)) view.reject("int64 [m]");
    const auto* at = view.data<std::int64_t>();
    nb::object words = zero_words(length);
    const ArrayView out(words, "words", true);
    const std::size_t wrong = set_all(at, view.shape(0), length, out.mutable_data<std::uint64_t>());
    if (wrong < view.shape(0)) reject_position(wrong, length, std::to_string(at[wrong]));
    return words;
}

void set_bits(nb::handle words, nb::handle positions) {
    const ArrayView out(words, "words", true);
    if (!out.is(DType::u64, 1)) out.reject("uint64 [n]");
    const ArrayView view(positions, "positions");
    if (!view.is(DType::u32, 1)) view.reject("uint32 [m]");
    const auto* at = view.data<std::uint32_t>();
    const std::size_t length = out.shape(0) * 64;
    const std::size_t wrong = maybe_without_gil(
        view.bytes(), [&] { return set_all(at, view.shape(0), length, out.mutable_data<std::uint64_t>()); });
    if (wrong < view.shape(0)) reject_position(wrong, length, std::to_string(at[wrong]));
}

void mark_range(nb::handle words, nb::handle codes, std::uint32_t first, std::uint32_t width) {
    const ArrayView out(words, "words", true);
    if (!out.is(DType::u64, 1)) out.reject("uint64 [n]");
    const ArrayView view(codes, "codes");
    const DType types[] = {DType::u8, DType::u16, DType::u32};
    const auto* type = std::find(std::begin(types), std::end(types), view.dtype());
    if (type == std::end(types) || view.ndim() != 1 || view.shape(0) > out.shape(0) * 64)
        view.reject("uint8, uint16 or uint32 [m <= " + std::to_string(out.shape(0) * 64) + "]");
    const auto number = static_cast<std::size_t>(type - std::begin(types));
    const std::uint32_t most[] = {0xff, 0xffff, 0xffffffff};
    if (first > most[number] || width > most[number])
        raise_value_error("expected first and width up to " + std::to_string(most[number]) + ", got " +
                          std::to_string(first) + " and " + std::to_string(width));
    maybe_without_gil(view.bytes(), [&] {
        kernels().bits->mark_range[number](view.data<void>(), view.shape(0), first, width,
                                           out.mutable_data<std::uint64_t>());
    });
}

nb::object lift_bits(nb::handle words, nb::handle runs, nb::handle singles, nb::handle segment,
                     std::size_t length) {
    const ArrayView bits(words, "words");
    if (!bits.is(DType::u64, 1)) bits.reject("uint64 [n]");
    const ArrayView run_view(runs, "runs");
    if (!run_view.is(DType::i64, 2) || run_view.shape(0) != 3) run_view.reject("int64 [3, a]");
    const ArrayView single_view(singles, "singles");
    if (!single_view.is(DType::i64, 2) || single_view.shape(0) != 2) single_view.reject("int64 [2, b]");
    const ArrayView segment_view(segment, "segment");
    if (!segment_view.is(DType::i64, 2) || segment_view.shape(0) != 2) segment_view.reject("int64 [2, c]");
    const std::size_t a = run_view.shape(1), b = single_view.shape(1), c = segment_view.shape(1);
    const auto* run_data = run_view.data<std::int64_t>();
    const auto* single_data = single_view.data<std::int64_t>();
    const auto* segment_data = segment_view.data<std::int64_t>();
    const SlotRuns slots{run_data, run_data + a, run_data + 2 * a, a, single_data, single_data + b, b};
    const SegmentRuns rows{segment_data, segment_data + c, c, length};
    if (!are_ascending(rows))
        raise_value_error("segment: expected positions that ascend from 0 and are below " +
                          std::to_string(length));
    nb::object lifted = zero_words(length);
    const ArrayView out(lifted, "words", true);
    maybe_without_gil(bits.bytes() + run_view.bytes() + segment_view.bytes(), [&] {
        nearfield::lift_bits(bits.data<std::uint64_t>(), bits.shape(0) * 64, slots, rows,
                             out.mutable_data<std::uint64_t>());
    });
    return lifted;
}

std::size_t count_bits(nb::handle words) {
    const ArrayView view(words, "words");
    if (!view.is(DType::u64, 1)) view.reject("uint64 [n]");
    return maybe_without_gil(
        view.bytes(), [&view] { return kernels().bits->count(view.data<std::uint64_t>(), view.shape(0)); });
}

}  // namespace

void register_bits(nb::module_& module) {
    module.def("bits_at", &bits_at, "positions"_a, "length"_a,
               nb::sig("def bits_at(positions: numpy.typing.NDArray[numpy.int64], length: int) -> "
                       "numpy.typing.NDArray[numpy.uint64]"),
               kBitsAtDoc);
    module.def("count_bits", &count_bits, "words"_a,
               nb::sig("def count_bits(words: numpy.typing.NDArray[numpy.uint64]) -> int"), kCountBitsDoc);
    module.def("is_bitmap", &is_bitmap, "value"_a.none(), "length"_a,
               nb::sig("def is_bitmap(value: object, length: int) -> bool"), kIsBitmapDoc);
    module.def("set_bits", &set_bits, "words"_a, "positions"_a,
               nb::sig("def set_bits(words: numpy.typing.NDArray[numpy.uint64], "
                       "positions: numpy.typing.NDArray[numpy.uint32]) -> None"),
               kSetBitsDoc);
    module.def("mark_range", &mark_range, "words"_a, "codes"_a, "first"_a, "width"_a,
               nb::sig("def mark_range(words: numpy.typing.NDArray[numpy.uint64], "
                       "codes: numpy.typing.NDArray[numpy.uint8] | numpy.typing.NDArray[numpy.uint16] | "
                       "numpy.typing.NDArray[numpy.uint32], first: int, width: int) -> None"),
               kMarkRangeDoc);
    module.def("lift_bits", &lift_bits, "words"_a, "runs"_a, "singles"_a, "segment"_a, "length"_a,
               nb::sig("def lift_bits(words: numpy.typing.NDArray[numpy.uint64], "
                       "runs: numpy.typing.NDArray[numpy.int64], "
                       "singles: numpy.typing.NDArray[numpy.int64], "
                       "segment: numpy.typing.NDArray[numpy.int64], length: int) -> "
                       "numpy.typing.NDArray[numpy.uint64]"),
               kLiftBitsDoc);
}

}  // namespace nearfield::bindings
