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

constexpr const char* kStrideSignature = "def lvq_stride(dims: int, bits: int, alignment: int) -> int";

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

constexpr const char* kResidualSignature =
    "def lvq_encode_residual(rows: numpy.typing.NDArray[numpy.float32], first: "
    "numpy.typing.NDArray[numpy.uint8], first_bits: int, first_stride: int, bits: int, norms: "
    "numpy.typing.NDArray[numpy.float32] | None, out: numpy.typing.NDArray[numpy.uint8], stride: "
    "int, pool: ThreadPool | None = None) -> None";

constexpr const char* kResidualDoc =
    R"(Encode what the codes of rows leave of them: the second level (arXiv 2304.04759, definition 2).

Args:
    rows: float32 [n, d], C-contiguous, as given to `lvq_encode`.
    first: uint8 [at least n * first_stride], as `lvq_encode` wrote them with `first_bits`.
    bits: 4 or 8 per dimension.
    norms: float32 [n], stored with the rows; None stores by how much the second level changes the squared
        lengths, so that the estimates of both levels add up.
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

std::size_t checked_stride(const char* name, std::int64_t stride, const encodings::CodeLayout& layout) {
    const std::size_t least = layout.stride(1);
    if (stride < static_cast<std::int64_t>(least)) {
        throw nb::value_error((std::string(name) + ": expected at least " + std::to_string(least) + ", got " +
                               std::to_string(stride))
                                  .c_str());
    }
    return static_cast<std::size_t>(stride);
}

// Rows that are encoded, and where their codes go.
struct EncodeCall {
    EncodeCall(nb::handle row_array, std::int64_t bits, nb::handle norm_array, nb::handle out_array,
               std::int64_t stride_given)
        : rows(row_array, "rows"), out(out_array, "out", true) {
        if (!rows.is(DType::f32, 2) || rows.shape(1) == 0) rows.reject("float32 [n, d]");
        count = rows.shape(0);
        layout = layout_of(bits, rows.shape(1));
        stride = checked_stride("stride", stride_given, layout);
        if (!norm_array.is_none()) {
            norms.emplace(norm_array, "norms");
            expect(*norms, DType::f32, {count});
        }
        if (!out.is(DType::u8, 1) || out.shape(0) < count * stride) {
            out.reject("uint8 [at least " + std::to_string(count * stride) + "]");
        }
    }

    const float* rows_from(std::size_t first) const { return rows.data<float>() + first * layout.dims; }
    const float* norms_from(std::size_t first) const {
        return norms ? norms->data<float>() + first : nullptr;
    }
    std::uint8_t* out_from(std::size_t first) const {
        return out.mutable_data<std::uint8_t>() + first * stride;
    }

    // body(first, rows) for parts of all rows, on the threads of `pool` if there is one.
    template <typename Body>
    void run(ThreadPool* pool, const Body& body) const {
        const std::size_t tasks = (count + kRowsPerTask - 1) / kRowsPerTask;
        const auto part = [&](std::size_t task) {
            const std::size_t first = task * kRowsPerTask;
            body(first, std::min(kRowsPerTask, count - first));
        };
        if (pool != nullptr) return pool->parallel_for(tasks, part);
        for (std::size_t task = 0; task < tasks; ++task) part(task);
    }

    ArrayView rows;
    ArrayView out;
    std::optional<ArrayView> norms;
    encodings::CodeLayout layout;
    std::size_t count;
    std::size_t stride;
};

void lvq_encode(nb::handle rows, std::int64_t bits, bool clip, nb::handle norms, nb::handle out,
                std::int64_t stride, ThreadPool* pool) {
    const EncodeCall call(rows, bits, norms, out, stride);
    const nb::gil_scoped_release release;
    call.run(pool, [&](std::size_t first, std::size_t count) {
        encodings::encode_lvq(call.rows_from(first), count, call.layout, {clip}, call.norms_from(first),
                              call.out_from(first), call.stride);
    });
}

void lvq_encode_residual(nb::handle rows, nb::handle first_codes, std::int64_t first_bits,
                         std::int64_t first_stride, std::int64_t bits, nb::handle norms, nb::handle out,
                         std::int64_t stride, ThreadPool* pool) {
    const EncodeCall call(rows, bits, norms, out, stride);
    const encodings::CodeLayout layout = layout_of(first_bits, call.layout.dims);
    const std::size_t row_bytes = checked_stride("first_stride", first_stride, layout);
    const ArrayView view(first_codes, "first");
    if (!view.is(DType::u8, 1) || view.shape(0) < call.count * row_bytes) {
        view.reject("uint8 [at least " + std::to_string(call.count * row_bytes) + "]");
    }
    const nb::gil_scoped_release release;
    call.run(pool, [&](std::size_t first, std::size_t count) {
        const std::uint8_t* codes = view.data<std::uint8_t>() + first * row_bytes;
        encodings::encode_lvq_residual(call.rows_from(first), count, {layout, codes, row_bytes}, call.layout,
                                       call.norms_from(first), call.out_from(first), call.stride);
    });
}

nb::object lvq_decode(nb::handle codes, std::int64_t count, std::int64_t dims, std::int64_t bits,
                      std::int64_t stride) {
    if (count < 0 || dims < 1) throw nb::value_error("count, dims: expected at least 0 and 1");
    const encodings::CodeLayout layout = layout_of(bits, static_cast<std::size_t>(dims));
    const std::size_t row_bytes = checked_stride("stride", stride, layout);
    const ArrayView view(codes, "codes");
    const std::size_t needed = static_cast<std::size_t>(count) * row_bytes;
    if (!view.is(DType::u8, 1) || view.shape(0) < needed)
        view.reject("uint8 [at least " + std::to_string(needed) + "]");
    nb::object out = empty_array(DType::f32, {static_cast<std::size_t>(count), layout.dims});
    const ArrayView out_view(out, "out", true);
    const nb::gil_scoped_release release;
    encodings::decode_lvq({layout, view.data<std::uint8_t>(), row_bytes}, static_cast<std::size_t>(count),
                          out_view.mutable_data<float>());
    return out;
}

}  // namespace

void register_encodings(nb::module_& module) {
    module.def("lvq_stride", &lvq_stride, "dims"_a, "bits"_a, "alignment"_a, nb::sig(kStrideSignature),
               kStrideDoc);
    module.def("lvq_encode", &lvq_encode, "rows"_a, "bits"_a, "clip"_a, "norms"_a.none(), "out"_a, "stride"_a,
               "pool"_a = nb::none(), nb::sig(kEncodeSignature), kEncodeDoc);
    module.def("lvq_encode_residual", &lvq_encode_residual, "rows"_a, "first"_a, "first_bits"_a,
               "first_stride"_a, "bits"_a, "norms"_a.none(), "out"_a, "stride"_a, "pool"_a = nb::none(),
               nb::sig(kResidualSignature), kResidualDoc);
    module.def("lvq_decode", &lvq_decode, "codes"_a, "count"_a, "dims"_a, "bits"_a, "stride"_a,
               nb::sig(kDecodeSignature), kDecodeDoc);
}

}  // namespace nearfield::bindings
