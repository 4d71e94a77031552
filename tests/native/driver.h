// What the parts of the driver share.
#pragma once

#include <string>

namespace nearfield {

// Counts a check; one that does not hold is printed and fails the run. Any thread may call it.
void check(bool holds, const std::string& what);

// Bitmaps: counting, listing, codes in a range in every tier; slots lifted to rows.
void check_bits();

// LVQ codes: error bounds, extreme rows, both levels, and every tier's scan of them.
void check_lvq();

// The merge of scored nodes into the frontier of a search, in every tier.
void check_frontier();

// The scan of 4-bit rows in two planes, against a plain loop, in every tier.
void check_code_search();

// Panel products, MUVERA encodings, learned cells and pooling.
void check_encodings();

// Graphs: build, search, range, stream, change and damage, on the tier in use. The baseline writes the recall
// it reaches to the file `reference`, the other tiers compare theirs with it; without a name none does.
void check_graph(const std::string& reference);

// MaxSim of ragged documents in every encoding, and the carving of queries.
void check_maxsim();

}  // namespace nearfield
