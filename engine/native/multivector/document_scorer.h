#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "flat/nearest.h"
#include "kernels/maxsim_kernels.h"
#include "multivector/maxsim.h"
#include "multivector/packed_queries.h"
#include "multivector/token_filter.h"

namespace nearfield::multivector {

// What a document must score to be among the k best of those added so far, none counted twice; -inf where it
// is not known.
class ScoreFloor {
public:
    explicit ScoreFloor(std::size_t k);

    float value() const { return value_; }
    bool applies() const { return k_ > 0; }
    void add(float score, std::int64_t document);

private:
    std::size_t k_;  // 0: nothing is known
    float value_;
    std::vector<flat::Neighbor> best_;  // a heap: the k-th best in front
};

// Scores packed queries against documents; one thread's. Documents are cut into blocks of tokens that stay in
// the first-level cache while every panel of query tokens meets them; halves and codes are unpacked there,
// once for all panels. A single panel may meet most tokens rounded (`FilteredMaxima`).
class DocumentScorer {
public:
    static constexpr std::size_t kBatch = 64;  // most documents at once

    // floor: of one query, its scores are added to it; or nullptr.
    DocumentScorer(const MaxSimKernels& kernels, const PackedQueries& queries, const Documents& documents,
                   ScoreFloor* floor = nullptr);

    // out[q * count + i] = MaxSim of query q with documents[i], none of which may be empty; or -inf where it
    // is certainly below the floor.
    void score(const std::int64_t* documents, std::size_t count, float* out);

private:
    // Consecutive tokens of one document.
    struct Piece {
        std::size_t place;  // of the document in the batch
        std::size_t first;  // token
        std::size_t count;
    };

    void cut(const std::int64_t* documents, std::size_t count);
    std::size_t block_end(std::size_t first_piece) const;
    void unpack(std::size_t first_piece, std::size_t last_piece);
    void multiply(std::size_t first_piece, std::size_t last_piece);
    FetchAhead ahead_of(std::size_t piece) const;
    void raise_filtered(const std::int64_t* documents);

    const MaxSimKernels& kernels_;
    const PackedQueries& queries_;
    const Documents& documents_;
    ScoreFloor* floor_;
    std::optional<FilteredMaxima> filtered_;
    std::size_t block_tokens_;
    std::size_t code_stride_;
    std::vector<Piece> pieces_;
    AlignedArray<float> maxima_;         // [place][query token]
    AlignedArray<float> floats_;         // tokens of a block, widened
    AlignedArray<unsigned char> codes_;  // the same, unpacked
    std::vector<float> steps_, biases_;  // of the block's tokens
};

}  // namespace nearfield::multivector
