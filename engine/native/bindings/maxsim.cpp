#include <nanobind/nanobind.h>
#include <nanobind/stl/string_view.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "bindings/array_view.h"
#include "bindings/register.h"
#include "core/dispatch.h"
#include "encodings/code_layout.h"
#include "multivector/carving.h"
#include "multivector/maxsim.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace nearfield::bindings {
namespace {

using multivector::TokenType;

#define NEARFIELD_MAXSIM_TOKENS                                                                        \
    "queries: numpy.typing.NDArray[numpy.float32], query_offsets: numpy.typing.NDArray[numpy.int64], " \
    "tokens: numpy.typing.NDArray[numpy.float32] | numpy.typing.NDArray[numpy.float16] | "             \
    "numpy.typing.NDArray[numpy.uint8], encoding: str, "                                               \
    "offsets: numpy.typing.NDArray[numpy.int64] | None, tokens_per_document: int, "
#define NEARFIELD_MAXSIM_RESOURCES \
    "threads: int = 1, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> "

constexpr const char* kSearchSignature =
    "def maxsim_search(" NEARFIELD_MAXSIM_TOKENS
    "k: int, allow: numpy.typing.NDArray[numpy.uint64] | None = None, "
    "metric: str = 'ip', " NEARFIELD_MAXSIM_RESOURCES
    "tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]";

constexpr const char* kSearchDoc = R"(The exact k best documents of each query by MaxSim (arXiv 2004.12832).

Equal scores go by number, and the result is the same for any number of threads and for any batch a
query comes in. Codes are scored as what they stand for, against query tokens quantised to 8 bits.

Args:
    queries: float32 [Q, d], tokens of all queries back to back, C-contiguous.
    query_offsets: int64 [nq + 1], ascending from 0 to Q.
    tokens: float32 or float16 [T, d], or uint8 [T, row bytes] as `lvq_encode` wrote them with
        `lvq_stride` or more; may be read-only or a memory map.
    encoding: 'float32', 'float16', 'lvq8' or 'lvq4'.
    offsets: int64 [n + 1], ascending from 0 to T; None where all documents are of one size.
    tokens_per_document: that size, a divisor of T; ignored where there are offsets.
    k: how many, at least 1.
    allow: uint64 [ceil(n / 64)]; bit i % 64 of word i // 64 allows document i. None allows all.
    metric: 'ip', or for float tokens 'l2' or 'l1': similarity is then the negative squared Euclidean distance
        or the negative sum of absolute differences.
    threads: how many may share the work, the calling one included; small scans use fewer.
    pool: whose threads help; None starts and ends them within the call.
    cancel: polled once per batch of documents.

Returns:
    documents int64 [nq, k], -1 pads, and distances (-MaxSim) float32 [nq, k], +inf pads; best first.
    Empty documents are never among them.

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.
    Cancelled: `cancel` was set.)";

constexpr const char* kRerankSignature =
    "def maxsim_rerank(" NEARFIELD_MAXSIM_TOKENS
    "candidates: numpy.typing.NDArray[numpy.int64], k: int, " NEARFIELD_MAXSIM_RESOURCES
    "tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]";

constexpr const char* kRerankDoc =
    R"(The k best of each query's candidates by MaxSim, as `maxsim_search` among those.

Args:
    candidates: int64 [nq, c] documents, -1 pads; one named twice counts once.
    All others: as in `maxsim_search`.

Returns:
    documents int64 [nq, k] and distances float32 [nq, k], as `maxsim_search`.

Raises:
    ValueError, Cancelled: as `maxsim_search`.)";

constexpr const char* kScoresSignature =
    "def maxsim_scores(" NEARFIELD_MAXSIM_TOKENS
    "candidates: numpy.typing.NDArray[numpy.int64], " NEARFIELD_MAXSIM_RESOURCES
    "numpy.typing.NDArray[numpy.float32]";

constexpr const char* kScoresDoc = R"(MaxSim of each query with its candidates.

Args:
    candidates: int64 [nq, c] documents, -1 pads.
    All others: as in `maxsim_search`.

Returns:
    float32 [nq, c]; -inf for pads and empty documents.

Raises:
    ValueError, Cancelled: as `maxsim_search`.)";

