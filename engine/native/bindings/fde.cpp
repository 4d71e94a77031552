#include "multivector/fde.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string_view.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/array_view.h"
#include "bindings/register.h"
#include "core/dispatch.h"
#include "multivector/learned_cells.h"
#include "multivector/pooling.h"
#include "multivector/responses.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace nearfield::bindings {
namespace {

using multivector::TokenSets;
using multivector::Work;

constexpr std::size_t kBitsMax = 16;
constexpr std::size_t kCodeBlock = 64;

constexpr const char* kSimHashSignature =
    "def __init__(self, planes: numpy.typing.NDArray[numpy.float32], projections: "
    "numpy.typing.NDArray[numpy.float32] | None, repetitions: int) -> None";

constexpr const char* kSimHashDoc =
    R"(MUVERA's fixed-dimensional encodings of token matrices (arXiv 2405.19504, section 2).

Args:
    planes: float32 [repetitions * bits, d]; a token's cell is the string of the signs of its products.
    projections: float32 [repetitions * p, d], as they are applied; None is the identity, p = d.
    repetitions: at least 1.

Raises:
    ValueError: a wrong dtype or shape, or more than 16 bits; says what was expected and what came.)";

constexpr const char* kQueriesSignature =
    "def encode_queries(self, tokens: numpy.typing.NDArray[numpy.float32], offsets: "
    "numpy.typing.NDArray[numpy.int64], pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> "
    "numpy.typing.NDArray[numpy.float32]";

constexpr const char* kQueriesDoc = R"(The sums of the tokens of each cell, projected: float32 [n, width].

Args:
    tokens: float32 [T, d], the matrices back to back.
    offsets: int64 [n + 1], matrix i is tokens[offsets[i]:offsets[i + 1]].
    pool: whose threads share the work; the result does not depend on them.
    cancel: polled now and then.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kDocumentsSignature =
    "def encode_documents(self, tokens: numpy.typing.NDArray[numpy.float32], offsets: "
    "numpy.typing.NDArray[numpy.int64], fill: bool = True, pool: ThreadPool | None = None, cancel: "
    "CancelFlag | None = None) -> numpy.typing.NDArray[numpy.float32]";

constexpr const char* kDocumentsDoc = R"(The means of the tokens of each cell, projected: float32 [n, width].

Args:
    tokens, offsets, pool, cancel: as in `encode_queries`. A matrix without tokens is encoded as zeros.
    fill: an empty cell has the token whose bits differ from the cell's in the fewest places, the first of
        several; otherwise zeros.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kCellsSignature =
    "def __init__(self, centres: numpy.typing.NDArray[numpy.float32], mean: "
    "numpy.typing.NDArray[numpy.float32]) -> None";

constexpr const char* kCellsDoc = R"(Encodings with one repetition over learned cells.

A token belongs to the cell whose centre it has the largest product with.

Args:
    centres: float32 [cells, d].
    mean: float32 [d], subtracted from the tokens of documents, which changes no ranking by MaxSim.

Raises:
    ValueError: a wrong dtype or shape; says what was expected and what came.)";

constexpr const char* kAssignSignature =
    "def assign(self, tokens: numpy.typing.NDArray[numpy.float32], pool: ThreadPool | None = None, cancel: "
    "CancelFlag | None = None) -> numpy.typing.NDArray[numpy.int32]";

constexpr const char* kAssignDoc = "The cell of each token of float32 [T, d]: int32 [T].";

constexpr const char* kBlocksSignature =
    "def blocks(self, tokens: numpy.typing.NDArray[numpy.float32], offsets: "
    "numpy.typing.NDArray[numpy.int64], pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> "
    "numpy.typing.NDArray[numpy.float32]";

constexpr const char* kBlocksDoc =
    R"(What the cells of documents hold, float32 [n, cells * d].

