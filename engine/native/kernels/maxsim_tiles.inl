// MaxSim kernels in terms of a tier's primitives; included inside its anonymous namespace. A tier provides
//   kLanes, kPanelVectors, kMostShare
//   rows_of(vectors, share): document tokens of a tile whose sums and operands fit the registers
//   Vec: kLanes floats; zero(), load(floats), store(floats, Vec), spread(float*), multiply_add(a, b, sum),
//   multiply, largest(a, b), total(Vec), load_first(floats, count): zeros beyond
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

constexpr std::size_t kCodeBlock = 64;
constexpr std::size_t kCodeTail = 8;  // step f16, bias f16, norm f32
constexpr std::size_t kFetchDims = 16;
constexpr std::size_t kLineBytes = 64;

// Spreads the lines to fetch over the steps of a tile.
class Fetcher {
public:
    Fetcher(const FetchAhead& ahead, std::size_t steps)
        : next_(ahead.from),
          left_((ahead.bytes + kLineBytes - 1) / kLineBytes),
          each_(steps == 0 ? 0 : (left_ + steps - 1) / steps) {}

    inline __attribute__((always_inline)) void step() {
        std::size_t lines = each_ < left_ ? each_ : left_;
        left_ -= lines;
        for (; lines > 0; --lines, next_ += kLineBytes) __builtin_prefetch(next_, 0, 3);
    }

private:
    const unsigned char* next_;
    std::size_t left_;
    std::size_t each_;
};

// The sums of one tile. The last register of query tokens may hold few of them, `Share` times over: it then
// meets that many document tokens at once, mixed into one register.
template <class T, std::size_t Vectors, std::size_t Rows, std::size_t Share>
struct Sums {
    static constexpr std::size_t kGroups = (Rows + Share - 1) / Share;
    T whole[Rows][Vectors];  // all but the last of each
    T shared[kGroups];
};

template <class T, std::size_t Vectors, std::size_t Rows, std::size_t Share>
inline __attribute__((always_inline)) void clear(Sums<T, Vectors, Rows, Share>& sums, T nothing) {
#pragma GCC unroll 16
    for (std::size_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
        for (std::size_t v = 0; v + 1 < Vectors; ++v) sums.whole[r][v] = nothing;
    }
#pragma GCC unroll 16
    for (std::size_t g = 0; g < sums.kGroups; ++g) sums.shared[g] = nothing;
}

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

template <std::size_t Vectors, std::size_t Rows, std::size_t Share>
void float_tile(const FloatTokens& t, std::size_t first, Fetcher& fetcher) {
    const float* tokens = t.tokens + first * t.dims;
    Sums<Vec, Vectors, Rows, Share> sums;
    clear(sums, zero());
    std::size_t k = 0;
    for (; k + kFetchDims <= t.dims; k += kFetchDims) {
        fetcher.step();
        multiply_dims(sums, t.panel + k * Vectors * kLanes, tokens + k, t.dims, kFetchDims);
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
    for (std::size_t n = 0; n < t.groups; ++n, panel += Vectors * kLanes * kGroup, codes += kGroup) {
        Codes query[Vectors];
#pragma GCC unroll 16
        for (std::size_t v = 0; v < Vectors; ++v) query[v] = load_codes(panel + v * kLanes * kGroup);
#pragma GCC unroll 16
        for (std::size_t g = 0; g < sums.kGroups; ++g) {
            Codes token[Share];
#pragma GCC unroll 16
            for (std::size_t i = 0; i < Share; ++i) {
                const std::size_t r = g * Share + i;
                if (r >= Rows) {
                    token[i] = token[0];
                    continue;
                }
                token[i] = spread_codes(codes + r * t.stride);
#pragma GCC unroll 16
                for (std::size_t v = 0; v + 1 < Vectors; ++v) {
                    sums.whole[r][v] = add_products(sums.whole[r][v], token[i], query[v]);
                }
            }
            sums.shared[g] = add_products(sums.shared[g], mix_codes<Share>(token), query[Vectors - 1]);
        }
    }
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

// Tiles of `rows` tokens from `first`, `count` of them.
template <class Tiles, std::size_t Vectors, std::size_t Rows, std::size_t Share>
void run_tiles(const typename Tiles::Tokens& t, std::size_t first, std::size_t count, std::size_t rows,
               Fetcher& fetcher) {
    if (rows == Rows) {
        for (; count > 0; --count, first += Rows) {
            Tiles::template tile<Vectors, Rows, Share>(t, first, fetcher);
        }
    } else if constexpr (Rows > 1) {
        run_tiles<Tiles, Vectors, Rows - 1, Share>(t, first, count, rows, fetcher);
    }
}

// Tokens in as few tiles as fit, of sizes as equal as they get: a last tile of one or two tokens would leave
// the multipliers waiting for each other.
template <class Tiles, std::size_t Vectors, std::size_t Share>
void maxima_of(const typename Tiles::Tokens& t) {
    if constexpr (Vectors > 1) {
        if (t.vectors < Vectors) return maxima_of<Tiles, Vectors - 1, Share>(t);
    }
    constexpr std::size_t kRows = rows_of(Vectors, Share);
    const std::size_t tiles = (t.count + kRows - 1) / kRows;
    if (tiles == 0) return;
    const std::size_t rows = t.count / tiles, larger = t.count % tiles;
    Fetcher fetcher(t.ahead, tiles * Tiles::steps(t));
    run_tiles<Tiles, Vectors, kRows, Share>(t, 0, larger, rows + 1, fetcher);
    run_tiles<Tiles, Vectors, kRows, Share>(t, larger * (rows + 1), tiles - larger, rows, fetcher);
}

template <class Tiles, std::size_t Share>
void shared_maxima(const typename Tiles::Tokens& t) {
    if constexpr (Share > 1) {
        if (t.share < Share) return shared_maxima<Tiles, Share / 2>(t);
    }
    maxima_of<Tiles, kPanelVectors, Share>(t);
}

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
