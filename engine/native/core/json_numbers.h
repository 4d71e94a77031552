#pragma once

#include <string_view>
#include <vector>

namespace nearfield {

// The numbers of a JSON array of numbers, appended as float32: of each the nearest double, then the float
// nearest to that, as if it had been a double in between. False for everything else: another value, an
// element that is no number, bad syntax, or a number beyond the range of float32; `out` then holds what came
// before it.
bool parse_json_numbers(std::string_view text, std::vector<float>& out);

}  // namespace nearfield