The mean of the document's tokens weighted by exp(40 <token, centre>), less `mean`; weights below 1/256 of the
cell's largest are left out, and a document without tokens has zeros.

Args:
    tokens, offsets, pool, cancel: as in `SimHashEncoder.encode_queries`.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kCellDocumentsSignature =
    "def encode_documents(self, tokens: numpy.typing.NDArray[numpy.float32], offsets: "
    "numpy.typing.NDArray[numpy.int64], projection: CellProjection, origin: "
    "numpy.typing.NDArray[numpy.float32], pool: ThreadPool | None = None, cancel: CancelFlag | None = None) "
    "-> numpy.typing.NDArray[numpy.float32]";

constexpr const char* kCellDocumentsDoc =
    R"(The blocks of documents, projected, less `origin`: float32 [n, width], the blocks never all in memory.

Args:
    tokens, offsets, pool, cancel: as in `SimHashEncoder.encode_queries`.
    projection: of these cells.
    origin: float32 [width].

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kCellQueriesSignature =
    "def encode_queries(self, tokens: numpy.typing.NDArray[numpy.float32], offsets: "
    "numpy.typing.NDArray[numpy.int64], codes: numpy.typing.NDArray[numpy.int8], scales: "
    "numpy.typing.NDArray[numpy.float32], sums: numpy.typing.NDArray[numpy.int32], pool: ThreadPool | None = "
    "None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.float32]";

constexpr const char* kCellQueriesDoc =
    R"(The sums over the tokens of queries, each projected by its cell's matrix: float32 [n, width].

Args:
    tokens, offsets, pool, cancel: as in `SimHashEncoder.encode_queries`. Tokens are quantised to int8.
    codes: int8 [cells, width, d rounded up to a multiple of 64], zeros beyond d.
    scales: float32 [cells, width]; row j of a cell's matrix is scales[j] * codes[j].
    sums: int32 [cells, width], the sums of the codes.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kProjectionSignature =
    "def __init__(self, codes: numpy.typing.NDArray[numpy.int8], scales: "
    "numpy.typing.NDArray[numpy.float32], dimensions: int) -> None";

constexpr const char* kProjectionDoc =
    R"(One matrix per cell, packed for products; `LearnedCells.encode_documents` applies it.

Args:
    codes: int8 [cells, width, at least d].
    scales: float32 [cells, width]; row j of a cell's matrix is scales[j] * codes[j].
    dimensions: d, of the tokens.

Raises:
    ValueError: a wrong dtype or shape; says what was expected and what came.)";

constexpr const char* kPoolSignature =
    "def pool_sets(tokens: numpy.typing.NDArray[numpy.float32], offsets: numpy.typing.NDArray[numpy.int64], "
    "out_offsets: numpy.typing.NDArray[numpy.int64], kept: int, normalize: bool, pool: ThreadPool | None = "
    "None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.float32]";

constexpr const char* kPoolDoc = R"(Token matrices with fewer tokens (arXiv 2409.14683): float32 [T', d].

The first tokens stay as they are; of the others, Ward's clusters on 1 - cosine become one mean each, in the
order of their first tokens. Where more tokens are wanted than there are, they are repeated.

Args:
    tokens, offsets, pool, cancel: as in `SimHashEncoder.encode_queries`.
    out_offsets: int64 [n + 1], matrix i gets out_offsets[i + 1] - out_offsets[i] tokens; 0 for one that has
        none.
    kept: first tokens that stay as they are.
    normalize: means are brought to unit length.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kResponsesSignature =
    "def responses(asking: numpy.typing.NDArray[numpy.float32], tokens: numpy.typing.NDArray[numpy.float32], "
    "offsets: numpy.typing.NDArray[numpy.int64], pool: ThreadPool | None = None, cancel: CancelFlag | None = "
    "None) -> numpy.typing.NDArray[numpy.float32]";

constexpr const char* kResponsesDoc =
    R"(The largest inner product of each asking token with any token of each matrix: float32 [n, m].

