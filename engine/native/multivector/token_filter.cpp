#include "multivector/token_filter.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace nearfield::multivector {
namespace {

constexpr std::size_t kBlockTokens = 32;      // rounded at once: with the panel they stay in the first cache
constexpr std::size_t kNearTokens = 64;       // multiplied at once
constexpr std::size_t kDocumentTokens = 32;   // documents of fewer have a maximum in too many of them
constexpr std::size_t kFlooredTokens = 8;     // the same where most need no products of floats
constexpr double kRounding = 0x1p-9;          // bfloat16: 8 bits of significand
constexpr double kSumRounding = 0x1p-22;      // of both sums, per dimension
constexpr double kScoreRounding = 0x1p-16;    // of the floats' sum of up to a panel of maxima
constexpr float kSlack = 1.01f;               // for the roundings of the bound itself
constexpr float kFlushedSquare = 0x1p-120f;   // what a lane of squares may lose to flushed denormals
constexpr float kFlushedProduct = 0x1p-110f;  // the same of a product
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::size_t round_up(std::size_t value, std::size_t to) { return (value + to - 1) / to * to; }

// To nearest, ties to even, of a finite number.
std::uint16_t to_bfloat16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

float from_bfloat16(std::uint16_t value) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

}  // namespace

bool FilteredMaxima::pays(const MaxSimKernels& kernels, const PackedQueries& queries,
                          const Documents& documents, bool with_floor) {
    if (documents.type != TokenType::f16 || documents.count == 0 || queries.panels().size() != 1)
        return false;
    if (kernels.filter == nullptr || !kernels.filter->usable()) return false;
    const std::size_t least = with_floor ? kFlooredTokens : kDocumentTokens;
    return documents.end(documents.count - 1) / documents.count >= least &&
           documents.dims >= kernels.filter->alignment;
}

FilteredMaxima::FilteredMaxima(const MaxSimKernels& kernels, const PackedQueries& queries,
                               const Documents& documents)
    : kernels_(kernels),
      filter_(*kernels.filter),
      queries_(queries),
      documents_(documents),
      panel_(queries.panels().front()),
      width_(panel_.vectors * kernels.lanes),
      stride_(round_up(documents.dims, filter_.alignment)),
      query_(stride_ * width_),
      rounded_(kBlockTokens * stride_),
      products_(kTokensMax * width_),
      floats_(kNearTokens * documents.dims),
      margins_(width_),
      squares_(kernels.lanes),
      rounded_maxima_(width_),
      floors_(width_),
      near_(kTokensMax) {
    pack_query();
}

void FilteredMaxima::pack_query() {
    std::fill_n(query_.data(), stride_ * width_, std::uint16_t{0});
    const float* panel = queries_.float_panel(panel_);
    std::vector<double> lengths(width_), errors(width_);  // squared: those of floats may leave their range
    for (std::size_t k = 0; k < documents_.dims; ++k, panel += width_) {
        std::uint16_t* out = query_.data() + k / 2 * width_ * 2 + k % 2;
        for (std::size_t lane = 0; lane < width_; ++lane) {
            const double value = panel[lane];
            const std::uint16_t code = to_bfloat16(panel[lane]);
            const double error = value - from_bfloat16(code);
            out[2 * lane] = code;
            lengths[lane] += value * value;
            errors[lane] += error * error;
        }
    }
    const double relative = kRounding * (1 + kRounding) + static_cast<double>(documents_.dims) * kSumRounding;
    for (std::size_t lane = 0; lane < width_; ++lane) {
        margins_[lane] =
            static_cast<float>(kSlack * (std::sqrt(errors[lane]) + relative * std::sqrt(lengths[lane])));
    }
}

// At least the length of every token of the block.
float FilteredMaxima::longest_token() const {
    float squares = static_cast<float>(stride_) * kFlushedSquare;
    for (const float lane : squares_) squares += lane;
    return kSlack * std::sqrt(squares);
}

// Whether the sum of the largest products is below `floor` even if every rounding went against it. Bounds
// that are not finite are never below.
bool FilteredMaxima::certainly_below(float floor, float longest) const {
    double sum = 0.0, size = 0.0;
    const std::size_t tokens = queries_.tokens() - panel_.first;
    for (std::size_t lane = 0; lane < tokens; ++lane) {
        const double bound = rounded_maxima_[lane] + margins_[lane] * longest + kFlushedProduct;
        sum += bound;
        size += std::abs(bound) + margins_[lane] * longest;
    }
    return sum + kScoreRounding * size < floor;
}

// A token whose rounded product is below the floor has no product above that of the best rounded one. Not
// finite bounds let all pass.
void FilteredMaxima::set_floors(float longest) {
    const std::size_t tokens = queries_.tokens() - panel_.first;  // lanes beyond repeat others or are empty
    for (std::size_t lane = 0; lane < width_; ++lane) {
        floors_[lane] = lane < tokens
                            ? rounded_maxima_[lane] - 2.0f * margins_[lane] * longest - kFlushedProduct
                            : kInfinity;
    }
}

void FilteredMaxima::raise(std::size_t first, std::size_t count, FetchAhead ahead, float floor,
                           float* maxima) {
    const std::size_t dims = documents_.dims;
    const auto* tokens = reinterpret_cast<const std::uint16_t*>(documents_.tokens) + first * dims;
    std::fill(squares_.begin(), squares_.end(), 0.0f);
    std::fill(rounded_maxima_.begin(), rounded_maxima_.end(), -kInfinity);
    const std::size_t blocks = (count + kBlockTokens - 1) / kBlockTokens;
    for (std::size_t block = 0, token = 0; block < blocks; ++block) {
        const std::size_t size = count / blocks + (block < count % blocks ? 1 : 0);
        filter_.round_halves(tokens + token * dims, size, dims, stride_, rounded_.data(), squares_.data());
        // The next block, here or where the caller goes on, is fetched meanwhile.
        const FetchAhead next =
            block + 1 < blocks
                ? FetchAhead{reinterpret_cast<const unsigned char*>(tokens + (token + size) * dims),
                             size * documents_.row_bytes}
                : FetchAhead{ahead.from, std::min(ahead.bytes, kBlockTokens * documents_.row_bytes)};
        filter_.maxima({query_.data(), panel_.vectors, panel_.share, rounded_.data(), stride_, size,
                        stride_ / 2, rounded_maxima_.data(), products_.data() + token * width_, next});
        token += size;
    }
    const float longest = longest_token();
    if (certainly_below(floor, longest)) return;
    set_floors(longest);
    const std::size_t near =
        filter_.near_tokens(products_.data(), count, panel_.vectors, floors_.data(), near_.data());
    multiply_near(tokens, near, maxima);
}

void FilteredMaxima::multiply_near(const std::uint16_t* tokens, std::size_t near, float* maxima) {
    const std::size_t dims = documents_.dims;
    for (std::size_t done = 0; done < near;) {
        const std::size_t count = std::min(near - done, kNearTokens);
        for (std::size_t i = 0; i < count; ++i) {
            kernels_.widen(tokens + near_[done + i] * dims, dims, floats_.data() + i * dims);
        }
        kernels_.float_maxima({queries_.float_panel(panel_),
                               panel_.vectors,
                               panel_.share,
                               floats_.data(),
                               count,
                               dims,
                               maxima,
                               {nullptr, 0}});
        done += count;
    }
}

}  // namespace nearfield::multivector
