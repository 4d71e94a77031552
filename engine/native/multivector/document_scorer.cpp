#include "multivector/document_scorer.h"

#include <algorithm>
#include <limits>

namespace nearfield::multivector {
namespace {

constexpr std::size_t kBlockBytes = 16 * 1024;  // tokens unpacked at once
constexpr std::size_t kBlockTokensMin = 24;     // two tiles of the narrowest panel
constexpr std::size_t kBlockTokensMax = 256;
constexpr std::size_t kFloorBest = 128;  // more answers take longer to keep in order than they save
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::size_t kConstantsAtOnce = 16;  // kernels write the codes' constants in groups of this many

std::size_t block_tokens(const Documents& documents, bool as_codes, bool filtered) {
    if (filtered) return FilteredMaxima::kTokensMax;
    const std::size_t bytes = documents.dims * (as_codes ? 1 : sizeof(float));
    return std::clamp(kBlockBytes / bytes, kBlockTokensMin, kBlockTokensMax);
}

// Codes from token to token: whole blocks of a code row, whichever of both widths.
std::size_t unpacked_stride(std::size_t dims) { return (dims + 127) / 128 * 128; }

}  // namespace

ScoreFloor::ScoreFloor(std::size_t k) : k_(k <= kFloorBest ? k : 0), value_(-kInfinity) {
    best_.reserve(k_ + 1);
}

void ScoreFloor::add(float score, std::int64_t document) {
    if (k_ == 0 || !(score > value_)) return;
    for (const flat::Neighbor& known : best_) {
        if (known.row == document) return;
    }
    best_.push_back({-score, document});
    std::push_heap(best_.begin(), best_.end());
    if (best_.size() > k_) {
        std::pop_heap(best_.begin(), best_.end());
        best_.pop_back();
    }
    if (best_.size() == k_) value_ = -best_.front().distance;
}

DocumentScorer::DocumentScorer(const MaxSimKernels& kernels, const PackedQueries& queries,
                               const Documents& documents, ScoreFloor* floor)
    : kernels_(kernels),
      queries_(queries),
      documents_(documents),
      floor_(floor != nullptr && floor->applies() ? floor : nullptr),
      filtered_(FilteredMaxima::pays(kernels, queries, documents, floor_ != nullptr)
                    ? std::make_optional<FilteredMaxima>(kernels, queries, documents)
                    : std::nullopt),
      block_tokens_(block_tokens(documents, queries.as_codes(), filtered_.has_value())),
      code_stride_(unpacked_stride(documents.dims)),
      maxima_(kBatch * queries.padded_tokens()),
      floats_(documents.type == TokenType::f16 && !filtered_ ? block_tokens_ * documents.dims : 0),
      codes_(queries.as_codes() ? block_tokens_ * code_stride_ * kernels.code_bytes : 0),
      steps_(queries.as_codes() ? block_tokens_ + (kBatch + 1) * kConstantsAtOnce : 0),
      biases_(steps_.size()) {}

void DocumentScorer::score(const std::int64_t* documents, std::size_t count, float* out) {
    std::fill_n(maxima_.data(), count * queries_.padded_tokens(), -kInfinity);
    cut(documents, count);
    if (filtered_) raise_filtered(documents);
    for (std::size_t first = 0; !filtered_ && first < pieces_.size();) {
        const std::size_t last = block_end(first);
        if (documents_.type != TokenType::f32) unpack(first, last);
        multiply(first, last);
        first = last;
    }
    for (std::size_t q = 0; q < queries_.count(); ++q) {
        for (std::size_t i = 0; i < count; ++i) {
            out[q * count + i] = queries_.score(q, maxima_.data() + i * queries_.padded_tokens());
        }
    }
}

void DocumentScorer::raise_filtered(const std::int64_t* documents) {
    for (std::size_t p = 0; p < pieces_.size(); ++p) {
        const Piece& piece = pieces_[p];
        const bool begins = p == 0 || pieces_[p - 1].place != piece.place;
        const bool ends = p + 1 == pieces_.size() || pieces_[p + 1].place != piece.place;
        float* maxima = maxima_.data() + piece.place * queries_.padded_tokens();
        const float least = floor_ != nullptr && begins && ends ? floor_->value() : -kInfinity;
        filtered_->raise(piece.first, piece.count, ahead_of(p + 1), least, maxima);
        if (floor_ != nullptr && ends) floor_->add(queries_.score(0, maxima), documents[piece.place]);
    }
}

void DocumentScorer::cut(const std::int64_t* documents, std::size_t count) {
    pieces_.clear();
    for (std::size_t i = 0; i < count; ++i) {
        const auto document = static_cast<std::size_t>(documents[i]);
        std::size_t first = documents_.begin(document);
        const std::size_t tokens = documents_.end(document) - first;
        const std::size_t parts = (tokens + block_tokens_ - 1) / block_tokens_;
        for (std::size_t part = 0; part < parts; ++part) {
            const std::size_t size = tokens / parts + (part < tokens % parts ? 1 : 0);
            pieces_.push_back({i, first, size});
            first += size;
        }
    }
}

// The first piece after `first_piece` that does not fit into its block.
std::size_t DocumentScorer::block_end(std::size_t first_piece) const {
    std::size_t tokens = 0;
    std::size_t piece = first_piece;
    while (piece < pieces_.size() && tokens + pieces_[piece].count <= block_tokens_)
        tokens += pieces_[piece++].count;
    return piece;
}

void DocumentScorer::unpack(std::size_t first_piece, std::size_t last_piece) {
    std::size_t token = 0, constant = 0;
    for (std::size_t p = first_piece; p < last_piece; ++p) {
        const Piece& piece = pieces_[p];
        const unsigned char* from = documents_.tokens + piece.first * documents_.row_bytes;
        if (documents_.type == TokenType::f16) {
            kernels_.widen(reinterpret_cast<const std::uint16_t*>(from), piece.count * documents_.dims,
                           floats_.data() + token * documents_.dims);
        } else {
            const PackedTokens packed{from,
                                      documents_.row_bytes,
                                      piece.count,
                                      documents_.dims,
                                      codes_.data() + token * code_stride_ * kernels_.code_bytes,
                                      code_stride_,
                                      steps_.data() + constant,
                                      biases_.data() + constant};
            (documents_.type == TokenType::lvq4 ? kernels_.unpack4 : kernels_.unpack8)(packed);
        }
        token += piece.count;
        constant += (piece.count + kConstantsAtOnce - 1) / kConstantsAtOnce * kConstantsAtOnce;
    }
}

FetchAhead DocumentScorer::ahead_of(std::size_t piece) const {
    if (piece >= pieces_.size()) return {nullptr, 0};
    return {documents_.tokens + pieces_[piece].first * documents_.row_bytes,
            pieces_[piece].count * documents_.row_bytes};
}

void DocumentScorer::multiply(std::size_t first_piece, std::size_t last_piece) {
    bool fetch = true;  // the first panel over a block fetches the next one
    for (const PackedQueries::Panel& panel : queries_.panels()) {
        std::size_t token = 0, constant = 0;
        for (std::size_t p = first_piece; p < last_piece; ++p) {
            const Piece& piece = pieces_[p];
            const FetchAhead ahead = fetch ? ahead_of(p + last_piece - first_piece) : FetchAhead{nullptr, 0};
            float* maxima = maxima_.data() + piece.place * queries_.padded_tokens() + panel.first;
            if (queries_.as_codes()) {
                const unsigned char* codes = codes_.data() + token * code_stride_ * kernels_.code_bytes;
                kernels_.code_maxima({queries_.code_panel(panel), panel.vectors, panel.share,
                                      queries_.sums(panel), codes, code_stride_, steps_.data() + constant,
                                      biases_.data() + constant, piece.count, queries_.groups(), maxima,
                                      ahead});
            } else {
                const void* stored = documents_.tokens + piece.first * documents_.row_bytes;
                const float* tokens = documents_.type == TokenType::f32
                                          ? static_cast<const float*>(stored)
                                          : floats_.data() + token * documents_.dims;
                kernels_.float_maxima({queries_.float_panel(panel), panel.vectors, panel.share, tokens,
                                       piece.count, documents_.dims, maxima, ahead});
            }
            token += piece.count;
            constant += (piece.count + kConstantsAtOnce - 1) / kConstantsAtOnce * kConstantsAtOnce;
        }
        fetch = false;
    }
}

}  // namespace nearfield::multivector
