#pragma once

#include <nanobind/nanobind.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/array_view.h"
#include "bindings/build_arrays.h"
#include "core/dispatch.h"
#include "graph/filter_plan.h"
#include "graph/graph_view.h"
#include "graph/search.h"
#include "kernels/bit_kernels.h"

namespace nearfield::bindings {

namespace nb = nanobind;

// None or an array.
inline const ArrayView* viewed(std::optional<ArrayView>& slot, nb::handle object, const char* name) {
    if (object.is_none()) return nullptr;
    slot.emplace(object, name);
    return &*slot;
}

// A searchable graph over arrays of Python's, which it holds.
class Graph {
public:
    Graph(nb::handle neighbours, nb::handle entries, nb::handle row_of, nb::handle primary,
          std::int64_t primary_bits, std::int64_t primary_dims, std::int64_t primary_stride,
          nb::handle secondary, std::int64_t secondary_bits, std::int64_t secondary_stride,
          bool secondary_is_residual, nb::handle rows, nb::handle row_scale, std::string_view metric,
          nb::handle mean, float scale, nb::handle projection, nb::handle projection_sums,
          nb::handle projection_scales, nb::handle query_mean)
        : neighbours_(neighbours, "neighbours"),
          entries_(entries, "entries"),
          row_of_(row_of, "row_of"),
          mean_(mean, "mean") {
        if (!neighbours_.is(DType::u32, 2)) neighbours_.reject("uint32 [n, degree]");
        const std::size_t count = neighbours_.shape(0);
        const std::size_t degree = neighbours_.shape(1);
        if (!entries_.is(DType::u32, 1) || entries_.shape(0) == 0) entries_.reject("uint32 [at least 1]");
        expect(row_of_, DType::u32, {count});
        check_nodes(entries_, count);
        if (!mean_.is(DType::f32, 1)) mean_.reject("float32 [d]");
        const std::size_t dims = mean_.shape(0);
        const graph::CodeRows none{{8, dims}, 0, nullptr};
        view_ = {count,
                 degree,
                 neighbours_.data<std::uint32_t>(),
                 entries_.data<std::uint32_t>(),
                 entries_.shape(0),
                 none,
                 none,
                 secondary_is_residual,
                 nullptr,
                 RowType::f32,
                 0,
                 nullptr,
                 row_of_.data<std::uint32_t>(),
                 nullptr,
                 metric == "l2" ? Metric::l2 : Metric::ip,
                 dims,
                 mean_.data<float>(),
                 scale,
                 nullptr,
                 nullptr,
                 nullptr,
                 0};
        if (metric != "l2" && metric != "ip") throw nb::value_error("metric: expected 'l2' or 'ip'");
        if (const ArrayView* view = viewed(primary_, primary, "primary")) {
            view_.primary = code_rows(*view, primary_bits, checked_size(primary_dims, "primary_dims", 1),
                                      primary_stride, count);
        } else if (rows.is_none()) {
            throw nb::value_error("rows: expected an array where there are no primary codes, got None");
        }
        if (const ArrayView* view = viewed(secondary_, secondary, "secondary")) {
            view_.secondary = code_rows(*view, secondary_bits, dims, secondary_stride, count);
        }
        if (const ArrayView* view = viewed(rows_, rows, "rows")) {
            view_.row_type = row_type(*view);
            if (view->shape(1) != dims) view->reject("[n, " + std::to_string(dims) + "]");
            view_.rows = view->data<void>();
            view_.row_count = view->shape(0);
        } else {
            view_.row_count = count;
        }
        check_nodes(row_of_, view_.row_count);
        node_of_.assign(view_.row_count, graph::kNoNeighbour);
        for (std::size_t node = 0; node < count; ++node)
            node_of_[view_.row_of[node]] = static_cast<std::uint32_t>(node);
        view_.node_of = node_of_.data();
        if (const ArrayView* view = viewed(row_scale_, row_scale, "row_scale")) {
            expect(*view, DType::f32, {view_.row_count});
            view_.row_scale = view->data<float>();
        }
        if (const ArrayView* view = viewed(projection_, projection, "projection")) {
            const std::size_t reduced = view_.primary.layout.dims;
            view_.projection_stride = (dims + 63) / 64 * 64;
            expect(*view, DType::i8, {reduced, view_.projection_stride});
            expect(*viewed(projection_sums_, projection_sums, "projection_sums"), DType::i32, {reduced});
            expect(*viewed(projection_scales_, projection_scales, "projection_scales"), DType::f32,
                   {reduced});
            view_.projection = view->data<std::int8_t>();
            view_.projection_sums = projection_sums_->data<std::int32_t>();
            view_.projection_scales = projection_scales_->data<float>();
        } else if (view_.primary.layout.dims != dims) {
            throw nb::value_error(
                "primary_dims: expected the dimensions of the rows where there is no projection");
        }
        if (const ArrayView* view = viewed(query_mean_, query_mean, "query_mean")) {
            expect(*view, DType::f32, {dims});
            view_.query_mean = view->data<float>();
        }
        searcher_.emplace(view_);
    }

