#pragma once

#include <nanobind/nanobind.h>

namespace nearfield::bindings {

void register_core(
    nanobind::module_& module);  // isa, ThreadPool, CancelFlag, crc32c, normalize_rows, stream_read
void register_flat(nanobind::module_& module);  // flat_search, gather_distances

}  // namespace nearfield::bindings
