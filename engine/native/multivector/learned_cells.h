#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "multivector/fde.h"

namespace nearfield::multivector {

// The query side of the projection of one cell after the other: y[j] += scale[cell, j] * <codes[cell, j], q>.
struct QuerySide {
    const std::int8_t* codes;  // [cells, width, dims rounded up to 64], zeros beyond dims
    const float* scales;       // [cells, width]
    const std::int32_t* sums;  // [cells, width], sums of the codes
    std::size_t width;
};

// Encodings with one repetition over learned cells. A query's token belongs to the cell whose centre it has
// the largest product with. The block of a document's cell is the softmax mean of all its tokens by their
// products with the centre, less `mean`: close to the token that wins MaxSim for the queries of that cell.
// Documents without tokens are all zeros.
class LearnedCells {
public:
    // centres: [cells, dims]; mean: [dims].
    LearnedCells(const float* centres, std::size_t cells, std::size_t dims, const float* mean);

    std::size_t cells() const { return cells_; }
    std::size_t dims() const { return dims_; }

    // out: [tokens], the cell of every token.
    void assign(const Work& work, const float* tokens, std::size_t count, std::int32_t* out) const;
    // out: [count, cells * dims], the blocks themselves.
    void blocks(const Work& work, const TokenSets& sets, float* out) const;
    // out: [count, width] = -origin + sum over cells of projection[cell] * block, without the blocks ever
    // being in memory together. projection: [cells] matrices [width, dims].
    void encode_documents(const Work& work, const TokenSets& sets, const std::vector<Panels>& projection,
                          const float* origin, std::size_t width, float* out) const;
    // out: [count, width]. Tokens are quantised to int8.
    void encode_queries(const Work& work, const TokenSets& sets, const QuerySide& side, float* out) const;

private:
    class Members;
    // A token of a query.
    struct Asking {
        std::size_t cell;
        std::size_t set;
        std::size_t number;
    };

    std::vector<Asking> by_cell(const Work& work, const TokenSets& sets, std::size_t first,
                                std::size_t last) const;

    std::size_t cells_;
    std::size_t dims_;
    Panels centres_;
    std::vector<float> mean_;
};

}  // namespace nearfield::multivector
