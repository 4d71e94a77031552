#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <numeric>
#include <vector>

#include "bindings/array_view.h"
#include "bindings/maybe_without_gil.h"
#include "bindings/register.h"
#include "core/cancel_flag.h"
#include "core/cosine.h"
#include "core/dispatch.h"
#include "core/thread_pool.h"
#include "core/unit_rows.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace nearfield::bindings {
namespace {

constexpr std::int64_t kThreadsMax = 1024;

constexpr const char* kIsaDoc =
    R"(Name of the instruction-set tier in use: NEARFIELD_ISA's, else the fastest this CPU runs.)";

constexpr const char* kThreadPoolDoc =
    R"(Threads that native calls may share. Any number of Python threads may use one at once.)";

constexpr const char* kThreadPoolInitDoc = R"(
Args:
    threads: how many work at once, the calling thread included.

Raises:
    ValueError: fewer than 1 or more than 1024.)";

constexpr const char* kCrc32cDoc = R"(CRC-32C (Castagnoli) of the bytes of a C-contiguous buffer.

Args:
    initial: the result for the bytes before these, to go on from.

Raises:
    ValueError: not a C-contiguous buffer.)";

constexpr const char* kUnitRowsDoc = R"(A copy of float32 [n, d] with rows scaled to unit length.

Rows of zeros, and rows holding an infinity or a NaN, are copied as they are. The result is the same on
every CPU.

Raises:
    ValueError: not a C-contiguous float32 [n, d].)";

constexpr const char* kCosineHitsDoc = R"(Make hits by negated inner product of unit vectors hits by cosine
distance, in place: adding 1 rounds, and what is equal then goes by row.

Args:
    rows: int64 [nq, k], -1 pads.
    products: float32 [nq, k], ascending, +inf pads; becomes the distances.

Raises:
    ValueError: not writable C-contiguous arrays of these dtypes and one shape.)";

constexpr const char* kStreamReadDoc = R"(Read every byte once: what the memory gives, to compare scans with.

Args:
    streams: sequences read in turn per thread, 1 to 8.
    prefetch: how many bytes ahead to prefetch, 0 for none.
    pool: all its threads read, each its own part; None reads on the calling thread.

Returns:
    a number that depends on the bytes, so that reading them cannot be skipped.)";

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const KernelTable* tier : available_tiers()) names.emplace_back(tier->isa);
    return names;
}

void construct_pool(ThreadPool* self, std::int64_t threads) {
    if (threads < 1 || threads > kThreadsMax) {
        raise_value_error("threads: expected 1 to " + std::to_string(kThreadsMax) + ", got " +
                          std::to_string(threads));
    }
    new (self) ThreadPool(static_cast<std::size_t>(threads));
}

std::uint32_t crc32c(nb::handle data, std::uint32_t initial) {
    const ArrayView view(data, "data");
    return maybe_without_gil(view.bytes(),
                             [&] { return kernels().crc32c(initial, view.data<void>(), view.bytes()); });
}

nb::object unit_rows_of(nb::handle rows) {
    const ArrayView view(rows, "rows");
    if (!view.is(DType::f32, 2)) view.reject("float32 [n, d]");
    nb::object units = empty_array(DType::f32, {view.shape(0), view.shape(1)});
    const ArrayView out(units, "units", true);
    maybe_without_gil(view.bytes(), [&] {
        unit_rows(view.data<float>(), view.shape(0), view.shape(1), out.mutable_data<float>());
    });
    return units;
}

void make_cosine_hits(nb::handle rows, nb::handle products) {
    const ArrayView row_view(rows, "rows", true);
    if (!row_view.is(DType::i64, 2)) row_view.reject("int64 [nq, k]");
    const ArrayView product_view(products, "products", true);
    expect(product_view, DType::f32, {row_view.shape(0), row_view.shape(1)});
    maybe_without_gil(row_view.bytes(), [&] {
        cosine_hits(row_view.mutable_data<std::int64_t>(), product_view.mutable_data<float>(),
                    row_view.shape(0), row_view.shape(1));
    });
}

std::uint64_t stream_read(nb::handle data, std::size_t streams, std::size_t prefetch, ThreadPool* pool) {
    const ArrayView view(data, "data");
    const std::size_t parts = pool != nullptr ? pool->threads() : 1;
    const std::size_t part_bytes = view.bytes() / parts;
    const auto* base = view.data<unsigned char>();
    std::vector<std::uint64_t> sums(parts);
    const auto read = [&](std::size_t part) {
        const std::size_t bytes = part + 1 == parts ? view.bytes() - part * part_bytes : part_bytes;
        sums[part] = kernels().stream_read(base + part * part_bytes, bytes, streams, prefetch);
    };
    const nb::gil_scoped_release release;
    if (pool != nullptr) {
        pool->parallel_for(parts, read);
    } else {
        read(0);
    }
    return std::accumulate(sums.begin(), sums.end(), std::uint64_t{0});
}

}  // namespace

void register_core(nb::module_& module) {
    const auto isa = [] { return kernels().isa; };
    module.def("isa", isa, nb::sig("def isa() -> str"), kIsaDoc);
    module.def("available_isas", &available_isas, "Names of the tiers this CPU runs, slowest first.");

    nb::class_<ThreadPool>(module, "ThreadPool", kThreadPoolDoc)
        .def("__init__", &construct_pool, "threads"_a, kThreadPoolInitDoc)
        .def_prop_ro("threads", &ThreadPool::threads, "How many threads work at once, the calling included.");

    nb::class_<CancelFlag>(module, "CancelFlag", "Asks a running native call to stop, from any thread.")
        .def(nb::init<>())
        .def("set", &CancelFlag::set, "Ask for the stop; there is no way back.")
        .def("is_set", &CancelFlag::is_set);

    const nb::object base = nb::module_::import_("nearfield.engine.errors").attr("Cancelled");
    nb::exception<Cancelled>(module, "Cancelled", base.ptr());

    module.def("crc32c", &crc32c, "data"_a, "initial"_a = 0,
               nb::sig("def crc32c(data: typing_extensions.Buffer | numpy.typing.NDArray[typing.Any], "
                       "initial: int = 0) -> int"),
               kCrc32cDoc);
    module.def("unit_rows", &unit_rows_of, "rows"_a,
               nb::sig("def unit_rows(rows: numpy.typing.NDArray[numpy.float32]) -> "
                       "numpy.typing.NDArray[numpy.float32]"),
               kUnitRowsDoc);
    module.def("cosine_hits", &make_cosine_hits, "rows"_a, "products"_a,
               nb::sig("def cosine_hits(rows: numpy.typing.NDArray[numpy.int64], products: "
                       "numpy.typing.NDArray[numpy.float32]) -> None"),
               kCosineHitsDoc);
    module.def("stream_read", &stream_read, "data"_a, "streams"_a = 1, "prefetch"_a = 0,
               "pool"_a = nb::none(),
               nb::sig("def stream_read(data: typing_extensions.Buffer | numpy.typing.NDArray[typing.Any], "
                       "streams: int = 1, prefetch: int = 0, pool: ThreadPool | None = None) -> int"),
               kStreamReadDoc);
}

}  // namespace nearfield::bindings
