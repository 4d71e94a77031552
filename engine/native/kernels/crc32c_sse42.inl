// What crc32c_interleaved.inl asks of a tier, for those of x86 that have SSE 4.2.

std::uint64_t load_word(const unsigned char* from) {
    return static_cast<std::uint64_t>(
        _mm_cvtsi128_si64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
std::uint32_t crc_step(std::uint32_t crc, std::uint64_t word) {
    return static_cast<std::uint32_t>(_mm_crc32_u64(crc, word));
}
std::uint32_t crc_step(std::uint32_t crc, unsigned char byte) { return _mm_crc32_u8(crc, byte); }
