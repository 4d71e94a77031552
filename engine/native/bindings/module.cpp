#include <nanobind/nanobind.h>

NB_MODULE(_native, module) {
    module.doc() = "Native core of Nearfield";
    module.def("isa", [] { return "baseline"; }, "Name of the instruction-set tier in use.");
}
