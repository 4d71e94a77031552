// Code kernels in terms of a tier's primitives; included inside its anonymous namespace. A tier provides
//   Sums: a register of int32 partial sums;  zero_sums();  add_dot4(sums, row_block, query): 64 bytes of
//   4-bit codes; add_dot8(sums, row_block, query): 64 unsigned 8-bit codes;  add_dot_signed(sums, a, b): 64
//   int8 pairs, as <a + 128, b>; reduce4(a, b, c, d, out): four totals;  prefetch(line);  finish4(...): four
//   distances from four dots.

constexpr std::size_t kBlock = 64;
constexpr std::size_t kTail = 8;  // step f16, bias f16, norm f32

template <int Bits>
Sums row_dot(const std::uint8_t* row, const std::int8_t* query, std::size_t blocks) {
    Sums sums = zero_sums();
    for (std::size_t b = 0; b < blocks; ++b) {
        if constexpr (Bits == 4) {
            sums = add_dot4(sums, row + b * kBlock, query + b * 2 * kBlock);
        } else {
            sums = add_dot8(sums, row + b * kBlock, query + b * kBlock);
        }
    }
    return sums;
}

template <int Bits>
void scan(const CodeScan& s) {
    const std::uint8_t* rows[4];
    std::int32_t dots[4];
    float distances[4];
    for (std::size_t i = 0; i < s.count; i += 4) {
        for (std::size_t j = 0; j < 4; ++j) {
            const std::size_t at = i + j < s.count ? i + j : s.count - 1;
            rows[j] = s.rows + (s.ids != nullptr ? s.ids[at] : at) * s.stride;
        }
        reduce4(row_dot<Bits>(rows[0], s.query, s.blocks), row_dot<Bits>(rows[1], s.query, s.blocks),
                row_dot<Bits>(rows[2], s.query, s.blocks), row_dot<Bits>(rows[3], s.query, s.blocks), dots);
        const std::size_t tail = s.stride - kTail;
        if (i + 4 <= s.count) {
            finish4(rows, tail, dots, s.scale, s.sum, s.weight, s.out + i);
        } else {
            finish4(rows, tail, dots, s.scale, s.sum, s.weight, distances);
            for (std::size_t j = 0; i + j < s.count; ++j) s.out[i + j] = distances[j];
        }
    }
}

void dot_rows(const std::int8_t* vector, const std::int8_t* rows, const std::int32_t* sums, std::size_t dims,
              std::size_t count, std::int32_t* out) {
    std::int32_t dots[4];
    for (std::size_t i = 0; i < count; i += 4) {
        Sums total[4];
        for (std::size_t j = 0; j < 4; ++j) {
            const std::int8_t* row = rows + (i + j < count ? i + j : count - 1) * dims;
            total[j] = zero_sums();
            for (std::size_t b = 0; b < dims; b += kBlock)
                total[j] = add_dot_signed(total[j], vector + b, row + b);
        }
        reduce4(total[0], total[1], total[2], total[3], dots);
        for (std::size_t j = 0; j < 4 && i + j < count; ++j) out[i + j] = dots[j] - 128 * sums[i + j];
    }
}

// Four queries by four rows at a time, so that each loaded block serves four products.
void dot_tile(const std::int8_t* queries, std::size_t query_count, const std::int8_t* rows,
              const std::int32_t* sums, std::size_t row_count, std::size_t dims, std::int32_t* out,
              std::size_t out_stride) {
    std::int32_t dots[4];
    for (std::size_t q = 0; q < query_count; q += 4) {
        const std::int8_t* query[4];
        for (std::size_t i = 0; i < 4; ++i)
            query[i] = queries + (q + i < query_count ? q + i : query_count - 1) * dims;
        for (std::size_t r = 0; r < row_count; r += 4) {
            const std::int8_t* row[4];
            for (std::size_t i = 0; i < 4; ++i)
                row[i] = rows + (r + i < row_count ? r + i : row_count - 1) * dims;
            Sums total[4][4];
            for (auto& line : total) {
                for (Sums& sum : line) sum = zero_sums();
            }
            for (std::size_t b = 0; b < dims; b += kBlock) {
                for (std::size_t i = 0; i < 4; ++i) {
                    for (std::size_t j = 0; j < 4; ++j) {
                        total[i][j] = add_dot_signed(total[i][j], query[i] + b, row[j] + b);
                    }
                }
            }
            for (std::size_t i = 0; i < 4 && q + i < query_count; ++i) {
                reduce4(total[i][0], total[i][1], total[i][2], total[i][3], dots);
                std::int32_t* line = out + (q + i) * out_stride + r;
                for (std::size_t j = 0; j < 4 && r + j < row_count; ++j)
                    line[j] = dots[j] - 128 * sums[r + j];
            }
        }
    }
}

void scan4_rest(const CodeRest& s) {
    const std::uint8_t *rows[4], *tails[4];
    std::int32_t dots[4];
    float distances[4];
    for (std::size_t i = 0; i < s.count; i += 4) {
        for (std::size_t j = 0; j < 4; ++j) {
            const std::size_t id = s.ids[i + j < s.count ? i + j : s.count - 1];
            rows[j] = s.rows + id * s.stride;
            tails[j] = s.tails + id * s.tail_stride;
        }
        reduce4(row_dot<4>(rows[0], s.query, s.blocks), row_dot<4>(rows[1], s.query, s.blocks),
                row_dot<4>(rows[2], s.query, s.blocks), row_dot<4>(rows[3], s.query, s.blocks), dots);
        finish4(tails, 0, dots, s.scale, s.sum, 0.0f, distances);
        for (std::size_t j = 0; j < 4 && i + j < s.count; ++j) s.out[i + j] = distances[j];
    }
}
