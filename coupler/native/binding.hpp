/// What the Python faces share: errors, bytes-like arguments, waits that Ctrl-C ends.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <span>
#include <utility>

namespace cudaq_target::binding {

namespace nb = nanobind;

/// Raises a class of `cudaq_target.coupler.errors`, which is imported on failure only.
template <typename... Fields>
[[noreturn]] void raise(const char* error_class, Fields&&... fields) {
    const nb::object type = nb::module_::import_("cudaq_target.coupler.errors").attr(error_class);
    const nb::object error = type(std::forward<Fields>(fields)...);
    PyErr_SetObject(type.ptr(), error.ptr());
    throw nb::python_error();
}

/// Any contiguous bytes-like object, for the length of one call.
class BytesLike {
public:
    explicit BytesLike(nb::handle object, int flags = PyBUF_SIMPLE) {
        if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) {
            throw nb::python_error();
        }
    }
    BytesLike(const BytesLike&) = delete;
    BytesLike& operator=(const BytesLike&) = delete;
    ~BytesLike() { PyBuffer_Release(&view_); }

    std::span<const std::byte> bytes() const {
        return {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
    }
    /// Only after construction with `PyBUF_WRITABLE`.
    std::span<std::byte> writable() const {
        return {static_cast<std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
    }

private:
    Py_buffer view_{};
};

}  // namespace cudaq_target::binding
