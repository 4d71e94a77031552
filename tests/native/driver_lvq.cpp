#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/dispatch.h"
#include "core/thread_pool.h"
#include "driver.h"
#include "encodings/half.h"
#include "encodings/lvq.h"
#include "kernels/code_kernels.h"

namespace nearfield {
namespace {

using encodings::CodeLayout;
using encodings::CodeRowsView;

constexpr std::size_t kRows = 24;
constexpr std::size_t kOrdinary = 16;  // rows from here on hold extremes

// Code rows in exactly the memory they are promised, so that access beyond either end is seen.
struct Codes {
    Codes(std::size_t dims, int bits, std::size_t alignment = 1)
        : layout{bits, dims},
          stride(layout.stride(alignment)),
          bytes(kRows * stride + CodeLayout::kSlack),
          data(new std::uint8_t[bytes]) {
        std::memset(data.get(), 0xee, bytes);
    }
    CodeRowsView view() const { return {layout, data.get(), stride}; }
    float constant(std::size_t row, std::size_t at) const {
        std::uint16_t half;
        std::memcpy(&half, data.get() + (row + 1) * stride - CodeLayout::kTail + at, sizeof half);
        return encodings::from_half(half);
    }
    float step(std::size_t row) const { return constant(row, 0); }
    float norm(std::size_t row) const {
        float norm;
        std::memcpy(&norm, data.get() + (row + 1) * stride - sizeof norm, sizeof norm);
        return norm;
    }
    std::vector<float> decoded() const {
        std::vector<float> rows(kRows * layout.dims);
        encodings::decode_lvq(view(), kRows, rows.data());
        return rows;
    }