constexpr const char* kCarveSignature =
    "def carve_queries(queries: numpy.typing.NDArray[numpy.float32], "
    "query_offsets: numpy.typing.NDArray[numpy.int64], threshold: float) -> "
    "tuple[numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.int64]]";

constexpr const char* kCarveDoc =
    R"(Query ball carving (arXiv 2405.19504, C.3): sums in place of groups of a query's tokens.

A group is the first token not yet in one, with all such tokens whose inner product with it is at least
`threshold`.

Args:
    queries, query_offsets: as in `maxsim_search`.
    threshold: inner product.

Returns:
    queries float32 [Q', d] and offsets int64 [nq + 1].

Raises:
    ValueError: a wrong dtype, shape or value; says what was expected and what came.)";

// Offsets that cut `rows` rows: int64 [n + 1], ascending from 0.
class Offsets {
public:
    Offsets(nb::handle object, const char* name, std::size_t rows) : view_(object, name) {
        if (!view_.is(DType::i64, 1) || view_.shape(0) == 0) view_.reject("int64 [n + 1]");
        const std::int64_t* values = view_.data<std::int64_t>();
        bool ascending = values[0] == 0 && values[count()] == static_cast<std::int64_t>(rows);
        for (std::size_t i = 0; i < count(); ++i) ascending = ascending && values[i] <= values[i + 1];
        if (!ascending) {
            raise_value_error(std::string(name) + ": expected ascending numbers from 0 to " +
                              std::to_string(rows));
        }
    }
    const std::int64_t* data() const { return view_.data<std::int64_t>(); }
    std::size_t count() const { return view_.shape(0) - 1; }

private:
    ArrayView view_;
};

struct Encoding {
    const char* name;
    TokenType type;
    DType dtype;
    int bits;  // of codes
};

constexpr Encoding kEncodings[] = {{"float32", TokenType::f32, DType::f32, 0},
                                   {"float16", TokenType::f16, DType::f16, 0},
                                   {"lvq8", TokenType::lvq8, DType::u8, 8},
                                   {"lvq4", TokenType::lvq4, DType::u8, 4}};

const Encoding& encoding_named(std::string_view name) {
    for (const Encoding& encoding : kEncodings) {
        if (name == encoding.name) return encoding;
    }
    raise_value_error("encoding: expected 'float32', 'float16', 'lvq8' or 'lvq4', got '" + std::string(name) +
                      "'");
}

Metric metric_of(std::string_view name, TokenType type) {
    if (name == "ip") return Metric::ip;
    const bool floats = type == TokenType::f32 || type == TokenType::f16;
    if (name == "l2" && floats) return Metric::l2;
    if (name == "l1" && floats) return Metric::l1;
    raise_value_error(std::string("metric: expected 'ip'") + (floats ? ", 'l2' or 'l1'" : " for codes") +
                      ", got '" + std::string(name) + "'");
}

std::size_t positive(std::int64_t value, const char* name) {
    if (value < 1)
        raise_value_error(std::string(name) + ": expected at least 1, got " + std::to_string(value));
    return static_cast<std::size_t>(value);
}

// The arguments that all three share, borrowed and checked.
class Matrices {
public:
    Matrices(nb::handle queries, nb::handle query_offsets, nb::handle tokens, std::string_view encoding,
             nb::handle offsets, std::int64_t tokens_per_document)
        : query_view_(queries, "queries"), token_view_(tokens, "tokens") {
        if (!query_view_.is(DType::f32, 2) || query_view_.shape(1) == 0) query_view_.reject("float32 [Q, d]");
        query_offsets_.emplace(query_offsets, "query_offsets", query_view_.shape(0));
        queries_ = {query_view_.data<float>(), query_offsets_->data(), query_offsets_->count()};
        const Encoding& wanted = encoding_named(encoding);
        const std::size_t dims = query_view_.shape(1);
        check_tokens(wanted, dims);
        const std::size_t rows = token_view_.shape(0);
        documents_ = {token_view_.data<unsigned char>(), wanted.type, dims, 0, 0, nullptr, 0};
        documents_.row_bytes = rows == 0 ? 0 : token_view_.bytes() / rows;
        if (!offsets.is_none()) {
            offsets_.emplace(offsets, "offsets", rows);
            documents_.offsets = offsets_->data();
            documents_.count = offsets_->count();
            return;
        }
        documents_.tokens_per_document = positive(tokens_per_document, "tokens_per_document");
        documents_.count = rows / documents_.tokens_per_document;
        if (rows % documents_.tokens_per_document != 0) {
            raise_value_error("tokens_per_document: expected a divisor of " + std::to_string(rows) +
                              ", got " + std::to_string(tokens_per_document));
        }
    }
    const multivector::Queries& queries() const { return queries_; }
    const multivector::Documents& documents() const { return documents_; }

private:
    void check_tokens(const Encoding& wanted, std::size_t dims) const {
        const bool codes = wanted.bits != 0;
        const std::size_t width = codes ? encodings::CodeLayout{wanted.bits, dims}.stride(1) : dims;
        const bool fits = token_view_.is(wanted.dtype, 2) &&
                          (codes ? token_view_.shape(1) >= width : token_view_.shape(1) == width);
        if (!fits) {
            token_view_.reject(std::string(codes ? "uint8 [T, at least " : wanted.name) +
                               (codes ? "" : " [T, ") + std::to_string(width) + "]");
        }
    }

