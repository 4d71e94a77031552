#include "core/json_numbers.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <system_error>

namespace nearfield {
namespace {

constexpr double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr int kExactPower = 22;
constexpr int kDigits = 19;  // as many always fit 64 bits
constexpr std::uint64_t kExactMantissa = std::uint64_t{1} << 53;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// How many of eight characters, first one lowest, are digits before one is not.
int leading_digits(std::uint64_t eight) {
    constexpr std::uint64_t kHigh = 0xf0f0f0f0f0f0f0f0u;
    constexpr std::uint64_t kZeros = 0x3030303030303030u;
    // '0' to '9' have a high half of 3, and keep it when 6 is added; carries only reach later characters.
    const std::uint64_t others =
        ((eight & kHigh) ^ kZeros) | (((eight + 0x0606060606060606u) & kHigh) ^ kZeros);
    return others == 0 ? 8 : std::countr_zero(others) / 8;
}

// The number that the first `count` of eight characters are, at least one: they become the last of eight
// digits, then neighbours are joined to pairs, pairs to fours, fours to all eight.
std::uint64_t value_of(std::uint64_t eight, int count) {
    eight = (eight - 0x3030303030303030u) << (64 - 8 * count);
    eight = eight * 10 + (eight >> 8);
    constexpr std::uint64_t kPairs = 0x000000ff000000ffu;
    return (((eight & kPairs) * (100 + (std::uint64_t{1000000} << 32)) +
             (eight >> 16 & kPairs) * (1 + (std::uint64_t{10000} << 32))) >>
            32) &
           0xffffffffu;
}

// A decimal number as it is written: mantissa * 10^exponent, unless it has more digits than that holds.
struct Decimal {
    std::uint64_t mantissa = 0;
    int exponent = 0;
    int digits = 0;  // at least as many as follow the leading zeros

    // Of fractions, which have many.
    const char* take_digits(const char* p, const char* end) {
        if constexpr (std::endian::native == std::endian::little) {
            constexpr std::uint64_t kScale[] = {1,      10,      100,      1000,     10000,
                                                100000, 1000000, 10000000, 100000000};
            for (std::uint64_t eight; end - p >= 8;) {
                std::memcpy(&eight, p, sizeof(eight));
                const int count = leading_digits(eight);
                if (count == 0) return p;
                mantissa = mantissa * kScale[count] + value_of(eight, count);
                digits += mantissa != 0 ? count : 0;
                p += count;
                if (count < 8) return p;
            }
        }
        return take_few(p, end);
    }

