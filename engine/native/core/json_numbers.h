#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace nearfield {

// The vectors of the `query` members of a JSON text, and the text with `null` in the place of each.
struct QueryVectors {
    std::string rest;
    std::vector<float> numbers;     // of all vectors, one after the other
    std::vector<std::size_t> ends;  // where each vector ends in `numbers`
};

// Takes the vectors out of a text in which the value of every member named `query` is a non-empty array of
// numbers, or an object that begins with such an array under `nearest`. Of each number the nearest double is
// taken, then the float nearest to that, as if it had been a double in between.
//
// False where that cannot be said of each `"query"` in the text, and where what is left has escapes, by which
// names may be written in other ways. So if it is true, a JSON reader that finds n members `query` in the
// rest, and n is the number of vectors, has found all there are, in the order of the vectors. Whether the
// rest is JSON at all is not known.
bool take_query_vectors(std::string_view text, QueryVectors& out);

}  // namespace nearfield