    ArrayView query_view_;
    ArrayView token_view_;
    std::optional<Offsets> query_offsets_;
    std::optional<Offsets> offsets_;
    multivector::Queries queries_{};
    multivector::Documents documents_{};
};

class CandidateView {
public:
    CandidateView(nb::handle candidates, const Matrices& matrices) : view_(candidates, "candidates") {
        const std::size_t queries = matrices.queries().count;
        if (!view_.is(DType::i64, 2) || view_.shape(0) != queries) {
            view_.reject("int64 [" + std::to_string(queries) + ", c]");
        }
        const auto count = static_cast<std::int64_t>(matrices.documents().count);
        const std::int64_t* documents = view_.data<std::int64_t>();
        for (std::size_t i = 0; i < queries * view_.shape(1); ++i) {
            if (documents[i] < -1 || documents[i] >= count) {
                raise_value_error("candidates: expected -1 <= document < " + std::to_string(count) +
                                  ", got " + std::to_string(documents[i]));
            }
        }
    }
    multivector::Candidates get() const { return {view_.data<std::int64_t>(), view_.shape(1)}; }

private:
    ArrayView view_;
};

// Two new arrays [queries, k], filled by `find(documents, distances)` without the GIL.
template <class Find>
nb::tuple best(std::size_t queries, std::size_t k, const Find& find) {
    nb::object documents = empty_array(DType::i64, {queries, k});
    nb::object distances = empty_array(DType::f32, {queries, k});
    {
        const ArrayView documents_view(documents, "documents", true);
        const ArrayView distances_view(distances, "distances", true);
        const nb::gil_scoped_release release;
        find(documents_view.mutable_data<std::int64_t>(), distances_view.mutable_data<float>());
    }
    return nb::make_tuple(documents, distances);
}

nb::tuple maxsim_search(nb::handle queries, nb::handle query_offsets, nb::handle tokens,
                        std::string_view encoding, nb::handle offsets, std::int64_t tokens_per_document,
                        std::int64_t k, nb::handle allow, std::string_view metric, std::int64_t threads,
                        ThreadPool* pool, const CancelFlag* cancel) {
    const Matrices matrices(queries, query_offsets, tokens, encoding, offsets, tokens_per_document);
    const Metric similarity = metric_of(metric, matrices.documents().type);
    const std::size_t wanted = positive(k, "k");
    const multivector::Resources resources{positive(threads, "threads"), pool, cancel};
    std::optional<ArrayView> allow_view;
    if (!allow.is_none()) {
        allow_view.emplace(allow, "allow");
        expect(*allow_view, DType::u64, {(matrices.documents().count + 63) / 64});
    }
    const std::uint64_t* allowed = allow_view ? allow_view->data<std::uint64_t>() : nullptr;
    return best(matrices.queries().count, wanted, [&](std::int64_t* documents, float* distances) {
        multivector::search(kernels(), matrices.queries(), matrices.documents(), similarity, wanted, allowed,
                            resources, documents, distances);
    });
}

