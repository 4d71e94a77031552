// Exact MaxSim (ColBERT, arXiv 2004.12832): the sum over a query's tokens of the largest inner product with
// any token of a document.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/cancel_flag.h"
#include "core/kernel_table.h"
#include "core/thread_pool.h"

namespace nearfield::multivector {

enum class TokenType { f32, f16, lvq8, lvq4 };

// Token matrices of documents, back to back.
struct Documents {
    const unsigned char* tokens;  // f32 or f16 [tokens, dims], or code rows (kernels/code_kernels.h)
    TokenType type;
    std::size_t dims;
    std::size_t row_bytes;
    std::size_t count;
    const std::int64_t* offsets;      // [count + 1] rows, or nullptr: every document has the same number
    std::size_t tokens_per_document;  // where there are no offsets

    std::size_t begin(std::size_t document) const {
        return offsets != nullptr ? static_cast<std::size_t>(offsets[document])
                                  : document * tokens_per_document;
    }
    std::size_t end(std::size_t document) const { return begin(document + 1); }
};

struct Queries {
    const float* tokens;          // [offsets[count], dims]
    const std::int64_t* offsets;  // [count + 1]
    std::size_t count;
};

struct Resources {
    std::size_t threads;       // at least 1
    ThreadPool* pool;          // nullptr: threads are started for this call if more than one is wanted
    const CancelFlag* cancel;  // or nullptr
};

struct Candidates {
    const std::int64_t* documents;  // [queries, each], -1 pads
    std::size_t each;
};

// The k best documents of each query by (-MaxSim, number), ascending, where similarity is the inner product
// or the negative distance (l2: squared), of codes the inner product only: `documents_out` and
// `distances_out` are [queries, k], padded with -1 and +inf. Empty documents are never among them. `allow` is
// a bitmap of documents or nullptr. The result does not depend on the threads. Throws Cancelled.
void search(const KernelTable& kernels, const Queries& queries, const Documents& documents, Metric metric,
            std::size_t k, const std::uint64_t* allow, const Resources& resources,
            std::int64_t* documents_out, float* distances_out);

// MaxSim of each query with its candidates, [queries, each]; -inf for pads and empty documents. Throws
// Cancelled.
void score(const KernelTable& kernels, const Queries& queries, const Documents& documents,
           const Candidates& candidates, const Resources& resources, float* scores_out);

// As `search` among each query's candidates; one named twice counts once. Throws Cancelled.
void rerank(const KernelTable& kernels, const Queries& queries, const Documents& documents,
            const Candidates& candidates, std::size_t k, const Resources& resources,
            std::int64_t* documents_out, float* distances_out);

}  // namespace nearfield::multivector
