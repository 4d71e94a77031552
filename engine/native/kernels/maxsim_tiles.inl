// MaxSim kernels in terms of a tier's primitives; included inside its anonymous namespace. A tier provides
//   kLanes, kPanelVectors, kMostShare
//   rows_of(vectors, share): document tokens of a tile whose sums and operands fit the registers
//   Vec: kLanes floats; zero(), load(floats), store(floats, Vec), spread(float*), multiply_add(a, b, sum),
//   multiply, largest(a, b), total(Vec), load_first(floats, count): zeros beyond
//   PairSplit: kPays; where it does, spread(floats): two in turns, first(Vec), second(Vec): one of them in
//   every lane
//   mix<share>(Vec*): part i of the lanes from register i; fold<share>(Vec): the largest of the parts, in the
//   first
//   widen_some(halves, out): kWidened of them
//   Ints: kLanes int32; zero_ints(), to_floats(Ints)
//   Code, Codes, kGroup; load_codes(Code*), spread_codes(Code*): one group in every lane,
//   mix_codes<share>(Codes*), add_products(sums, document, query)
//   spread4(block, low, high), spread8(block, out): 64 bytes of a code row to codes
//   split_halves(pairs of halves [16], low [16], high [16])
// Every product sums its dimensions in order in one lane, whatever the tile, so a score does not depend on
// what else is computed with it.

#include "kernels/maxsim_shapes.inl"

constexpr std::size_t kCodeBlock = 64;
constexpr std::size_t kCodeTail = 8;  // step f16, bias f16, norm f32
constexpr std::size_t kFetchDims = 16;

template <std::size_t Vectors, std::size_t Rows, std::size_t Share>
inline __attribute__((always_inline)) void multiply_dims(Sums<Vec, Vectors, Rows, Share>& sums,
                                                         const float* panel, const float* tokens,
                                                         std::size_t stride, std::size_t dims) {
    for (std::size_t k = 0; k < dims; ++k, panel += Vectors * kLanes, ++tokens) {
        Vec query[Vectors];
#pragma GCC unroll 16
        for (std::size_t v = 0; v < Vectors; ++v) query[v] = load(panel + v * kLanes);
#pragma GCC unroll 16
        for (std::size_t g = 0; g < sums.kGroups; ++g) {
            Vec token[Share];
#pragma GCC unroll 16
            for (std::size_t i = 0; i < Share; ++i) {
                const std::size_t r = g * Share + i;
                if (r >= Rows) {
                    token[i] = token[0];  // beyond the tile: any of its tokens
                    continue;
                }
                token[i] = spread(tokens + r * stride);
#pragma GCC unroll 16
                for (std::size_t v = 0; v + 1 < Vectors; ++v) {
                    sums.whole[r][v] = multiply_add(query[v], token[i], sums.whole[r][v]);
                }
            }
            sums.shared[g] = multiply_add(query[Vectors - 1], mix<Share>(token), sums.shared[g]);
        }
    }
}

// The same for one register of query tokens and an even number of dimensions, where as many broadcasts as
// products would hold the multipliers up: coordinates are broadcast in twos and split in registers.
template <class Split, std::size_t Rows, std::size_t Share>
inline __attribute__((always_inline)) void multiply_pairs(Sums<Vec, 1, Rows, Share>& sums, const float* panel,
                                                          const float* tokens, std::size_t stride,
                                                          std::size_t dims) {
    for (std::size_t k = 0; k < dims; k += 2, panel += 2 * kLanes, tokens += 2) {
        const Vec first = load(panel), second = load(panel + kLanes);
#pragma GCC unroll 16
        for (std::size_t r = 0; r < Rows; ++r) {
            const Vec pair = Split::spread(tokens + r * stride);
            sums.shared[r] = multiply_add(first, Split::first(pair), sums.shared[r]);
            sums.shared[r] = multiply_add(second, Split::second(pair), sums.shared[r]);
        }
    }
}

template <std::size_t Vectors, std::size_t Rows, std::size_t Share>
void float_tile(const FloatTokens& t, std::size_t first, Fetcher& fetcher) {
    const float* tokens = t.tokens + first * t.dims;
    Sums<Vec, Vectors, Rows, Share> sums;
    clear(sums, zero());
    std::size_t k = 0;
    for (; k + kFetchDims <= t.dims; k += kFetchDims) {
        fetcher.step();
        if constexpr (PairSplit::kPays && Vectors == 1 && Share == 1) {
            multiply_pairs<PairSplit>(sums, t.panel + k * kLanes, tokens + k, t.dims, kFetchDims);
        } else {
            multiply_dims(sums, t.panel + k * Vectors * kLanes, tokens + k, t.dims, kFetchDims);
        }
    }
    multiply_dims(sums, t.panel + k * Vectors * kLanes, tokens + k, t.dims, t.dims - k);
#pragma GCC unroll 16
    for (std::size_t v = 0; v + 1 < Vectors; ++v) {
        Vec maximum = load(t.maxima + v * kLanes);
#pragma GCC unroll 16
        for (std::size_t r = 0; r < Rows; ++r) maximum = largest(maximum, sums.whole[r][v]);
        store(t.maxima + v * kLanes, maximum);
    }
    Vec maximum = load(t.maxima + (Vectors - 1) * kLanes);
#pragma GCC unroll 16
    for (std::size_t g = 0; g < sums.kGroups; ++g) maximum = largest(maximum, sums.shared[g]);
    store(t.maxima + (Vectors - 1) * kLanes, fold<Share>(maximum));
}

