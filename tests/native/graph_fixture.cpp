#include "graph_fixture.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "core/dispatch.h"
#include "encodings/half.h"
#include "encodings/lvq.h"
#include "graph/search.h"
#include "kernels/code_kernels.h"

namespace nearfield {
namespace {

using encodings::CodeLayout;

constexpr std::size_t kEntries = 12;
constexpr std::size_t kCopies = 5;

// Coordinates that a projection keeps: the others are small.
std::size_t kept(std::size_t dims) { return dims < 4 ? dims : dims * 3 / 4; }

const graph::BuildParams kParams{MadeGraph::kDegree, 1.2f};

double squared(const float* a, const float* b, std::size_t dims) {
    double sum = 0.0;
    for (std::size_t i = 0; i < dims; ++i) sum += (static_cast<double>(a[i]) - b[i]) * (a[i] - b[i]);
    return sum;
}

Lists spread(std::size_t count) {
    Lists entries(std::min(count, kEntries));
    for (std::size_t i = 0; i < entries.size(); ++i)
        entries[i] = static_cast<std::uint32_t>(i * count / entries.size());
    return entries;
}

Exact<std::uint8_t> encoded(const float* rows, std::size_t count, const CodeLayout& layout,
                            std::size_t stride) {
    Exact<std::uint8_t> codes(count * stride + CodeLayout::kSlack);
    encodings::encode_lvq(rows, count, layout, {layout.bits == 4}, nullptr, codes.data(), stride);
    return codes;
}

}  // namespace

MadeRows::MadeRows(std::size_t row_count, std::size_t dimensions, unsigned seed)
    : count(row_count),
      dims(dimensions),
      stride((dimensions + 63) / 64 * 64),
      values(row_count * dimensions),
      vectors(row_count * stride),
      scales(row_count) {
    constexpr std::size_t kClusterRows = 90;
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const std::size_t clusters = std::max<std::size_t>(1, count / kClusterRows);
    std::vector<std::vector<float>> centres(clusters, std::vector<float>(dims));
    for (auto& centre : centres)
        for (float& value : centre) value = normal(random);
    for (std::size_t c = 0; c <= clusters; ++c) {  // each next one a little larger
        const double share = static_cast<double>(c) / static_cast<double>(clusters);
        starts.push_back(static_cast<std::int64_t>(static_cast<double>(count) * (share + share * share) / 2));
    }
    for (std::size_t c = 0; c < clusters; ++c) {
        for (auto r = static_cast<std::size_t>(starts[c]); r < static_cast<std::size_t>(starts[c + 1]); ++r)
            for (std::size_t i = 0; i < dims; ++i)
                values[r * dims + i] = (centres[c][i] + normal(random)) * (i < kept(dims) ? 1.0f : 0.2f);
    }
    for (std::size_t r = 1; r <= kCopies && 2 * r < count; ++r)
        std::copy_n(row(count - 1), dims, values.data() + (count - 1 - r) * dims);
    if (count > 20) std::fill_n(values.data() + 10 * dims, dims, 0.0f);
    probe_count = std::min<std::size_t>(4, clusters);
    for (const auto& centre : centres) {
        std::vector<std::pair<double, std::int32_t>> order;
        for (std::size_t c = 0; c < clusters; ++c)
            order.emplace_back(squared(centre.data(), centres[c].data(), dims), c);
        std::sort(order.begin(), order.end());
        for (std::size_t p = 0; p < probe_count; ++p) probes.push_back(order[p].second);
    }
    for (std::size_t r = 0; r < count; ++r)
        scales[r] = kernels().codes->quantize(row(r), dims, vectors.data() + r * stride).scale;
}

std::vector<std::int64_t> searched(const MadeRows& rows, const Lists& lists, std::size_t list_count,
                                   std::size_t first, std::size_t candidates, ThreadPool* pool) {
    const CodeLayout layout{4, rows.dims};
    const std::size_t stride = layout.stride(64);
    const Exact<std::uint8_t> codes = encoded(rows.values.data(), list_count, layout, stride);
    const Lists entries = spread(list_count);
    Lists own(list_count);
    for (std::size_t i = 0; i < list_count; ++i) own[i] = static_cast<std::uint32_t>(i);
    const Exact<float> mean(rows.dims);
    const graph::CodeRows none{{8, rows.dims}, 0, nullptr};
    const graph::GraphView view{list_count,     MadeGraph::kDegree,
                                lists.data(),   entries.data(),
                                entries.size(), {layout, stride, codes.data()},
                                none,           false,
                                nullptr,        RowType::f32,
                                list_count,     nullptr,
                                own.data(),     own.data(),
                                Metric::l2,     rows.dims,
                                mean.data(),    1.0f,
                                nullptr,        nullptr,
                                nullptr,        0};
    const graph::Searcher searcher(view);
    const std::size_t queries = rows.count - first;
    std::vector<std::int64_t> found(queries * candidates);
    std::vector<float> distances(found.size());
    searcher.search({rows.row(first),
                     queries,
                     {candidates, candidates, 0, 0, 3, 0, false},
                     nullptr,
                     found.data(),
                     distances.data()},
                    pool, nullptr);
    return found;
}

Lists linked(const MadeRows& rows, ThreadPool* pool, std::size_t rounds) {
    constexpr std::size_t kCandidates = 32;
    const graph::BuildControl control{pool, nullptr, {}};
    Lists lists(rows.count * kParams.degree), order(rows.count);
    graph::link_clusters(rows.build_rows(),
                         {rows.starts.data(), rows.starts.size() - 1, rows.probes.data(), rows.probe_count},
                         kCandidates, kParams, control, lists.data());
    graph::add_reverse(rows.build_rows(), kParams, control, lists.data());
    for (std::size_t round = 0; round < rounds; ++round) {
        graph::connect_and_order(rows.count, kParams.degree, 0, lists.data(), order.data());
        const std::vector<std::int64_t> found = searched(rows, lists, rows.count, 0, kCandidates, pool);
        graph::link_candidates(rows.build_rows(), 0, rows.count, found.data(), kCandidates, kParams, control,
                               lists.data());
        graph::add_reverse(rows.build_rows(), kParams, control, lists.data());
    }
    return lists;
}

MadeGraph::MadeGraph(const MadeRows& rows, const Lists& lists, Variant variant, Metric metric)
    : rows_(rows),
      neighbours_(lists.size()),
      entries_(spread(rows.count)),
      row_of_(rows.count),
      node_of_(rows.count),
      mean_(rows.dims) {
    Lists linked_lists(lists.size());
    std::copy_n(lists.data(), lists.size(), linked_lists.data());
    graph::connect_and_order(rows.count, kDegree, 0, linked_lists.data(), row_of_.data());
    for (std::size_t node = 0; node < rows.count; ++node)
        node_of_[row_of_[node]] = static_cast<std::uint32_t>(node);
    for (std::size_t i = 0; i < lists.size(); ++i) {
        const std::uint32_t to = linked_lists[row_of_[i / kDegree] * kDegree + i % kDegree];
        neighbours_[i] = to == graph::kNoNeighbour ? to : node_of_[to];
    }
    const graph::CodeRows none{{8, rows.dims}, 0, nullptr};
    view_ = {rows.count,
             kDegree,
             neighbours_.data(),
             entries_.data(),
             entries_.size(),
             none,
             none,
             false,
             rows.values.data(),
             RowType::f32,
             rows.count,
             nullptr,
             row_of_.data(),
             node_of_.data(),
             metric,
             rows.dims,
             mean_.data(),
             1.0f,
             nullptr,
             nullptr,
             nullptr,
             0};
    for (std::size_t r = 0; r < rows.count; ++r)
        for (std::size_t i = 0; i < rows.dims; ++i)
            mean_[i] += rows.row(r)[i] / static_cast<float>(rows.count);
    // Any pivot is exact where the norms are of it, the rows' mean as well.
    if (metric == Metric::ip && variant == Variant::two_levels) view_.query_mean = mean_.data();
    encode(variant);
}

void MadeGraph::encode(Variant variant) {
    if (variant == Variant::full_rows) {
        row_scale_ = Exact<float>(rows_.count);
        for (std::size_t r = 0; r < rows_.count; ++r) row_scale_[r] = 0.5f + static_cast<float>(r % 7) / 7.0f;
        if (view_.metric == Metric::ip) view_.row_scale = row_scale_.data();
        return;
    }
    if (variant == Variant::projected) project();
    const std::size_t reduced = variant == Variant::projected ? view_.primary.layout.dims : rows_.dims;
    const CodeLayout first{variant == Variant::lvq8 ? 8 : 4, reduced};
    const CodeLayout second{8, rows_.dims};
    Exact<float> centred(rows_.count * rows_.dims), projected(rows_.count * reduced), norms(rows_.count);
    for (std::size_t node = 0; node < rows_.count; ++node) {
        float* out = centred.data() + node * rows_.dims;
        for (std::size_t i = 0; i < rows_.dims; ++i) {
            out[i] = rows_.row(row_of_[node])[i] - mean_[i];
            norms[node] += view_.metric == Metric::l2 ? out[i] * out[i] : -out[i] * mean_[i];
        }
        std::copy_n(out, reduced, projected.data() + node * reduced);
    }
    const std::size_t stride = first.stride(64), second_stride = second.stride(1);
    primary_ = Exact<std::uint8_t>(rows_.count * stride + CodeLayout::kSlack);
    encodings::encode_lvq(projected.data(), rows_.count, first, {first.bits == 4}, norms.data(),
                          primary_.data(), stride);
    view_.primary = {first, stride, primary_.data()};
    if (variant == Variant::lvq8) return;
    secondary_ = Exact<std::uint8_t>(rows_.count * second_stride + CodeLayout::kSlack);
    view_.secondary = {second, second_stride, secondary_.data()};
    view_.secondary_is_residual = variant == Variant::two_levels;
    if (view_.secondary_is_residual) {
        const Exact<float> nothing(rows_.count);
        encodings::encode_lvq_residual(centred.data(), rows_.count, {first, primary_.data(), stride}, second,
                                       nothing.data(), secondary_.data(), second_stride);
        return;
    }
    encodings::encode_lvq(centred.data(), rows_.count, second, {false}, norms.data(), secondary_.data(),
                          second_stride);
    // Full rows in half precision, as a collection may keep them.
    halves_ = Exact<std::uint16_t>(rows_.count * rows_.dims);
    for (std::size_t i = 0; i < halves_.size(); ++i) halves_[i] = encodings::to_half(rows_.values[i]);
    view_.rows = halves_.data();
    view_.row_type = RowType::f16;
}

void MadeGraph::project() {
    const std::size_t reduced = kept(rows_.dims);
    projection_ = Exact<std::int8_t>(reduced * rows_.stride);
    projection_sums_ = Exact<std::int32_t>(reduced);
    projection_scales_ = Exact<float>(reduced);
    for (std::size_t i = 0; i < reduced; ++i) {
        projection_[i * rows_.stride + i] = 127;
        projection_sums_[i] = 127;
        projection_scales_[i] = 1.0f / 127.0f;
    }
    view_.primary.layout.dims = reduced;
    view_.projection = projection_.data();
    view_.projection_sums = projection_sums_.data();
    view_.projection_scales = projection_scales_.data();
    view_.projection_stride = rows_.stride;
}

double MadeGraph::distance(const float* query, std::size_t row) const {
    double sum = 0.0;
    for (std::size_t i = 0; i < rows_.dims; ++i) {
        const float value = view_.row_type == RowType::f16
                                ? encodings::from_half(halves_[row * rows_.dims + i])
                                : rows_.row(row)[i];
        const double apart = static_cast<double>(query[i]) - value;
        sum += view_.metric == Metric::l2 ? apart * apart : -static_cast<double>(query[i]) * value;
    }
    return view_.row_scale != nullptr ? sum * view_.row_scale[row] : sum;
}

void MadeGraph::damage_links(unsigned seed) {
    std::mt19937 random(seed);
    for (std::size_t i = 0; i < neighbours_.size(); ++i) {
        const auto kind = random() % 4;  // in range, just beyond it, none, anything
        const auto any = static_cast<std::uint32_t>(random());
        neighbours_[i] = kind == 0   ? any % static_cast<std::uint32_t>(rows_.count)
                         : kind == 1 ? static_cast<std::uint32_t>(rows_.count) + any % 3
                         : kind == 2 ? graph::kNoNeighbour
                                     : any;
    }
}

void MadeGraph::damage_codes(unsigned seed) {
    std::mt19937 random(seed);
    for (const Exact<std::uint8_t>* codes : {&primary_, &secondary_})
        for (std::size_t i = 0; i < codes->size(); ++i) (*codes)[i] = static_cast<std::uint8_t>(random());
}

}  // namespace nearfield
