// Which of up to 64 codes lie in a range, in plain code; included inside a tier's anonymous namespace.

template <class Code>
std::uint64_t some_bits(const Code* codes, std::size_t count, Code first, Code width) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const bool inside = static_cast<Code>(codes[i] - first) < width;
        word |= static_cast<std::uint64_t>(inside) << i;
    }
    return word;
}
