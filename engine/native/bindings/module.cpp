#include <nanobind/nanobind.h>

#include "bindings/register.h"
#include "core/dispatch.h"

NB_MODULE(_native, module) {
    module.doc() =
        "Native core of Nearfield: SIMD kernels and the loops over rows. Releases the GIL while it works.";
    nearfield::kernels();  // a bad NEARFIELD_ISA must fail the import, not the first search
    nearfield::bindings::register_core(module);
    nearfield::bindings::register_arrays(module);
    nearfield::bindings::register_bits(module);
    nearfield::bindings::register_flat(module);
    nearfield::bindings::register_encodings(module);
    nearfield::bindings::register_fde(module);
    nearfield::bindings::register_graph(module);
    nearfield::bindings::register_graph_extend(module);
    nearfield::bindings::register_graph_walk(module);
    nearfield::bindings::register_maxsim(module);
}
