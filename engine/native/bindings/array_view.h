#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/kernel_table.h"

namespace nearfield::bindings {

enum class DType { f32, f16, u8, i8, u16, u32, i32, u64, i64, other };

// A C-contiguous array (or any bytes-like object) of Python's, borrowed through the buffer protocol: numpy
// arrays, read-only ones and memory maps alike, without a copy. Holds the buffer until destroyed, which needs
// the GIL.
class ArrayView {
public:
    // Throws ValueError naming `name` unless `object` exposes a C-contiguous buffer.
    ArrayView(nanobind::handle object, const char* name, bool writable = false);
    ~ArrayView();
    ArrayView(const ArrayView&) = delete;
    ArrayView& operator=(const ArrayView&) = delete;

    DType dtype() const { return dtype_; }
    std::size_t ndim() const { return static_cast<std::size_t>(buffer_.ndim); }
    std::size_t shape(std::size_t axis) const { return static_cast<std::size_t>(buffer_.shape[axis]); }
    std::size_t bytes() const { return static_cast<std::size_t>(buffer_.len); }
    const char* name() const { return name_; }
    template <class T>
    const T* data() const {
        return static_cast<const T*>(buffer_.buf);
    }
    template <class T>
    T* mutable_data() const {
        return static_cast<T*>(buffer_.buf);
    }

    bool is(DType dtype, std::size_t ndim) const { return dtype_ == dtype && this->ndim() == ndim; }
    // "float64 [3, 768]", for messages.
    std::string description() const;
    // Throws ValueError "name: expected <expected>, got <description>".
    [[noreturn]] void reject(const std::string& expected) const;

private:
    const char* name_;
    Py_buffer buffer_;
    DType dtype_;
};

[[noreturn]] void raise_value_error(const std::string& message);

// Rows [n, d] of one of the stored types. Throws ValueError.
RowType row_type(const ArrayView& rows);

// Throws ValueError unless the view has this dtype and shape.
void expect(const ArrayView& view, DType dtype, std::initializer_list<std::size_t> shape);

// A new uninitialised numpy array.
nanobind::object empty_array(DType dtype, std::initializer_list<std::size_t> shape);

}  // namespace nearfield::bindings
