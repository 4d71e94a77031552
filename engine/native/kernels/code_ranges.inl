// `mark_range` in terms of a tier's `full_word(codes, first, width)`, which compares 64 codes, `width` not
// being 0; included inside its anonymous namespace, behind that and `some_bits`.

template <class Code>
void mark_range(const void* data, std::size_t count, std::uint32_t first, std::uint32_t width,
                std::uint64_t* words) {
    if (width == 0) return;
    const auto* codes = static_cast<const Code*>(data);
    const auto low = static_cast<Code>(first);
    const auto span = static_cast<Code>(width);
    std::size_t i = 0;
    for (; i + 64 <= count; i += 64) words[i / 64] |= full_word(codes + i, low, span);
    if (i < count) words[i / 64] |= some_bits(codes + i, count - i, low, span);
}