template <std::size_t Vectors, std::size_t Rows, std::size_t Share>
void code_tile(const CodeTokens& t, std::size_t first, Fetcher& fetcher) {
    Sums<Ints, Vectors, Rows, Share> sums;
    clear(sums, zero_ints());
    const auto* panel = static_cast<const Code*>(t.panel);
    const auto* codes = static_cast<const Code*>(t.codes) + first * t.stride;
    fetcher.step();
    multiply_groups(sums, panel, codes, t.stride, t.groups);
    const float* steps = t.steps + first;
    const float* biases = t.biases + first;
#pragma GCC unroll 16
    for (std::size_t v = 0; v + 1 < Vectors; ++v) {
        Vec maximum = load(t.maxima + v * kLanes);
        const Vec query_sum = load(t.sums + v * kLanes);
#pragma GCC unroll 16
        for (std::size_t r = 0; r < Rows; ++r) {
            const Vec product = multiply(spread(steps + r), to_floats(sums.whole[r][v]));
            maximum = largest(maximum, multiply_add(spread(biases + r), query_sum, product));
        }
        store(t.maxima + v * kLanes, maximum);
    }
    Vec maximum = load(t.maxima + (Vectors - 1) * kLanes);
    const Vec query_sum = load(t.sums + (Vectors - 1) * kLanes);
#pragma GCC unroll 16
    for (std::size_t g = 0; g < sums.kGroups; ++g) {
        Vec step[Share], bias[Share];
#pragma GCC unroll 16
        for (std::size_t i = 0; i < Share; ++i) {
            const std::size_t r = g * Share + i < Rows ? g * Share + i : g * Share;
            step[i] = spread(steps + r);
            bias[i] = spread(biases + r);
        }
        const Vec product = multiply(mix<Share>(step), to_floats(sums.shared[g]));
        maximum = largest(maximum, multiply_add(mix<Share>(bias), query_sum, product));
    }
    store(t.maxima + (Vectors - 1) * kLanes, fold<Share>(maximum));
}

struct FloatTiles {
    using Tokens = FloatTokens;
    static std::size_t steps(const Tokens& t) { return t.dims / kFetchDims; }
    template <std::size_t Vectors, std::size_t Rows, std::size_t Share>
    static void tile(const Tokens& t, std::size_t first, Fetcher& fetcher) {
        float_tile<Vectors, Rows, Share>(t, first, fetcher);
    }
};

struct CodeTiles {
    using Tokens = CodeTokens;
    static std::size_t steps(const Tokens&) { return 1; }
    template <std::size_t Vectors, std::size_t Rows, std::size_t Share>
    static void tile(const Tokens& t, std::size_t first, Fetcher& fetcher) {
        code_tile<Vectors, Rows, Share>(t, first, fetcher);
    }
};

void float_maxima(const FloatTokens& tokens) { shared_maxima<FloatTiles, kMostShare>(tokens); }
void code_maxima(const CodeTokens& tokens) { shared_maxima<CodeTiles, kMostShare>(tokens); }

template <int Bits>
void unpack(const PackedTokens& t) {
    constexpr std::size_t kDims = Bits == 4 ? 2 * kCodeBlock : kCodeBlock;
    for (std::size_t i = 0; i < t.count; ++i) {
        const std::uint8_t* row = t.rows + i * t.row_bytes;
        Code* out = static_cast<Code*>(t.codes) + i * t.stride;
        for (std::size_t first = 0; first < t.dims; first += kDims, row += kCodeBlock) {
            const std::size_t left = t.dims - first;
            const std::size_t half = left >= kDims ? kCodeBlock : (left + 1) / 2;
            const std::size_t bytes = Bits == 4 ? half : left < kCodeBlock ? left : kCodeBlock;
            std::uint8_t padded[kCodeBlock];
            const std::uint8_t* block = row;
            if (bytes < kCodeBlock) {
                __builtin_memset(padded, 0, kCodeBlock);
                __builtin_memcpy(padded, row, bytes);
                block = padded;
            }
            if constexpr (Bits == 4) {
                spread4(block, out + first, out + first + half);  // the high half ends what the low one began
            } else {
                spread8(block, out + first);
            }
        }
    }
    const std::uint8_t* tails = t.rows + t.row_bytes - kCodeTail;
    for (std::size_t i = 0; i < t.count; i += 16) {
        std::uint32_t pairs[16] = {};
        for (std::size_t j = 0; j < 16 && i + j < t.count; ++j) {
            __builtin_memcpy(pairs + j, tails + (i + j) * t.row_bytes, sizeof *pairs);
        }
        split_halves(pairs, t.steps + i, t.biases + i);
    }
}

void widen(const std::uint16_t* halves, std::size_t count, float* out) {
    std::size_t i = 0;
    for (; i + kWidened <= count; i += kWidened) widen_some(halves + i, out + i);
    if (i == count) return;
    std::uint16_t some[kWidened] = {};
    float widened[kWidened];
    __builtin_memcpy(some, halves + i, (count - i) * sizeof *some);
    widen_some(some, widened);
    __builtin_memcpy(out + i, widened, (count - i) * sizeof *out);
}

float weighted_sum(const float* maxima, const float* weights, std::size_t count) {
    Vec sum = zero();
    std::size_t i = 0;
    for (; i + kLanes <= count; i += kLanes) sum = multiply_add(load(maxima + i), load(weights + i), sum);
    if (i < count) {
        sum = multiply_add(load_first(maxima + i, count - i), load_first(weights + i, count - i), sum);
    }
    return total(sum);
}
