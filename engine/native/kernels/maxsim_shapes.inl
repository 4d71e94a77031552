// Tiles of every family of MaxSim kernels; included inside a tier's anonymous namespace, which provides what
// `maxsim_tiles.inl` lists: of it, here, kLanes, kPanelVectors, kMostShare, rows_of and, of codes, Code,
// Codes, kGroup, load_codes, spread_codes, mix_codes and add_products.

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

// Adds the products of groups of codes (or of pairs of short floats) to the sums of a tile.
template <class T, std::size_t Vectors, std::size_t Rows, std::size_t Share>
inline __attribute__((always_inline)) void multiply_groups(Sums<T, Vectors, Rows, Share>& sums,
                                                           const Code* panel, const Code* codes,
                                                           std::size_t stride, std::size_t groups) {
    for (std::size_t n = 0; n < groups; ++n, panel += Vectors * kLanes * kGroup, codes += kGroup) {
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
                    token[i] = token[0];  // beyond the tile: any of its tokens
                    continue;
                }
                token[i] = spread_codes(codes + r * stride);
#pragma GCC unroll 16
                for (std::size_t v = 0; v + 1 < Vectors; ++v) {
                    sums.whole[r][v] = add_products(sums.whole[r][v], token[i], query[v]);
                }
            }
            sums.shared[g] = add_products(sums.shared[g], mix_codes<Share>(token), query[Vectors - 1]);
        }
    }
}

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
