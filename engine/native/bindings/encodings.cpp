#include <nanobind/nanobind.h>

#include <algorithm>
#include <optional>
#include <string>

#include "bindings/array_view.h"
#include "bindings/register.h"
#include "core/thread_pool.h"
#include "encodings/lvq.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace nearfield::bindings {
namespace {

constexpr std::size_t kRowsPerTask = 1024;

constexpr const char* kStrideSignature =
    "def lvq_stride(dims: int, bits: int, alignment: int) -> int";

constexpr const char* kStrideDoc = R"(Bytes from row to row of LVQ codes.

Args:
    dims: of the encoded rows.
    bits: 4 or 8 per dimension.
    alignment: the bytes are a multiple of it.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.)";

constexpr const char* kEncodeSignature =
    "def lvq_encode(rows: numpy.typing.NDArray[numpy.float32], bits: int, clip: bool, norms: "
    "numpy.typing.NDArray[numpy.float32] | None, out: numpy.typing.NDArray[numpy.uint8], stride: "
    "int, pool: ThreadPool | None = None) -> None";

constexpr const char* kEncodeDoc =
    R"(Encode centred rows with a step and a bias of their own (arXiv 2304.04759, definition 1).

Args:
    rows: float32 [n, d], C-contiguous.
    bits: 4 or 8 per dimension.
    clip: shrink the range of a row for the least squared error.
    norms: float32 [n], stored with the rows; None stores the squared lengths of what the codes stand for.
    out: uint8 [at least n * stride], written to.
    stride: bytes from row to row, see `lvq_stride`.
    pool: whose threads share the work.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.)";

constexpr const char* kDecodeSignature =
    "def lvq_decode(codes: numpy.typing.NDArray[numpy.uint8], count: int, dims: int, bits: int, "
    "stride: int) -> numpy.typing.NDArray[numpy.float32]";

constexpr const char* kDecodeDoc = R"(The rows that codes stand for, float32 [count, dims].

Args:
    codes: uint8 [at least count * stride], as `lvq_encode` wrote them.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.)";

encodings::CodeLayout layout_of(std::int64_t bits, std::size_t dims) {
    if (bits != 4 && bits != 8) {
        throw nb::value_error(("bits: expected 4 or 8, got " + std::to_string(bits)).c_str());
    }
    return {static_cast<int>(bits), dims};
}

std::size_t lvq_stride(std::int64_t dims, std::int64_t bits, std::int64_t alignment) {
    if (dims < 1 || alignment < 1) throw nb::value_error("dims, alignment: expected at least 1");
    return layout_of(bits, static_cast<std::size_t>(dims)).stride(static_cast<std::size_t>(alignment));
}

void lvq_encode(nb::handle rows, std::int64_t bits, bool clip, nb::handle norms, nb::handle out,
                std::int64_t stride, ThreadPool* pool) {
    const ArrayView row_view(rows, "rows");
    if (!row_view.is(DType::f32, 2) || row_view.shape(1) == 0) row_view.reject("float32 [n, d]");
    const std::size_t count = row_view.shape(0);
    const std::size_t dims = row_view.shape(1);
    const encodings::CodeLayout layout = layout_of(bits, dims);
    if (stride < static_cast<std::int64_t>(layout.stride(1))) {
        throw nb::value_error(("stride: expected at least " + std::to_string(layout.stride(1))).c_str());
    }
    const auto row_bytes = static_cast<std::size_t>(stride);
    std::optional<ArrayView> norm_view;
    if (!norms.is_none()) {
        norm_view.emplace(norms, "norms");
        expect(*norm_view, DType::f32, {count});
    }
    const ArrayView out_view(out, "out", true);
    if (!out_view.is(DType::u8, 1) || out_view.shape(0) < count * row_bytes) {
        out_view.reject("uint8 [at least " + std::to_string(count * row_bytes) + "]");
    }
    auto* target = out_view.mutable_data<std::uint8_t>();
    const nb::gil_scoped_release release;
    const auto encode = [&](std::size_t task) {
        const std::size_t first = task * kRowsPerTask;
        encodings::encode_lvq(row_view.data<float>() + first * dims, std::min(kRowsPerTask, count - first),
                              layout, {clip}, norm_view ? norm_view->data<float>() + first : nullptr,
                              target + first * row_bytes, row_bytes);
    };
    const std::size_t tasks = (count + kRowsPerTask - 1) / kRowsPerTask;
    if (pool != nullptr) {
        pool->parallel_for(tasks, encode);
    } else {
        for (std::size_t task = 0; task < tasks; ++task) encode(task);
    }
}

nb::object lvq_decode(nb::handle codes, std::int64_t count, std::int64_t dims, std::int64_t bits,
                      std::int64_t stride) {
    if (count < 0 || dims < 1) throw nb::value_error("count, dims: expected at least 0 and 1");
    const encodings::CodeLayout layout = layout_of(bits, static_cast<std::size_t>(dims));
    if (stride < static_cast<std::int64_t>(layout.stride(1))) {
        throw nb::value_error(("stride: expected at least " + std::to_string(layout.stride(1))).c_str());
    }
    const ArrayView view(codes, "codes");
    const std::size_t needed = static_cast<std::size_t>(count) * static_cast<std::size_t>(stride);
    if (!view.is(DType::u8, 1) || view.shape(0) < needed)
        view.reject("uint8 [at least " + std::to_string(needed) + "]");
    nb::object out = empty_array(DType::f32, {static_cast<std::size_t>(count), layout.dims});
    const ArrayView out_view(out, "out", true);
    const nb::gil_scoped_release release;
    encodings::decode_lvq(view.data<std::uint8_t>(), static_cast<std::size_t>(count), layout,
                          static_cast<std::size_t>(stride), out_view.mutable_data<float>());
    return out;
}

}  // namespace

void register_encodings(nb::module_& module) {
    module.def("lvq_stride", &lvq_stride, "dims"_a, "bits"_a, "alignment"_a,
               nb::sig(kStrideSignature), kStrideDoc);
    module.def("lvq_encode", &lvq_encode, "rows"_a, "bits"_a, "clip"_a, "norms"_a.none(), "out"_a, "stride"_a,
               "pool"_a = nb::none(), nb::sig(kEncodeSignature), kEncodeDoc);
    module.def("lvq_decode", &lvq_decode, "codes"_a, "count"_a, "dims"_a, "bits"_a, "stride"_a,
               nb::sig(kDecodeSignature), kDecodeDoc);
}

}  // namespace nearfield::bindings
