// CRC-32C with the CPU's instruction, three blocks at a time: one instruction has a latency of three cycles,
// so one chain would run at a third of the speed. Included inside the anonymous namespace of a tier that
// defines crc_step(crc, 64-bit word), crc_step(crc, byte) and load_word(pointer).

// Polynomials are bit-reflected: the top bit is the coefficient of x^0.
constexpr std::uint32_t kCrc32cPolynomial = 0x82f63b78u;
constexpr std::size_t kLongBlock = 8192;
constexpr std::size_t kShortBlock = 256;

// a * b modulo the polynomial.
constexpr std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
    std::uint32_t product = 0;
    for (std::uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
        if ((a & bit) != 0) product ^= b;
        b = (b & 1u) != 0 ? (b >> 1) ^ kCrc32cPolynomial : b >> 1;
    }
    return product;
}

// Appending a block of zero bytes to a message multiplies its CRC by a power of x: a look-up per byte of CRC.
struct ZeroBlock {
    std::uint32_t values[4][256];
};

constexpr ZeroBlock make_zero_block(std::size_t bytes) {
    std::uint32_t power = 1u << 31;
    std::uint32_t square = 1u << 30;
    for (std::size_t bits = bytes * 8; bits != 0; bits >>= 1) {
        if ((bits & 1u) != 0) power = multiply(power, square);
        square = multiply(square, square);
    }
    ZeroBlock block{};
    for (int k = 0; k < 4; ++k) {
        for (std::uint32_t byte = 0; byte < 256; ++byte)
            block.values[k][byte] = multiply(byte << (8 * k), power);
    }
    return block;
}

constexpr ZeroBlock kLongZeros = make_zero_block(kLongBlock);
constexpr ZeroBlock kShortZeros = make_zero_block(kShortBlock);

std::uint32_t append_zeros(const ZeroBlock& block, std::uint32_t crc) {
    return block.values[0][crc & 0xffu] ^ block.values[1][(crc >> 8) & 0xffu] ^
           block.values[2][(crc >> 16) & 0xffu] ^ block.values[3][crc >> 24];
}

std::uint32_t crc_three_blocks(std::uint32_t crc, const unsigned char* data, std::size_t block,
                               const ZeroBlock& zeros) {
    std::uint32_t second = 0;
    std::uint32_t third = 0;
    for (std::size_t i = 0; i < block; i += 8) {
        crc = crc_step(crc, load_word(data + i));
        second = crc_step(second, load_word(data + block + i));
        third = crc_step(third, load_word(data + 2 * block + i));
    }
    return append_zeros(zeros, append_zeros(zeros, crc) ^ second) ^ third;
}

std::uint32_t crc32c(std::uint32_t crc, const void* data, std::size_t bytes) {
    const auto* next = static_cast<const unsigned char*>(data);
    crc = ~crc;
    for (; bytes >= 3 * kLongBlock; bytes -= 3 * kLongBlock, next += 3 * kLongBlock) {
        crc = crc_three_blocks(crc, next, kLongBlock, kLongZeros);
    }
    for (; bytes >= 3 * kShortBlock; bytes -= 3 * kShortBlock, next += 3 * kShortBlock) {
        crc = crc_three_blocks(crc, next, kShortBlock, kShortZeros);
    }
    for (; bytes >= 8; bytes -= 8, next += 8) crc = crc_step(crc, load_word(next));
    for (; bytes > 0; --bytes, ++next) crc = crc_step(crc, *next);
    return ~crc;
}