nb::tuple maxsim_rerank(nb::handle queries, nb::handle query_offsets, nb::handle tokens,
                        std::string_view encoding, nb::handle offsets, std::int64_t tokens_per_document,
                        nb::handle candidates, std::int64_t k, std::int64_t threads, ThreadPool* pool,
                        const CancelFlag* cancel) {
    const Matrices matrices(queries, query_offsets, tokens, encoding, offsets, tokens_per_document);
    const CandidateView candidate_view(candidates, matrices);
    const std::size_t wanted = positive(k, "k");
    const multivector::Resources resources{positive(threads, "threads"), pool, cancel};
    return best(matrices.queries().count, wanted, [&](std::int64_t* documents, float* distances) {
        multivector::rerank(kernels(), matrices.queries(), matrices.documents(), candidate_view.get(), wanted,
                            resources, documents, distances);
    });
}

nb::object maxsim_scores(nb::handle queries, nb::handle query_offsets, nb::handle tokens,
                         std::string_view encoding, nb::handle offsets, std::int64_t tokens_per_document,
                         nb::handle candidates, std::int64_t threads, ThreadPool* pool,
                         const CancelFlag* cancel) {
    const Matrices matrices(queries, query_offsets, tokens, encoding, offsets, tokens_per_document);
    const CandidateView candidate_view(candidates, matrices);
    const multivector::Resources resources{positive(threads, "threads"), pool, cancel};
    nb::object scores = empty_array(DType::f32, {matrices.queries().count, candidate_view.get().each});
    {
        const ArrayView scores_view(scores, "scores", true);
        const nb::gil_scoped_release release;
        multivector::score(kernels(), matrices.queries(), matrices.documents(), candidate_view.get(),
                           resources, scores_view.mutable_data<float>());
    }
    return scores;
}

nb::tuple carve_queries(nb::handle queries, nb::handle query_offsets, float threshold) {
    const ArrayView query_view(queries, "queries");
    if (!query_view.is(DType::f32, 2) || query_view.shape(1) == 0) query_view.reject("float32 [Q, d]");
    const Offsets offsets(query_offsets, "query_offsets", query_view.shape(0));
    const std::size_t dims = query_view.shape(1);
    multivector::Carved carved;
    {
        const nb::gil_scoped_release release;
        const multivector::Queries whole{query_view.data<float>(), offsets.data(), offsets.count()};
        carved = multivector::carve(kernels(), whole, dims, threshold);
    }
    nb::object tokens_out = empty_array(DType::f32, {carved.tokens.size() / dims, dims});
    nb::object offsets_out = empty_array(DType::i64, {carved.offsets.size()});
    const ArrayView tokens_view(tokens_out, "tokens", true);
    const ArrayView offsets_view(offsets_out, "offsets", true);
    std::copy(carved.tokens.begin(), carved.tokens.end(), tokens_view.mutable_data<float>());
    std::copy(carved.offsets.begin(), carved.offsets.end(), offsets_view.mutable_data<std::int64_t>());
    return nb::make_tuple(tokens_out, offsets_out);
}

}  // namespace

void register_maxsim(nb::module_& module) {
    module.def("maxsim_search", &maxsim_search, "queries"_a, "query_offsets"_a, "tokens"_a, "encoding"_a,
               "offsets"_a.none(), "tokens_per_document"_a, "k"_a, "allow"_a = nb::none(), "metric"_a = "ip",
               "threads"_a = 1, "pool"_a = nb::none(), "cancel"_a = nb::none(), nb::sig(kSearchSignature),
               kSearchDoc);
    module.def("maxsim_rerank", &maxsim_rerank, "queries"_a, "query_offsets"_a, "tokens"_a, "encoding"_a,
               "offsets"_a.none(), "tokens_per_document"_a, "candidates"_a, "k"_a, "threads"_a = 1,
               "pool"_a = nb::none(), "cancel"_a = nb::none(), nb::sig(kRerankSignature), kRerankDoc);
    module.def("maxsim_scores", &maxsim_scores, "queries"_a, "query_offsets"_a, "tokens"_a, "encoding"_a,
               "offsets"_a.none(), "tokens_per_document"_a, "candidates"_a, "threads"_a = 1,
               "pool"_a = nb::none(), "cancel"_a = nb::none(), nb::sig(kScoresSignature), kScoresDoc);
    module.def("carve_queries", &carve_queries, "queries"_a, "query_offsets"_a, "threshold"_a,
               nb::sig(kCarveSignature), kCarveDoc);
}

}  // namespace nearfield::bindings
