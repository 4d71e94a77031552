// Changing a built graph: nodes leave and their neighbours are linked past them (as in FreshDiskANN, arXiv
// 2105.09613, section 4.2), nodes enter with their lists and the reverse edges (section 4.1). Neither depends
// on the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "graph/build.h"

namespace nearfield::graph {

// A graph some of whose nodes leave.
struct OldGraph {
    const std::uint32_t* neighbours;  // [count, degree], ended by kNoNeighbour where shorter
    std::size_t count;
    const std::uint32_t*
        place;  // [count], ascending new numbers of the nodes that stay, kNoNeighbour for others
};

// The lists of the nodes that stay, in their new numbers [nodes that stay, degree]. A node that loses
// neighbours chooses among those it keeps and those that the lost ones, and lost ones behind these, lead to;
// the nearest `candidates` of them take part.
void drop_nodes(const BuildRows& rows, const OldGraph& old, std::size_t candidates, const BuildParams& params,
                const BuildControl& control, std::uint32_t* neighbours);

// Gives the rows [first, first + row_count) the lists `forward` [row_count, degree], and every row that these
// lists name an edge back; prunes what becomes too long. `neighbours` [rows.count, degree] is changed in
// place.
void add_nodes(const BuildRows& rows, std::size_t first, std::size_t row_count, const std::uint32_t* forward,
               const BuildParams& params, const BuildControl& control, std::uint32_t* neighbours);

// Nodes that fewer than `least` lists name are hard to find: they are put into the lists of their own
// neighbours, in the place of the last one that more than twice as many name. Returns how many lists were
// changed.
std::size_t raise_in_degrees(std::size_t count, std::size_t degree, std::size_t least,
                             std::uint32_t* neighbours);

// Puts each of some nodes into the lists of the `by_count` nodes given for it, in the same way; negative ones
// are passed over.
void name_nodes(std::size_t count, std::size_t degree, std::size_t least, const std::uint32_t* nodes,
                std::size_t node_count, const std::int64_t* by, std::size_t by_count,
                std::uint32_t* neighbours);

}  // namespace nearfield::graph
