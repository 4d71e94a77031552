#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/maxsim_kernels.h"
#include "multivector/maxsim.h"
#include "multivector/packed_queries.h"

namespace nearfield::multivector {

// MaxSim of one panel of query tokens with half-precision documents without all of its products: those of
// rounded tokens are within a bound of the true ones, so only tokens that come within it of a query token's
// best are multiplied as floats. The maxima are bit for bit those of `float_maxima` over all tokens. One
// thread's.
class FilteredMaxima {
public:
    static constexpr std::size_t kTokensMax = 256;  // of one call

    // Whether there are kernels for it here and it is worth its rounding: for shorter documents, too, if most
    // of them are going to be below a floor.
    static bool pays(const MaxSimKernels& kernels, const PackedQueries& queries, const Documents& documents,
                     bool with_floor);

    FilteredMaxima(const MaxSimKernels& kernels, const PackedQueries& queries, const Documents& documents);

    // Raises `maxima` to the products with tokens first .. first + count of the documents, unless the query
    // tokens' largest ones certainly sum up to less than `floor`: then they stay as they are.
    void raise(std::size_t first, std::size_t count, FetchAhead ahead, float floor, float* maxima);

private:
    void pack_query();
    float longest_token() const;
    bool certainly_below(float floor, float longest) const;
    void set_floors(float longest);
    void multiply_near(const std::uint16_t* tokens, std::size_t near, float* maxima);

    const MaxSimKernels& kernels_;
    const TokenFilter& filter_;
    const PackedQueries& queries_;
    const Documents& documents_;
    PackedQueries::Panel panel_;
    std::size_t width_;  // lanes of the panel
    std::size_t stride_;
    AlignedArray<std::uint16_t> query_;    // the panel, rounded
    AlignedArray<std::uint16_t> rounded_;  // a block of tokens
    AlignedArray<float> products_;
    AlignedArray<float> floats_;  // near tokens
    std::vector<float> margins_;  // [lane] bound of a product's error, for a token of unit length
    std::vector<float> squares_, rounded_maxima_, floors_;
    std::vector<std::uint32_t> near_;
};

}  // namespace nearfield::multivector
