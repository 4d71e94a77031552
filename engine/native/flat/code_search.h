#pragma once

#include <cstddef>
#include <cstdint>

#include "flat/flat_search.h"

namespace nearfield::flat {

// Rows of 4-bit codes (kernels/code_kernels.h) in two planes: the first codes of a row and its constants, and
// further codes that are scaled alike. Strides are multiples of 64 bytes.
struct CodePlanes {
    const std::uint8_t* first;  // [count, first_stride]
    const std::uint8_t* rest;   // [count, rest_stride]
    std::size_t count;
    std::size_t first_stride;
    std::size_t rest_stride;  // may be 0

    std::size_t first_places() const { return 2 * first_stride; }  // of codes, the constants' included
    std::size_t places() const { return 2 * (first_stride + rest_stride); }
};

// The k allowed rows of largest inner product with each query, descending, equal ones by row, among about
// `kept` whose products with the first plane are largest (all, where not more than twice as many are
// allowed): rows_out and distances_out (negated products) are [queries, k], padded with -1 and +inf. A query
// is [rows.places()], in the order of the codes of the first plane, then of the other, zero where constants
// lie; what meets either plane is rounded to 8 bits. The metric of `options` means nothing. The same for any
// number of threads and any batch a query comes in. Throws Cancelled.
void search_codes(const KernelTable& kernels, const Queries& queries, const CodePlanes& rows,
                  std::size_t kept, const SearchOptions& options, std::int64_t* rows_out,
                  float* distances_out);

}  // namespace nearfield::flat
