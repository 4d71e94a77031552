#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/kernel_table.h"
#include "kernels/maxsim_kernels.h"
#include "multivector/maxsim.h"

namespace nearfield::multivector {

inline constexpr std::size_t kCacheLine = 64;

// An uninitialised array at a cache line: a load that straddles two lines costs two.
template <class T>
class AlignedArray {
public:
    explicit AlignedArray(std::size_t size)
        : storage_(new unsigned char[size * sizeof(T) + kCacheLine]),
          data_(reinterpret_cast<T*>((reinterpret_cast<std::uintptr_t>(storage_.get()) + kCacheLine - 1) /
                                     kCacheLine * kCacheLine)) {}
    T* data() const { return data_; }

private:
    std::unique_ptr<unsigned char[]> storage_;
    T* data_;
};

// Tokens of several queries, side by side, as a tier's kernels take them. Token i of the concatenation is
// lane i of the panels, so queries need no padding between them.
class PackedQueries {
public:
    struct Panel {
        std::size_t first;    // query token
        std::size_t vectors;  // registers
        std::size_t share;    // how often the tokens of the last one are in it
    };

    PackedQueries(const KernelTable& kernels, const Queries& queries, std::size_t dims, TokenType type);

    bool as_codes() const { return as_codes_; }
    std::size_t count() const { return bounds_.size() - 1; }
    std::size_t tokens() const { return bounds_.back(); }
    std::size_t padded_tokens() const { return padded_; }
    const std::vector<Panel>& panels() const { return panels_; }
    const float* float_panel(const Panel& panel) const { return floats_.data() + panel.first * dims_; }
    const void* code_panel(const Panel& panel) const { return codes_.data() + panel.first * token_bytes_; }
    const float* sums(const Panel& panel) const { return sums_.data() + panel.first; }
    std::size_t groups() const { return groups_; }
    // Score of query `q` from the largest products of all tokens.
    float score(std::size_t q, const float* maxima) const {
        return kernels_.weighted_sum(maxima + bounds_[q], weights_.data() + bounds_[q],
                                     bounds_[q + 1] - bounds_[q]);
    }

private:
    template <class T>
    void pack_codes(const KernelTable& kernels, const float* tokens, std::size_t count);
    std::size_t token_of(const Panel& panel, std::size_t lane) const;
    void pack_floats(const float* tokens, std::size_t count);

    const MaxSimKernels& kernels_;
    std::size_t dims_;
    bool as_codes_;
    std::vector<std::size_t> bounds_;  // tokens before each query
    std::size_t padded_;
    std::size_t groups_;
    std::size_t token_bytes_;  // of the codes of one token
    std::vector<Panel> panels_;
    AlignedArray<float> floats_;
    AlignedArray<unsigned char> codes_;
    std::vector<float> sums_;     // of each token's codes
    std::vector<float> weights_;  // what one step of its codes stands for, or 1
};

}  // namespace nearfield::multivector