MaxSim is the sum of these over the tokens of a query.

Args:
    asking: float32 [m, d].
    tokens, offsets, pool, cancel: as in `SimHashEncoder.encode_queries`; no matrix may be without tokens.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

void check_offsets(const ArrayView& offsets, std::size_t tokens) {
    if (!offsets.is(DType::i64, 1) || offsets.shape(0) < 1) offsets.reject("int64 [n + 1]");
    const auto* values = offsets.data<std::int64_t>();
    const std::size_t count = offsets.shape(0) - 1;
    bool ascends = values[0] == 0 && values[count] == static_cast<std::int64_t>(tokens);
    for (std::size_t i = 0; i < count; ++i) ascends = ascends && values[i] <= values[i + 1];
    if (!ascends) offsets.reject("ascending numbers from 0 to " + std::to_string(tokens));
}

// Token matrices borrowed from Python.
class Sets {
public:
    Sets(nb::handle tokens, nb::handle offsets, std::size_t dims)
        : tokens_(tokens, "tokens"), offsets_(offsets, "offsets") {
        if (!tokens_.is(DType::f32, 2) || tokens_.shape(1) != dims) {
            tokens_.reject("float32 [T, " + std::to_string(dims) + "]");
        }
        check_offsets(offsets_, tokens_.shape(0));
    }
    TokenSets sets() const {
        return {tokens_.data<float>(), offsets_.data<std::int64_t>(), count(), tokens_.shape(1)};
    }
    std::size_t count() const { return offsets_.shape(0) - 1; }

private:
    ArrayView tokens_;
    ArrayView offsets_;
};

// A new array [count, width] filled by encode(out) without the GIL.
template <class Encode>
nb::object encoded(std::size_t count, std::size_t width, const Encode& encode) {
    nb::object out = empty_array(DType::f32, {count, width});
    const ArrayView view(out, "out", true);
    const nb::gil_scoped_release release;
    encode(view.mutable_data<float>());
    return out;
}

multivector::SimHashEncoder make_simhash(nb::handle planes, nb::handle projections,
                                         std::int64_t repetitions) {
    const ArrayView plane_view(planes, "planes");
    if (!plane_view.is(DType::f32, 2) || plane_view.shape(1) == 0) {
        plane_view.reject("float32 [repetitions * bits, d]");
    }
    const std::size_t dims = plane_view.shape(1);
    const auto times = static_cast<std::size_t>(repetitions);
    if (repetitions < 1 || plane_view.shape(0) % times != 0 || plane_view.shape(0) / times > kBitsMax) {
        plane_view.reject("at most 16 rows for each of " + std::to_string(repetitions) + " repetitions");
    }
    const std::size_t bits = plane_view.shape(0) / times;
    if (projections.is_none()) {
        return {plane_view.data<float>(), nullptr, dims, times, bits, dims};
    }
    const ArrayView projection_view(projections, "projections");
    if (!projection_view.is(DType::f32, 2) || projection_view.shape(1) != dims ||
        projection_view.shape(0) == 0 || projection_view.shape(0) % times != 0) {
        projection_view.reject("float32 [" + std::to_string(times) + " * p, " + std::to_string(dims) + "]");
    }
    return {plane_view.data<float>(),        projection_view.data<float>(), dims, times, bits,
            projection_view.shape(0) / times};
}

class SimHash {
public:
    SimHash(nb::handle planes, nb::handle projections, std::int64_t repetitions)
        : encoder_(make_simhash(planes, projections, repetitions)) {}

    nb::object encode_queries(nb::handle tokens, nb::handle offsets, ThreadPool* pool,
                              const CancelFlag* cancel) const {
        const Sets sets(tokens, offsets, encoder_.dims());
        return encoded(sets.count(), encoder_.width(), [&](float* out) {
            encoder_.encode_queries({kernels(), pool, cancel}, sets.sets(), out);
        });
    }

