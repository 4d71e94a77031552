// `list_words` in plain code; included inside a tier's anonymous namespace.

constexpr std::size_t kLineWords = 8;
constexpr std::size_t kListSlack = 1;  // entries of `listed` behind the last that may be overwritten

std::size_t list_words(const std::uint64_t* words, std::size_t word_count, std::uint32_t* listed) {
    std::size_t count = 0;
    std::size_t i = 0;
    for (; i + kLineWords <= word_count; i += kLineWords) {
        std::uint64_t any = 0;
        for (std::size_t j = 0; j < kLineWords; ++j) any |= words[i + j];
        if (any == 0) continue;
        for (std::size_t j = 0; j < kLineWords; ++j) {
            listed[count] = static_cast<std::uint32_t>(i + j);
            count += words[i + j] != 0 ? 1 : 0;
        }
    }
    for (; i < word_count; ++i) {
        listed[count] = static_cast<std::uint32_t>(i);
        count += words[i] != 0 ? 1 : 0;
    }
    return count;
}
