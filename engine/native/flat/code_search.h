#pragma once

#include <cstddef>
#include <cstdint>

#include "flat/flat_search.h"

namespace nearfield::flat {

// LVQ4 rows (kernels/code_kernels.h), each of a whole number of 64-byte blocks, constants included.
struct NibbleRows {
    const std::uint8_t* data;  // [count, stride]
    std::size_t count;
    std::size_t stride;

    std::size_t blocks() const { return stride / 64; }
    std::size_t places() const { return 2 * stride; }  // of codes, those of the constants included
};

// The k allowed rows of largest inner product with each query, descending, equal ones by row: rows_out and
// distances_out (negated products) are [queries, k], padded with -1 and +inf. A query is [rows.places()], in
// the order of the codes in a row, zero where constants lie; it is rounded to 8 bits. The metric of `options`
// means nothing. The same for any number of threads; from a few queries on, products may differ from those of
// single queries in the last bit. Throws Cancelled.
void search_codes(const KernelTable& kernels, const Queries& queries, const NibbleRows& rows,
                  const SearchOptions& options, std::int64_t* rows_out, float* distances_out);

}  // namespace nearfield::flat
