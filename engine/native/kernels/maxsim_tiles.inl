// MaxSim kernels in terms of a tier's primitives; included inside its anonymous namespace. A tier provides
//   kLanes, kPanelVectors, rows_of(vectors): document tokens of one tile, so that sums, query registers and a
//   broadcast one fit the registers; Vec: kLanes floats; zero(), load(floats), store(floats, Vec),
//   spread(float*), multiply_add(a, b, sum), multiply, largest(a, b), total(Vec), load_first(floats, count):
//   zeros beyond; widen_some(halves, count, out) Ints: kLanes int32; Code, kGroup, zero_ints(),
//   load_codes(Code*), spread_codes(Code*): one group in every lane, add_products(sums, document, query),
//   to_floats(Ints); spread4(block, low, high), spread8(block, out): 64 bytes of a code row to codes,
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

template <std::size_t Vectors, std::size_t Rows>
inline __attribute__((always_inline)) void multiply_dims(Vec (&sums)[Rows][Vectors], const float* panel,
                                                         const float* tokens, std::size_t stride,
                                                         std::size_t dims) {
    for (std::size_t k = 0; k < dims; ++k, panel += Vectors * kLanes, ++tokens) {
        Vec query[Vectors];
#pragma GCC unroll 16
        for (std::size_t v = 0; v < Vectors; ++v) query[v] = load(panel + v * kLanes);
#pragma GCC unroll 16
        for (std::size_t r = 0; r < Rows; ++r) {
            const Vec token = spread(tokens + r * stride);
#pragma GCC unroll 16
            for (std::size_t v = 0; v < Vectors; ++v) sums[r][v] = multiply_add(query[v], token, sums[r][v]);
        }
    }
}

template <std::size_t Vectors, std::size_t Rows>
void float_tile(const FloatTokens& t, const float* tokens, Fetcher& fetcher) {
    Vec sums[Rows][Vectors];
#pragma GCC unroll 16
    for (std::size_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
        for (std::size_t v = 0; v < Vectors; ++v) sums[r][v] = zero();
    }
    const float* panel = t.panel;
    std::size_t k = 0;
    for (; k + kFetchDims <= t.dims; k += kFetchDims) {
        fetcher.step();
        multiply_dims(sums, panel + k * Vectors * kLanes, tokens + k, t.dims, kFetchDims);
    }
    multiply_dims(sums, panel + k * Vectors * kLanes, tokens + k, t.dims, t.dims - k);
#pragma GCC unroll 16
    for (std::size_t v = 0; v < Vectors; ++v) {
        Vec maximum = load(t.maxima + v * kLanes);
#pragma GCC unroll 16
        for (std::size_t r = 0; r < Rows; ++r) maximum = largest(maximum, sums[r][v]);
        store(t.maxima + v * kLanes, maximum);
    }
}

template <std::size_t Vectors, std::size_t Rows>
void code_tile(const CodeTokens& t, std::size_t first, Fetcher& fetcher) {
    Ints sums[Rows][Vectors];
#pragma GCC unroll 16
    for (std::size_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
        for (std::size_t v = 0; v < Vectors; ++v) sums[r][v] = zero_ints();
    }
    const auto* panel = static_cast<const Code*>(t.panel);
    const auto* codes = static_cast<const Code*>(t.codes) + first * t.stride;
    fetcher.step();
    for (std::size_t g = 0; g < t.groups; ++g, panel += Vectors * kLanes * kGroup, codes += kGroup) {
        Codes query[Vectors];
#pragma GCC unroll 16
        for (std::size_t v = 0; v < Vectors; ++v) query[v] = load_codes(panel + v * kLanes * kGroup);
#pragma GCC unroll 16
        for (std::size_t r = 0; r < Rows; ++r) {
            const Codes token = spread_codes(codes + r * t.stride);
#pragma GCC unroll 16
            for (std::size_t v = 0; v < Vectors; ++v) sums[r][v] = add_products(sums[r][v], token, query[v]);
        }
    }
#pragma GCC unroll 16
    for (std::size_t v = 0; v < Vectors; ++v) {
        Vec maximum = load(t.maxima + v * kLanes);
        const Vec query_sum = load(t.sums + v * kLanes);
#pragma GCC unroll 16
        for (std::size_t r = 0; r < Rows; ++r) {
            const Vec product = multiply(spread(t.steps + first + r), to_floats(sums[r][v]));
            maximum = largest(maximum, multiply_add(spread(t.biases + first + r), query_sum, product));
        }
        store(t.maxima + v * kLanes, maximum);
    }
}

// Tiles of `rows` tokens from `first`, `count` of them.
template <std::size_t Vectors, std::size_t Rows>
void float_tiles(const FloatTokens& t, std::size_t first, std::size_t count, std::size_t rows,
                 Fetcher& fetcher) {
    if (rows == Rows) {
        for (; count > 0; --count, first += Rows)
            float_tile<Vectors, Rows>(t, t.tokens + first * t.dims, fetcher);
    } else if constexpr (Rows > 1) {
        float_tiles<Vectors, Rows - 1>(t, first, count, rows, fetcher);
    }
}

template <std::size_t Vectors, std::size_t Rows>
void code_tiles(const CodeTokens& t, std::size_t first, std::size_t count, std::size_t rows,
                Fetcher& fetcher) {
    if (rows == Rows) {
        for (; count > 0; --count, first += Rows) code_tile<Vectors, Rows>(t, first, fetcher);
    } else if constexpr (Rows > 1) {
        code_tiles<Vectors, Rows - 1>(t, first, count, rows, fetcher);
    }
}

// Tokens in as few tiles as fit, of sizes as equal as they get: a last tile of one or two tokens would leave
// the multipliers waiting for each other.
template <std::size_t Vectors>
void float_maxima_of(const FloatTokens& t) {
    if constexpr (Vectors > 1) {
        if (t.vectors < Vectors) return float_maxima_of<Vectors - 1>(t);
    }
    constexpr std::size_t kRows = rows_of(Vectors);
    const std::size_t tiles = (t.count + kRows - 1) / kRows;
    if (tiles == 0) return;
    const std::size_t rows = t.count / tiles, larger = t.count % tiles;
    Fetcher fetcher(t.ahead, tiles * (t.dims / kFetchDims));
    float_tiles<Vectors, kRows>(t, 0, larger, rows + 1, fetcher);
    float_tiles<Vectors, kRows>(t, larger * (rows + 1), tiles - larger, rows, fetcher);
}

template <std::size_t Vectors>
void code_maxima_of(const CodeTokens& t) {
    if constexpr (Vectors > 1) {
        if (t.vectors < Vectors) return code_maxima_of<Vectors - 1>(t);
    }
    constexpr std::size_t kRows = rows_of(Vectors);
    const std::size_t tiles = (t.count + kRows - 1) / kRows;
    if (tiles == 0) return;
    const std::size_t rows = t.count / tiles, larger = t.count % tiles;
    Fetcher fetcher(t.ahead, tiles);
    code_tiles<Vectors, kRows>(t, 0, larger, rows + 1, fetcher);
    code_tiles<Vectors, kRows>(t, larger * (rows + 1), tiles - larger, rows, fetcher);
}

void float_maxima(const FloatTokens& tokens) { float_maxima_of<kPanelVectors>(tokens); }
void code_maxima(const CodeTokens& tokens) { code_maxima_of<kPanelVectors>(tokens); }

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