    nb::object encode_documents(nb::handle tokens, nb::handle offsets, bool fill, ThreadPool* pool,
                                const CancelFlag* cancel) const {
        const Sets sets(tokens, offsets, encoder_.dims());
        return encoded(sets.count(), encoder_.width(), [&](float* out) {
            encoder_.encode_documents({kernels(), pool, cancel}, sets.sets(), fill, out);
        });
    }

    std::size_t width() const { return encoder_.width(); }

private:
    multivector::SimHashEncoder encoder_;
};

class CellProjection {
public:
    CellProjection(nb::handle codes, nb::handle scales, std::int64_t dimensions) {
        const ArrayView code_view(codes, "codes");
        if (!code_view.is(DType::i8, 3) || code_view.bytes() == 0 || dimensions < 1 ||
            code_view.shape(2) < static_cast<std::size_t>(dimensions)) {
            code_view.reject("int8 [cells, width, at least " + std::to_string(dimensions) + "]");
        }
        width_ = code_view.shape(1);
        dims_ = static_cast<std::size_t>(dimensions);
        const ArrayView scale_view(scales, "scales");
        expect(scale_view, DType::f32, {code_view.shape(0), width_});
        std::vector<float> matrix(width_ * dims_);
        for (std::size_t c = 0; c < code_view.shape(0); ++c) {
            for (std::size_t j = 0; j < width_; ++j) {
                const std::size_t row = c * width_ + j;
                const std::int8_t* from = code_view.data<std::int8_t>() + row * code_view.shape(2);
                const float scale = scale_view.data<float>()[row];
                for (std::size_t i = 0; i < dims_; ++i) {
                    matrix[j * dims_ + i] = scale * static_cast<float>(from[i]);
                }
            }
            panels_.emplace_back(matrix.data(), width_, dims_);
        }
    }

    const std::vector<multivector::Panels>& panels() const { return panels_; }
    std::size_t width() const { return width_; }
    std::size_t dims() const { return dims_; }

private:
    std::size_t width_ = 0;
    std::size_t dims_ = 0;
    std::vector<multivector::Panels> panels_;
};

multivector::LearnedCells make_cells(nb::handle centres, nb::handle mean) {
    const ArrayView centre_view(centres, "centres");
    if (!centre_view.is(DType::f32, 2) || centre_view.bytes() == 0) centre_view.reject("float32 [cells, d]");
    const ArrayView mean_view(mean, "mean");
    expect(mean_view, DType::f32, {centre_view.shape(1)});
    return {centre_view.data<float>(), centre_view.shape(0), centre_view.shape(1), mean_view.data<float>()};
}

class Cells {
public:
    Cells(nb::handle centres, nb::handle mean) : cells_(make_cells(centres, mean)) {}

    nb::object assign(nb::handle tokens, ThreadPool* pool, const CancelFlag* cancel) const {
        const ArrayView view(tokens, "tokens");
        if (!view.is(DType::f32, 2) || view.shape(1) != cells_.dims()) {
            view.reject("float32 [T, " + std::to_string(cells_.dims()) + "]");
        }
        nb::object out = empty_array(DType::i32, {view.shape(0)});
        const ArrayView out_view(out, "out", true);
        const nb::gil_scoped_release release;
        cells_.assign({kernels(), pool, cancel}, view.data<float>(), view.shape(0),
                      out_view.mutable_data<std::int32_t>());
        return out;
    }

    nb::object blocks(nb::handle tokens, nb::handle offsets, ThreadPool* pool,
                      const CancelFlag* cancel) const {
        const Sets sets(tokens, offsets, cells_.dims());
        return encoded(sets.count(), cells_.cells() * cells_.dims(),
                       [&](float* out) { cells_.blocks({kernels(), pool, cancel}, sets.sets(), out); });
    }

