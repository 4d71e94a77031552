// Kernels over rows unpacked into lanes, for tiers that do not write their own; included inside a tier's
// anonymous namespace after code_tiles.inl. A tier provides
//   kLaneQueries: queries that meet a group of rows at once;  lane_dots(queries, codes, quads, dots): their
//   products with the 16 rows of a group, the group's codes 256 bytes apart;  finish16(dots, steps, biases,
//   scale, sum, limit, out): 16 distances and which are at most the limit;  read_constants(tails, lanes,
//   row): steps and biases of 16 rows.

const std::uint8_t* lane_row(const LaneRows& r, std::size_t place) {
    const std::size_t at = place < r.count ? place : r.count - 1;
    return r.rows + (r.ids != nullptr ? r.ids[at] : at) * r.stride;
}

void unpack_lanes(const LaneRows& r, const CodeLanes& lanes) {
    constexpr std::uint32_t kNibbles = 0x0f0f0f0fu;
    const std::size_t words = kBlock / 4;
    for (std::size_t first = 0; first < CodeLanes::kRows; first += CodeLanes::kGroup) {
        const std::uint8_t* tails[CodeLanes::kGroup];
        for (std::size_t i = 0; i < CodeLanes::kGroup; ++i) {
            const std::uint8_t* row = lane_row(r, first + i);
            std::uint8_t* to = lanes.codes + (first + i) * 4;
            for (std::size_t quad = 0; quad < lanes.quads; quad += 2 * words) {
                for (std::size_t w = 0; w < words; ++w) {
                    std::uint32_t codes;
                    __builtin_memcpy(&codes, row + (quad / 2 + w) * 4, 4);
                    const std::uint32_t low = codes & kNibbles, high = codes >> 4 & kNibbles;
                    __builtin_memcpy(to + (quad + w) * CodeLanes::kRows * 4, &low, 4);
                    __builtin_memcpy(to + (quad + words + w) * CodeLanes::kRows * 4, &high, 4);
                }
            }
            tails[i] = row + r.stride - kTail;
        }
        read_constants(tails, lanes, first);
    }
}

void scan_lanes(const LaneQueries& queries, const CodeLanes& lanes, float* out, std::uint64_t* below) {
    std::int32_t dots[kLaneQueries][CodeLanes::kGroup];
    for (std::size_t q = 0; q < queries.count; q += kLaneQueries) {
        const std::int8_t* codes[kLaneQueries];
        for (std::size_t i = 0; i < kLaneQueries; ++i)
            codes[i] = queries.codes + (q + i < queries.count ? q + i : q) * 4 * lanes.quads;
        for (std::size_t i = 0; i < kLaneQueries && q + i < queries.count; ++i) below[q + i] = 0;
        for (std::size_t row = 0; row < CodeLanes::kRows; row += CodeLanes::kGroup) {
            lane_dots(codes, lanes.codes + row * 4, lanes.quads, dots);
            for (std::size_t i = 0; i < kLaneQueries && q + i < queries.count; ++i) {
                const std::uint64_t found = finish16(
                    dots[i], lanes.steps + row, lanes.biases + row, queries.scales[q + i],
                    queries.sums[q + i], queries.limits[q + i], out + (q + i) * CodeLanes::kRows + row);
                below[q + i] |= found << row;
            }
        }
    }
}