    nb::tuple search(nb::handle queries, std::int64_t k, std::int64_t ef, std::int64_t rerank_secondary,
                     std::int64_t rerank_exact, std::int64_t in_flight, bool scan, nb::handle allow,
                     std::int64_t expansions_most, float agreement_least,
                     const graph::AdaptiveWindow* adaptive, ThreadPool* pool,
                     const CancelFlag* cancel) const {
        const graph::SearchParams params{checked_size(k, "k", 1),
                                         checked_size(std::max(ef, k), "ef", 1),
                                         checked_size(rerank_secondary, "rerank_secondary", 0),
                                         checked_size(rerank_exact, "rerank_exact", 0),
                                         checked_size(in_flight, "in_flight", 1),
                                         scan,
                                         checked_size(expansions_most, "expansions_most", 0),
                                         agreement_least,
                                         adaptive != nullptr ? *adaptive : graph::AdaptiveWindow{}};
        std::optional<ArrayView> allow_slot;
        const Answers found = answers(queries, allowed_words(allow_slot, allow), params, pool, cancel);
        return nb::make_tuple(found.rows, found.distances,
                              nb::make_tuple(found.counts.distances, found.counts.hops, found.short_answers));
    }

    nb::object search_filtered(nb::handle queries, const graph::FilterPlan& plan, nb::handle allow,
                               ThreadPool* pool, const CancelFlag* cancel) const {
        std::optional<ArrayView> allow_slot;
        const std::uint64_t* words = allowed_words(allow_slot, allow);
        if (words == nullptr) throw nb::value_error("allow: expected an array, got None");
        const std::size_t allowed = count_allowed(words);
        if (allowed <= plan.rows_most) return nb::none();
        const graph::SearchParams params = plan.params(allowed, view_.row_count);
        // Where every row is allowed the answer is that without a filter.
        const Answers found =
            answers(queries, allowed < view_.row_count ? words : nullptr, params, pool, cancel);
        return nb::make_tuple(found.rows, found.distances, found.short_answers);
    }

    const graph::GraphView& view() const { return view_; }

private:
    const std::uint64_t* allowed_words(std::optional<ArrayView>& slot, nb::handle allow) const {
        const ArrayView* words = viewed(slot, allow, "allow");
        if (words == nullptr) return nullptr;
        expect(*words, DType::u64, {(view_.row_count + 63) / 64});
        return words->data<std::uint64_t>();
    }

    // Bits beyond the rows mean nothing.
    std::size_t count_allowed(const std::uint64_t* words) const {
        const std::size_t whole = view_.row_count / 64, rest = view_.row_count % 64;
        std::size_t count = kernels().bits->count(words, whole);
        if (rest != 0) {
            const std::uint64_t last = words[whole] & ((std::uint64_t{1} << rest) - 1);
            count += static_cast<std::size_t>(std::popcount(last));
        }
        return count;
    }

    struct Answers {
        nb::object rows;
        nb::object distances;
        graph::SearchCounts counts{};
        std::size_t short_answers = 0;  // queries with fewer than k rows
    };

    Answers answers(nb::handle queries, const std::uint64_t* allow, const graph::SearchParams& params,
                    ThreadPool* pool, const CancelFlag* cancel) const {
        const ArrayView query_view(queries, "queries");
        if (!query_view.is(DType::f32, 2) || query_view.shape(1) != view_.dims) {
            query_view.reject("float32 [nq, " + std::to_string(view_.dims) + "]");
        }
        const std::size_t query_count = query_view.shape(0);
        Answers found{empty_array(DType::i64, {query_count, params.k}),
                      empty_array(DType::f32, {query_count, params.k})};
        const ArrayView rows_view(found.rows, "rows", true);
        const ArrayView distances_view(found.distances, "distances", true);
        const graph::SearchCall call{query_view.data<float>(),
                                     query_count,
                                     params,
                                     allow,
                                     rows_view.mutable_data<std::int64_t>(),
                                     distances_view.mutable_data<float>()};
        const nb::gil_scoped_release release;
        found.counts = searcher_->search(call, pool, cancel);
        for (std::size_t query = 1; query <= query_count; ++query)
            found.short_answers += call.rows[query * params.k - 1] < 0 ? 1 : 0;
        return found;
    }

    static void check_nodes(const ArrayView& nodes, std::size_t count) {
        const auto* data = nodes.data<std::uint32_t>();
        for (std::size_t i = 0; i < nodes.bytes() / sizeof(std::uint32_t); ++i) {
            if (data[i] < count) continue;
            throw nb::value_error((std::string(nodes.name()) + ": " + std::to_string(data[i]) + " at " +
                                   std::to_string(i) + " is outside the " + std::to_string(count) + " nodes")
                                      .c_str());
        }
    }

    static graph::CodeRows code_rows(const ArrayView& view, std::int64_t bits, std::size_t dims,
                                     std::int64_t stride, std::size_t count) {
        if (bits != 4 && bits != 8) throw nb::value_error("bits: expected 4 or 8");
        const encodings::CodeLayout layout{static_cast<int>(bits), dims};
        const std::size_t bytes = checked_size(stride, "stride", static_cast<std::int64_t>(layout.stride(1)));
        const std::size_t needed = count * bytes + encodings::CodeLayout::kSlack;
        if (!view.is(DType::u8, 1) || view.shape(0) < needed) {
            view.reject("uint8 [at least " + std::to_string(needed) + "]");
        }
        return {layout, bytes, view.data<std::uint8_t>()};
    }

    ArrayView neighbours_;
    ArrayView entries_;
    ArrayView row_of_;
    ArrayView mean_;
    std::optional<ArrayView> primary_;
    std::optional<ArrayView> secondary_;
    std::optional<ArrayView> rows_;
    std::optional<ArrayView> row_scale_;
    std::optional<ArrayView> projection_;
    std::optional<ArrayView> projection_sums_;
    std::optional<ArrayView> projection_scales_;
    std::optional<ArrayView> query_mean_;
    std::vector<std::uint32_t> node_of_;
    graph::GraphView view_{};
    std::optional<graph::Searcher> searcher_;
};

}  // namespace nearfield::bindings
