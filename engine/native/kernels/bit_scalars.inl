// Bitmap kernels in terms of a tier's `list_words(words, word_count, listed)`, which lists the words that are
// not zero; included inside its anonymous namespace.

constexpr std::size_t kWordBits = 64;
// Words whose non-zero ones are listed before their bits are read: a loop over all words would mispredict at
// nearly every one that is not zero.
constexpr std::size_t kListWords = 512;
// Bits of a word read at once; where most rows are not allowed, hardly any word has more.
constexpr std::size_t kBitsAtOnce = 2;

std::size_t bits_of(std::uint64_t word) { return static_cast<std::size_t>(__builtin_popcountll(word)); }

std::size_t count(const std::uint64_t* words, std::size_t word_count) {
    std::size_t sums[4] = {};  // one sum would wait for itself at every word
    std::size_t i = 0;
    for (; i + 4 <= word_count; i += 4) {
        for (std::size_t j = 0; j < 4; ++j) sums[j] += bits_of(words[i + j]);
    }
    for (; i < word_count; ++i) sums[0] += bits_of(words[i]);
    return sums[0] + sums[1] + sums[2] + sums[3];
}

std::size_t positions(const std::uint64_t* words, std::size_t word_count, std::uint32_t first,
                      std::uint32_t* out) {
    constexpr std::uint64_t kTop = std::uint64_t{1}
                                   << (kWordBits - 1);  // keeps ctz defined behind the last bit
    std::uint32_t listed[kListWords + kListSlack];
    std::size_t found = 0;
    for (std::size_t begin = 0; begin < word_count; begin += kListWords) {
        const std::size_t span = word_count - begin < kListWords ? word_count - begin : kListWords;
        const std::size_t list_count = list_words(words + begin, span, listed);
        for (std::size_t i = 0; i < list_count; ++i) {
            const std::size_t at = begin + listed[i];
            const std::uint32_t row = first + static_cast<std::uint32_t>(at * kWordBits);
            std::uint64_t word = words[at];
            const std::size_t bits = bits_of(word);
            for (std::size_t done = 0; done < bits; done += kBitsAtOnce) {
                for (std::size_t j = 0; j < kBitsAtOnce; ++j) {
                    out[found + done + j] = row + static_cast<std::uint32_t>(__builtin_ctzll(word | kTop));
                    word &= word - 1;
                }
            }
            found += bits;
        }
    }
    return found;
}
