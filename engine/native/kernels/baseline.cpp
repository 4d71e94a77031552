// Plain scalar loops that sum in double, compiled without vectorisation: slow, obviously right, and the
// oracle that the other tiers are compared with.

#include <cstring>

#include "core/kernel_table.h"
#include "kernels/bit_kernels.h"
#include "kernels/code_kernels.h"
#include "kernels/graph_kernels.h"
#include "kernels/maxsim_kernels.h"
#include "kernels/panel_product.h"

namespace nearfield {
namespace {

#include "kernels/crc32c_tables.inl"

struct Half {
    std::uint16_t bits;
};

double value_of(float element) { return element; }
double value_of(std::uint8_t element) { return element; }
double value_of(Half half) {
    const std::uint32_t sign = (half.bits & 0x8000u) << 16;
    const std::uint32_t exponent = (half.bits >> 10) & 0x1fu;
    const std::uint32_t fraction = half.bits & 0x3ffu;
    if (exponent == 0) {  // zero or denormal: fraction * 2^-24
        const double magnitude = fraction * 0x1p-24;
        return sign != 0 ? -magnitude : magnitude;
    }
    const std::uint32_t exponent32 = exponent == 0x1fu ? 0xffu : exponent + 112u;
    const std::uint32_t bits = sign | (exponent32 << 23) | (fraction << 13);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

struct L2 {
    static double term(double query, double row) { return (query - row) * (query - row); }
    static double finish(double sum) { return sum; }
};
struct Ip {
    static double term(double query, double row) { return query * row; }
    static double finish(double sum) { return 0.0 - sum; }
};
struct L1 {
    static double term(double query, double row) { return query < row ? row - query : query - row; }
    static double finish(double sum) { return sum; }
};

template <class MetricTerms, class Element>
void distances(const DistanceBatch& batch) {
    const auto* rows = static_cast<const Element*>(batch.rows);
    for (std::size_t r = 0; r < batch.row_count; ++r) {
        const std::size_t number = batch.offsets != nullptr ? static_cast<std::size_t>(batch.offsets[r]) : r;
        const Element* row = rows + number * batch.dims;
        for (std::size_t q = 0; q < batch.query_count; ++q) {
            const float* query = batch.queries + q * batch.dims;
            double sum = 0.0;
            for (std::size_t i = 0; i < batch.dims; ++i) sum += MetricTerms::term(query[i], value_of(row[i]));
            batch.out[q * batch.out_stride + r] = static_cast<float>(MetricTerms::finish(sum));
        }
    }
}

constexpr Crc32cByteTables kByteTables = make_byte_tables();

std::uint32_t crc32c(std::uint32_t crc, const void* data, std::size_t bytes) {
    const auto* next = static_cast<const unsigned char*>(data);
    crc = ~crc;
    for (; bytes >= 8; bytes -= 8, next += 8) {
        std::uint64_t word = 0;
        for (int i = 0; i < 8; ++i) word |= std::uint64_t{next[i]} << (8 * i);
        word ^= crc;
        crc = 0;
        for (int i = 0; i < 8; ++i) crc ^= kByteTables.values[7 - i][(word >> (8 * i)) & 0xffu];
    }
    for (; bytes > 0; --bytes, ++next) crc = (crc >> 8) ^ kByteTables.values[0][(crc ^ *next) & 0xffu];
    return ~crc;
}

std::uint64_t stream_read(const void* data, std::size_t bytes, std::size_t, std::size_t) {
    const auto* next = static_cast<const unsigned char*>(data);
    std::uint64_t sum = 0;
    for (; bytes >= 8; bytes -= 8, next += 8) {
        std::uint64_t word;
        std::memcpy(&word, next, sizeof word);
        sum ^= word;
    }
    for (; bytes > 0; --bytes, ++next) sum ^= *next;
    return sum;
}

}  // namespace

const KernelTable kBaselineKernels = {
    "baseline",
    {{distances<L2, float>, distances<L2, Half>, distances<L2, std::uint8_t>},
     {distances<Ip, float>, distances<Ip, Half>, distances<Ip, std::uint8_t>},
     {distances<L1, float>, distances<L1, Half>, distances<L1, std::uint8_t>}},
    crc32c,
    stream_read,
    &kBaselineBitKernels,
    &kBaselineCodeKernels,
    &kBaselineGraphKernels,
    &kBaselineMaxSimKernels,
    panel_product_baseline,
};

}  // namespace nearfield
