// The yardstick for memory-bound kernels: read every byte once and do next to nothing with it. Included
// inside the anonymous namespace of a tier that defines Bits, zero_bits(), load_bits(pointer),
// exclusive_or(a, b), fold(Bits) and prefetch(pointer).

constexpr std::size_t kReadStep = 256;  // bytes of each stream per round
constexpr std::size_t kStreamsMax = 8;

std::uint64_t stream_read(const void* data, std::size_t bytes, std::size_t streams, std::size_t ahead) {
    const auto* base = static_cast<const unsigned char*>(data);
    if (streams < 1) streams = 1;
    if (streams > kStreamsMax) streams = kStreamsMax;
    const std::size_t part = bytes / streams / kReadStep * kReadStep;
    constexpr std::size_t kUnroll = 4;
    Bits sums[kUnroll];
    for (std::size_t u = 0; u < kUnroll; ++u) sums[u] = zero_bits();
    for (std::size_t i = 0; i < part; i += kReadStep) {
        for (std::size_t s = 0; s < streams; ++s) {
            const unsigned char* next = base + s * part + i;
            if (ahead != 0) {
                for (std::size_t line = 0; line < kReadStep; line += 64) prefetch(next + ahead + line);
            }
            for (std::size_t j = 0; j < kReadStep; j += kUnroll * sizeof(Bits)) {
                for (std::size_t u = 0; u < kUnroll; ++u) {
                    sums[u] = exclusive_or(sums[u], load_bits(next + j + u * sizeof(Bits)));
                }
            }
        }
    }
    std::uint64_t total = 0;
    for (std::size_t u = 0; u < kUnroll; ++u) total ^= fold(sums[u]);
    for (std::size_t i = part * streams; i < bytes; ++i) total ^= base[i];
    return total;
}