    CodeLayout layout;
    std::size_t stride;
    std::size_t bytes;
    std::unique_ptr<std::uint8_t[]> data;
};

std::vector<float> some_rows(std::size_t dims, std::mt19937& random) {
    std::normal_distribution<float> normal;
    std::vector<float> rows(kRows * dims);
    for (float& value : rows) value = normal(random);
    constexpr float kMost = std::numeric_limits<float>::max();
    const float extremes[] = {0.0f,
                              -3.5f,
                              1e-30f,
                              7e4f,
                              kMost,
                              std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN(),
                              -kMost};
    for (std::size_t r = kOrdinary; r < kRows; ++r) {
        for (std::size_t i = 0; i < dims; ++i) rows[r * dims + i] = extremes[r - kOrdinary];
        if (r % 2 == 1) rows[r * dims] = 1.0f;
    }
    return rows;
}

bool within(const std::vector<float>& rows, const std::vector<float>& decoded, const Codes& codes,
            float share) {
    const std::size_t dims = codes.layout.dims;
    for (std::size_t i = 0; i < kOrdinary * dims; ++i) {
        // Half precision rounds the bias and the step.
        const float levels = codes.layout.bits == 4 ? 15.0f : 255.0f;
        const float step = codes.step(i / dims);
        const float rounding = (4.0f + step * levels * share) * 0x1p-11f;
        if (!(std::fabs(rows[i] - decoded[i]) <= share * step / 2.0f + rounding)) return false;
    }
    return true;
}

bool norms_are_of(const Codes& codes, const std::vector<float>& decoded, std::size_t count) {
    for (std::size_t r = 0; r < count; ++r) {
        double norm = 0.0;
        for (std::size_t i = 0; i < codes.layout.dims; ++i) {
            const double x = decoded[r * codes.layout.dims + i];
            norm += x * x;
        }
        if (!(std::fabs(norm - codes.norm(r)) <= 1e-5 * norm)) return false;
    }
    return true;
}

void check_one_level(const std::vector<float>& rows, std::size_t dims, int bits, const std::string& what) {
    Codes plain(dims, bits), clipped(dims, bits, 64);
    encodings::encode_lvq(rows.data(), kRows, plain.layout, {false}, nullptr, plain.data.get(), plain.stride);
    encodings::encode_lvq(rows.data(), kRows, clipped.layout, {true}, nullptr, clipped.data.get(),
                          clipped.stride);
    const std::vector<float> decoded = plain.decoded(), shrunk = clipped.decoded();
    check(within(rows, decoded, plain, 1.0f), what + ": within half a step");
    check(norms_are_of(plain, decoded, kOrdinary) && norms_are_of(clipped, shrunk, kOrdinary),
          what + ": norms are of what the codes stand for");
    bool no_worse = true;
    for (std::size_t r = 0; r < kOrdinary; ++r) {
        double error = 0.0, clipped_error = 0.0;
        for (std::size_t i = r * dims; i < (r + 1) * dims; ++i) {
            error += std::pow(rows[i] - decoded[i], 2.0);
            clipped_error += std::pow(rows[i] - shrunk[i], 2.0);
        }
        no_worse = no_worse && clipped_error <= error * 1.0001 + 1e-12;
    }
    check(no_worse, what + ": clipping lowers the squared error");
    const auto finite = [](float value) { return std::isfinite(value); };
    check(std::all_of(decoded.begin(), decoded.end(), finite), what + ": extreme rows stay finite");
}

void check_two_levels(const std::vector<float>& rows, std::size_t dims, int bits, int residual_bits,
                      const std::string& what) {
    Codes first(dims, bits), residual(dims, residual_bits), shared(dims, residual_bits);
    encodings::encode_lvq(rows.data(), kRows, first.layout, {false}, nullptr, first.data.get(), first.stride);
    const auto encode = [&](std::size_t from, std::size_t count, Codes& to) {
        encodings::encode_lvq_residual(rows.data() + from * dims, count,
                                       {first.layout, first.data.get() + from * first.stride, first.stride},
                                       to.layout, nullptr, to.data.get() + from * to.stride, to.stride);
    };
    encode(0, kRows, residual);
    ThreadPool pool(3);
    pool.parallel_for(kRows, [&](std::size_t row) { encode(row, 1, shared); });
    check(std::memcmp(residual.data.get(), shared.data.get(), residual.bytes) == 0,
          what + ": the same on threads");
    const std::vector<float> base = first.decoded(), rest = residual.decoded();
    std::vector<float> decoded(base.size());
    for (std::size_t i = 0; i < base.size(); ++i) decoded[i] = base[i] + rest[i];
    const float levels = residual_bits == 4 ? 15.0f : 255.0f;
    bool finer = true, adds_up = true;
    for (std::size_t r = 0; r < kOrdinary; ++r) {
        double norm = 0.0;
        for (std::size_t i = r * dims; i < (r + 1) * dims; ++i) {
            const float allowed = 1.02f * first.step(r) / levels / 2.0f + 4.0f * 0x1p-20f;
            finer = finer && std::fabs(rows[i] - decoded[i]) <= allowed;
            norm += static_cast<double>(decoded[i]) * decoded[i];
        }
        adds_up = adds_up && std::fabs(norm - first.norm(r) - residual.norm(r)) <= 1e-5 * (norm + 1e-3);
    }
    check(finer, what + ": the second level divides the error by its levels");
    check(adds_up, what + ": norms of the levels add up");
}

// The scan of every tier over encoded rows: the integer part bit for bit, read by constants that leave
// nothing else, then the score of what the codes stand for.
void check_scans(const std::vector<float>& rows, std::size_t dims, int bits, const std::string& what) {
    Codes codes(dims, bits, 8);
    encodings::encode_lvq(rows.data(), kRows, codes.layout, {bits == 4}, nullptr, codes.data.get(),
                          codes.stride);
    const std::vector<float> decoded = codes.decoded();
    std::vector<std::int8_t> query(dims), ordered(codes.layout.blocks() * codes.layout.dims_per_block());
    const QuantizedVector quantized = kBaselineCodeKernels.quantize(rows.data(), dims, query.data());
    encodings::order_query(query.data(), codes.layout, ordered.data());
    Codes whole(dims, bits, 8);
    std::memcpy(whole.data.get(), codes.data.get(), codes.bytes);
    for (std::size_t r = 0; r < kRows; ++r) {
        const std::uint16_t constants[4] = {encodings::to_half(1.0f), 0, 0, 0};
        std::memcpy(whole.data.get() + (r + 1) * whole.stride - CodeLayout::kTail, constants,
                    sizeof constants);
    }
    for (const KernelTable* tier : available_tiers()) {
        const auto scan = [&](const Codes& of, float scale, float sum, float weight) {
            std::vector<float> out(kRows);
            const CodeScan call{ordered.data(),     scale,   sum,   weight,    of.data.get(), of.stride,
                                of.layout.blocks(), nullptr, kRows, out.data()};
            (bits == 4 ? tier->codes->scan4 : tier->codes->scan8)(call);
            return out;
        };
        const std::vector<float> dots = scan(whole, 1.0f, 0.0f, 0.0f);
        const std::vector<float> scores = scan(codes, quantized.scale, quantized.sum, 1.0f);
        const std::vector<float> steps = whole.decoded();
        bool exact = true, scored = true;
        for (std::size_t r = 0; r < kRows; ++r) {
            std::int32_t dot = 0;
            double product = 0.0, size = 1.0;
            for (std::size_t i = 0; i < dims; ++i) {
                dot += static_cast<std::int32_t>(steps[r * dims + i]) * query[i];
                product += static_cast<double>(rows[i]) * decoded[r * dims + i];
                size += std::fabs(decoded[r * dims + i]);
            }
            exact = exact && dots[r] == -static_cast<float>(dot);
            if (r < kOrdinary)
                scored = scored && std::fabs(scores[r] - (codes.norm(r) - product)) <= quantized.scale * size;
        }
        check(exact, what + ": integer part on " + tier->isa);
        check(scored, what + ": score of the reconstruction on " + tier->isa);
    }
}

}  // namespace

void check_lvq() {
    std::mt19937 random(5);
    std::vector<std::size_t> all_dims{191, 192, 193, 255, 256, 257, 768};
    for (std::size_t dims = 1; dims <= 130; ++dims) all_dims.push_back(dims);
    for (const std::size_t dims : all_dims) {
        const std::vector<float> rows = some_rows(dims, random);
        for (const int bits : {4, 8}) {
            const std::string what = "lvq" + std::to_string(bits) + " dims " + std::to_string(dims);
            check_one_level(rows, dims, bits, what);
            check_scans(rows, dims, bits, what);
            for (const int residual_bits : {4, 8})
                check_two_levels(rows, dims, bits, residual_bits, what + "x" + std::to_string(residual_bits));
        }
    }
}

}  // namespace nearfield