    // Of integers, which have few: one at a time.
    const char* take_few(const char* p, const char* end) {
        for (; p < end && is_digit(*p); ++p) {
            mantissa = mantissa * 10 + static_cast<std::uint64_t>(*p - '0');
            digits += mantissa != 0;
        }
        return p;
    }
};

// The end of the exponent at `p`, null if it is malformed. Large ones are cut: they are beyond any power
// here.
const char* read_exponent(const char* p, const char* end, Decimal& number) {
    bool negative = false;
    if (p < end && (*p == '+' || *p == '-')) negative = *p++ == '-';
    if (p == end || !is_digit(*p)) return nullptr;
    int exponent = 0;
    for (; p < end && is_digit(*p); ++p) exponent = exponent < 10000 ? exponent * 10 + (*p - '0') : exponent;
    number.exponent += negative ? -exponent : exponent;
    return p;
}

// The end of the unsigned number at `p` by JSON's grammar, null if there is none.
const char* read_decimal(const char* p, const char* end, Decimal& number) {
    if (p == end || !is_digit(*p)) return nullptr;
    if (*p == '0' && p + 1 < end && is_digit(p[1])) return nullptr;
    p = number.take_few(p, end);
    if (p < end && *p == '.') {
        const char* const first = ++p;
        p = number.take_digits(p, end);
        if (p == first) return nullptr;
        number.exponent = -static_cast<int>(p - first);
    }
    return p < end && (*p == 'e' || *p == 'E') ? read_exponent(p + 1, end, number) : p;
}

// Whether two neighbours on either side of the double round to one and the same normal float, so that it does
// not matter that the double is not quite the nearest.
bool rounds_safely(double value) {
    constexpr std::uint64_t kHalf = std::uint64_t{1} << 28;  // of what a float has less than a double
    const std::uint64_t below = std::bit_cast<std::uint64_t>(value) & (2 * kHalf - 1);
    return value >= std::numeric_limits<float>::min() && (below < kHalf - 2 || below > kHalf + 2);
}

// The nearest double, or one that rounds to the same float; false where that is not quickly known.
bool quick_value(const Decimal& number, double& value) {
    if (number.digits > kDigits || number.exponent < -kExactPower || number.exponent > kExactPower)
        return false;
    const double mantissa = static_cast<double>(number.mantissa);
    value = number.exponent < 0 ? mantissa / kPowersOfTen[-number.exponent]
                                : mantissa * kPowersOfTen[number.exponent];
    // Two exact operands round once. Otherwise the mantissa was rounded before: two halves of a last place.
    return number.mantissa <= kExactMantissa || rounds_safely(value);
}

const char* skip_space(const char* p, const char* end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) ++p;
    return p;
}

// The end of the number at `p`, null if there is none or float32 cannot hold it.
const char* read_number(const char* p, const char* end, float& number) {
    const bool negative = p < end && *p == '-';
    if (negative) ++p;
    Decimal decimal;
    const char* const after = read_decimal(p, end, decimal);
    if (after == nullptr) return nullptr;
    double value = 0.0;
    if (!quick_value(decimal, value) && std::from_chars(p, after, value).ec != std::errc()) return nullptr;
    number = static_cast<float>(negative ? -value : value);
    return std::isfinite(number) ? after : nullptr;
}

// The end of the non-empty array of numbers at `p`, null if there is none; its numbers are appended.
const char* read_numbers(const char* p, const char* end, std::vector<float>& out) {
    if (p == end || *p != '[') return nullptr;
    p = skip_space(p + 1, end);
    for (float number = 0.0f;;) {
        p = read_number(p, end, number);
        if (p == nullptr) return nullptr;
        out.push_back(number);
        p = skip_space(p, end);
        if (p == end || (*p != ',' && *p != ']')) return nullptr;
        if (*p == ']') return p + 1;
        p = skip_space(p + 1, end);
    }
}

// Where the text goes on after a token and the space around it, null if something else is at `p`.
const char* after_token(const char* p, const char* end, std::string_view token) {
    p = skip_space(p, end);
    const std::string_view left(p, static_cast<std::size_t>(end - p));
    return left.starts_with(token) ? skip_space(p + token.size(), end) : nullptr;
}

// The value of a member whose name ends at `p`, of `nearest` in it where that is an object; null if there is
// none.
const char* vector_at(const char* p, const char* end) {
    p = after_token(p, end, ":");
    if (p == nullptr || p == end || *p != '{') return p;
    p = after_token(p + 1, end, "\"nearest\"");
    return p == nullptr ? nullptr : after_token(p, end, ":");
}

}  // namespace

bool take_query_vectors(std::string_view text, QueryVectors& out) {
    constexpr std::string_view kName = "\"query\"";
    const char* const end = text.data() + text.size();
    std::size_t taken = 0;
    for (std::size_t at = 0; (at = text.find(kName, taken)) != text.npos;) {
        const char* const vector = vector_at(text.data() + at + kName.size(), end);
        if (vector == nullptr) return false;
        const char* const after = read_numbers(vector, end, out.numbers);
        if (after == nullptr) return false;
        out.rest.append(text.data() + taken, vector).append("null");
        out.ends.push_back(out.numbers.size());
        taken = static_cast<std::size_t>(after - text.data());
    }
    out.rest.append(text.substr(taken));
    return out.rest.find('\\') == out.rest.npos;
}

}  // namespace nearfield