    nb::object encode_documents(nb::handle tokens, nb::handle offsets, const CellProjection& projection,
                                nb::handle origin, ThreadPool* pool, const CancelFlag* cancel) const {
        const Sets sets(tokens, offsets, cells_.dims());
        if (projection.panels().size() != cells_.cells() || projection.dims() != cells_.dims()) {
            raise_value_error("projection: expected matrices for " + std::to_string(cells_.cells()) +
                              " cells of " + std::to_string(cells_.dims()) + " dimensions");
        }
        const ArrayView origin_view(origin, "origin");
        expect(origin_view, DType::f32, {projection.width()});
        return encoded(sets.count(), projection.width(), [&](float* out) {
            cells_.encode_documents({kernels(), pool, cancel}, sets.sets(), projection.panels(),
                                    origin_view.data<float>(), projection.width(), out);
        });
    }

    nb::object encode_queries(nb::handle tokens, nb::handle offsets, nb::handle codes, nb::handle scales,
                              nb::handle sums, ThreadPool* pool, const CancelFlag* cancel) const {
        const Sets sets(tokens, offsets, cells_.dims());
        const std::size_t code_dims = (cells_.dims() + kCodeBlock - 1) / kCodeBlock * kCodeBlock;
        const ArrayView code_view(codes, "codes");
        if (!code_view.is(DType::i8, 3) || code_view.shape(0) != cells_.cells() ||
            code_view.shape(2) != code_dims) {
            code_view.reject("int8 [" + std::to_string(cells_.cells()) + ", width, " +
                             std::to_string(code_dims) + "]");
        }
        const std::size_t width = code_view.shape(1);
        const ArrayView scale_view(scales, "scales");
        expect(scale_view, DType::f32, {cells_.cells(), width});
        const ArrayView sum_view(sums, "sums");
        expect(sum_view, DType::i32, {cells_.cells(), width});
        const multivector::QuerySide side{code_view.data<std::int8_t>(), scale_view.data<float>(),
                                          sum_view.data<std::int32_t>(), width};
        return encoded(sets.count(), width, [&](float* out) {
            cells_.encode_queries({kernels(), pool, cancel}, sets.sets(), side, out);
        });
    }

private:
    multivector::LearnedCells cells_;
};

nb::object responses(nb::handle asking, nb::handle tokens, nb::handle offsets, ThreadPool* pool,
                     const CancelFlag* cancel) {
    const ArrayView asking_view(asking, "asking");
    if (!asking_view.is(DType::f32, 2) || asking_view.shape(1) == 0) asking_view.reject("float32 [m, d]");
    const Sets sets(tokens, offsets, asking_view.shape(1));
    for (std::size_t i = 0; i < sets.count(); ++i) {
        if (sets.sets().offsets[i] == sets.sets().offsets[i + 1]) {
            raise_value_error("offsets: expected tokens in every matrix, none in matrix " +
                              std::to_string(i));
        }
    }
    const std::size_t count = asking_view.shape(0);
    return encoded(sets.count(), count, [&](float* out) {
        multivector::responses({kernels(), pool, cancel}, sets.sets(), asking_view.data<float>(), count, out);
    });
}

