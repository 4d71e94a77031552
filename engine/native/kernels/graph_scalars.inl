// Plain kernels of the graph search, compiled into each tier that has no better ones, in its anonymous
// namespace.

std::size_t within(float* distances, std::uint32_t* nodes, std::size_t count, float bound) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const float distance = distances[i];
        distances[kept] = distance;
        nodes[kept] = nodes[i];
        kept += distance <= bound ? 1 : 0;
    }
    return kept;
}
