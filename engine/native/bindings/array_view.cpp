#include "bindings/array_view.h"

#include <nanobind/stl/string.h>

#include <iterator>
#include <string>

namespace nb = nanobind;

namespace nearfield::bindings {
namespace {

// In the order of DType.
constexpr const char* kDTypeNames[] = {"float32", "float16", "uint8",  "int8", "uint16",
                                       "uint32",  "int32",   "uint64", "int64"};

DType dtype_of(const char* format, Py_ssize_t item_bytes) {
    if (format == nullptr) return item_bytes == 1 ? DType::u8 : DType::other;
    if (*format == '@' || *format == '=' || *format == '<') ++format;
    if (format[0] == '\0' || format[1] != '\0') return DType::other;
    switch (format[0]) {
        case 'f': return DType::f32;
        case 'e': return DType::f16;
        case 'B': return DType::u8;
        case 'b': return DType::i8;
        case 'H': return item_bytes == 2 ? DType::u16 : DType::other;
        case 'I': return item_bytes == 4 ? DType::u32 : DType::other;
        case 'i': return item_bytes == 4 ? DType::i32 : DType::other;
        case 'L':
        case 'Q': return item_bytes == 8 ? DType::u64 : DType::other;
        case 'l':
        case 'q': return item_bytes == 8 ? DType::i64 : DType::other;
        default: return DType::other;
    }
}

// numpy's name of a one-letter buffer format; the format itself where there is none.
std::string type_name(const char* format) {
    const std::string letter = *format == '@' || *format == '=' || *format == '<' ? format + 1 : format;
    if (letter == "f") return "float32";
    if (letter == "e") return "float16";
    if (letter == "d") return "float64";
    if (letter == "?") return "bool";
    if (letter == "B") return "uint8";
    if (letter == "b") return "int8";
    if (letter == "H") return "uint16";
    if (letter == "I" || letter == "i") return letter == "I" ? "uint32" : "int32";
    if (letter == "L" || letter == "Q") return "uint64";
    if (letter == "l" || letter == "q") return "int64";
    return "items of buffer format '" + std::string(format) + "'";
}

}  // namespace

void raise_value_error(const std::string& message) { throw nb::value_error(message.c_str()); }

ArrayView::ArrayView(nb::handle object, const char* name, bool writable) : name_(name) {
    const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object.ptr(), &buffer_, flags) != 0) {
        const nb::python_error cause;
        const std::string wanted = writable ? "a writable C-contiguous array" : "a C-contiguous array";
        const std::string type = nb::cast<std::string>(object.type().attr("__name__"));
        const std::string reason = nb::cast<std::string>(nb::str(cause.value()));
        raise_value_error(std::string(name) + ": expected " + wanted + ", got " + type + ": " + reason);
    }
    dtype_ = dtype_of(buffer_.format, buffer_.itemsize);
}

ArrayView::~ArrayView() { PyBuffer_Release(&buffer_); }

std::string ArrayView::description() const {
    std::string text = type_name(buffer_.format != nullptr ? buffer_.format : "B") + " [";
    for (std::size_t axis = 0; axis < ndim(); ++axis) {
        text += (axis > 0 ? ", " : "") + std::to_string(shape(axis));
    }
    return text + "]";
}

void ArrayView::reject(const std::string& expected) const {
    raise_value_error(std::string(name_) + ": expected " + expected + ", got " + description());
}

RowType row_type(const ArrayView& rows) {
    if (rows.ndim() == 2 && rows.shape(1) > 0) {
        if (rows.dtype() == DType::f32) return RowType::f32;
        if (rows.dtype() == DType::f16) return RowType::f16;
        if (rows.dtype() == DType::u8) return RowType::u8;
    }
    rows.reject("float32, float16 or uint8 [n, d] with d of at least 1");
}

void expect(const ArrayView& view, DType dtype, std::initializer_list<std::size_t> shape) {
    bool fits = view.is(dtype, shape.size());
    for (std::size_t axis = 0; fits && axis < shape.size(); ++axis)
        fits = view.shape(axis) == shape.begin()[axis];
    if (fits) return;
    std::string expected;
    for (const std::size_t size : shape) expected += (expected.empty() ? "" : ", ") + std::to_string(size);
    view.reject(std::string(kDTypeNames[static_cast<int>(dtype)]) + " [" + expected + "]");
}

nb::object empty_array(DType dtype, std::initializer_list<std::size_t> shape) {
    // Looked up once and kept for the life of the process: this is on the path of every search.
    static const nb::handle empty = nb::object(nb::module_::import_("numpy").attr("empty")).release();
    static nb::handle dtypes[std::size(kDTypeNames)];
    nb::handle& wanted = dtypes[static_cast<int>(dtype)];
    if (!wanted.is_valid()) {
        wanted = nb::module_::import_("numpy").attr("dtype")(kDTypeNames[static_cast<int>(dtype)]).release();
    }
    if (shape.size() == 1) return empty(shape.begin()[0], wanted);
    return empty(nb::make_tuple(shape.begin()[0], shape.begin()[1]), wanted);
}

}  // namespace nearfield::bindings