nb::object pool_sets(nb::handle tokens, nb::handle offsets, nb::handle out_offsets, std::int64_t kept,
                     bool normalize, ThreadPool* pool, const CancelFlag* cancel) {
    std::optional<ArrayView> token_view(std::in_place, tokens, "tokens");
    if (!token_view->is(DType::f32, 2) || token_view->shape(1) == 0) token_view->reject("float32 [T, d]");
    const std::size_t dims = token_view->shape(1);
    token_view.reset();
    const Sets sets(tokens, offsets, dims);
    const ArrayView out_view(out_offsets, "out_offsets");
    if (!out_view.is(DType::i64, 1) || out_view.shape(0) != sets.count() + 1) {
        out_view.reject("int64 [" + std::to_string(sets.count() + 1) + "]");
    }
    const auto* wanted = out_view.data<std::int64_t>();
    const std::int64_t total = wanted[sets.count()];
    if (total < 0) out_view.reject("ascending numbers from 0");
    check_offsets(out_view, static_cast<std::size_t>(total));
    for (std::size_t i = 0; i < sets.count(); ++i) {
        const auto* from = sets.sets().offsets;
        if (wanted[i] < wanted[i + 1] && from[i] == from[i + 1]) {
            raise_value_error("out_offsets: expected no tokens for matrix " + std::to_string(i) +
                              ", which has none");
        }
    }
    if (kept < 0) raise_value_error("kept: expected at least 0, got " + std::to_string(kept));
    return encoded(static_cast<std::size_t>(total), dims, [&](float* out) {
        multivector::pool_sets({kernels(), pool, cancel}, sets.sets(), wanted,
                               {static_cast<std::size_t>(kept), normalize}, out);
    });
}

}  // namespace

void register_fde(nb::module_& module) {
    nb::class_<SimHash>(module, "SimHashEncoder", kSimHashDoc)
        .def(nb::init<nb::handle, nb::handle, std::int64_t>(), "planes"_a, "projections"_a.none(),
             "repetitions"_a, nb::sig(kSimHashSignature))
        .def_prop_ro("width", &SimHash::width, "Dimensions of the encodings.")
        .def("encode_queries", &SimHash::encode_queries, "tokens"_a, "offsets"_a, "pool"_a = nb::none(),
             "cancel"_a = nb::none(), nb::sig(kQueriesSignature), kQueriesDoc)
        .def("encode_documents", &SimHash::encode_documents, "tokens"_a, "offsets"_a, "fill"_a = true,
             "pool"_a = nb::none(), "cancel"_a = nb::none(), nb::sig(kDocumentsSignature), kDocumentsDoc);
    nb::class_<CellProjection>(module, "CellProjection", kProjectionDoc)
        .def(nb::init<nb::handle, nb::handle, std::int64_t>(), "codes"_a, "scales"_a, "dimensions"_a,
             nb::sig(kProjectionSignature));
    nb::class_<Cells>(module, "LearnedCells", kCellsDoc)
        .def(nb::init<nb::handle, nb::handle>(), "centres"_a, "mean"_a, nb::sig(kCellsSignature))
        .def("assign", &Cells::assign, "tokens"_a, "pool"_a = nb::none(), "cancel"_a = nb::none(),
             nb::sig(kAssignSignature), kAssignDoc)
        .def("blocks", &Cells::blocks, "tokens"_a, "offsets"_a, "pool"_a = nb::none(),
             "cancel"_a = nb::none(), nb::sig(kBlocksSignature), kBlocksDoc)
        .def("encode_documents", &Cells::encode_documents, "tokens"_a, "offsets"_a, "projection"_a,
             "origin"_a, "pool"_a = nb::none(), "cancel"_a = nb::none(), nb::sig(kCellDocumentsSignature),
             kCellDocumentsDoc)
        .def("encode_queries", &Cells::encode_queries, "tokens"_a, "offsets"_a, "codes"_a, "scales"_a,
             "sums"_a, "pool"_a = nb::none(), "cancel"_a = nb::none(), nb::sig(kCellQueriesSignature),
             kCellQueriesDoc);
    module.def("responses", &responses, "asking"_a, "tokens"_a, "offsets"_a, "pool"_a = nb::none(),
               "cancel"_a = nb::none(), nb::sig(kResponsesSignature), kResponsesDoc);
    module.def("pool_sets", &pool_sets, "tokens"_a, "offsets"_a, "out_offsets"_a, "kept"_a, "normalize"_a,
               "pool"_a = nb::none(), "cancel"_a = nb::none(), nb::sig(kPoolSignature), kPoolDoc);
}

}  // namespace nearfield::bindings
