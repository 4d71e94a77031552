// CRC-32C (Castagnoli) by table, included inside the anonymous namespace of a tier.

// Bit-reflected: the top bit is the coefficient of x^0.
constexpr std::uint32_t kCrc32cPolynomial = 0x82f63b78u;

// Slicing by 8: values[k][b] is the CRC of byte b followed by k zero bytes.
struct Crc32cByteTables {
    std::uint32_t values[8][256];
};

constexpr Crc32cByteTables make_byte_tables() {
    Crc32cByteTables tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) crc = (crc & 1u) != 0 ? (crc >> 1) ^ kCrc32cPolynomial : crc >> 1;
        tables.values[0][byte] = crc;
    }
    for (int k = 1; k < 8; ++k) {
        for (std::uint32_t byte = 0; byte < 256; ++byte) {
            const std::uint32_t crc = tables.values[k - 1][byte];
            tables.values[k][byte] = (crc >> 8) ^ tables.values[0][crc & 0xffu];
        }
    }
    return tables;
}
