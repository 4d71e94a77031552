// How the AVX-512 units of MaxSim share out 32 registers; included inside their anonymous namespaces.

constexpr std::size_t kLanes = 16;
constexpr std::size_t kPanelVectors = 3;
constexpr std::size_t kMostShare = 4;
// 24 sums at most, 3 registers of query tokens, up to 4 broadcasts and their mixture.
constexpr std::size_t rows_of(std::size_t vectors, std::size_t share) {
    return vectors == 3 ? 8 : vectors == 2 && share == 1 ? 12 : 16;
}
