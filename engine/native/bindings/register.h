#pragma once

#include <nanobind/nanobind.h>

namespace nearfield::bindings {

void register_arrays(nanobind::module_& module);  // is_finite_matrix, take_query_vectors
void register_bits(nanobind::module_& module);    // is_bitmap, bits_at, count_bits, ...
void register_core(
    nanobind::module_& module);  // isa, ThreadPool, CancelFlag, crc32c, unit_rows, cosine_hits, stream_read
void register_flat(nanobind::module_& module);          // flat_search, code_search, gather_distances
void register_encodings(nanobind::module_& module);     // lvq_stride, lvq_encode, lvq_decode
void register_fde(nanobind::module_& module);           // SimHashEncoder, LearnedCells, responses, ...
void register_graph(nanobind::module_& module);         // link_*, add_reverse, connect_and_order, Graph
void register_graph_extend(nanobind::module_& module);  // drop_nodes, add_nodes, ...
void register_graph_walk(nanobind::module_& module);    // graph_range_search, GraphRowStream
void register_maxsim(nanobind::module_& module);        // maxsim_search, _rerank, _scores, carve_queries

}  // namespace nearfield::bindings
