/// What the Python faces share: errors, bytes-like arguments, waits that Ctrl-C ends.
#pragma once

#include <nanobind/nanobind.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <utility>
#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif

#include "frame_wire.hpp"

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

/// Calls `take`, which takes the interpreter lock. An interpreter that ends refuses it by ending the
/// thread, through frames of ours that cannot unwind; such a thread stays here instead.
template <typename Take>
auto or_stay(Take take) {
#if defined(__GLIBCXX__)
    try {
        return take();
    } catch (const abi::__forced_unwind&) {
        for (;;) {
            pause();
        }
    }
#else
    return take();
#endif
}

/// Without the interpreter lock, to the end of the block.
class Unlocked {
public:
    Unlocked() : state_(PyEval_SaveThread()) {}
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;
    ~Unlocked() {
        or_stay([this] { PyEval_RestoreThread(state_); });
    }

private:
    PyThreadState* state_;
};

/// A link is one thread's: a second user would find its state half changed, or its memory gone.
inline void raise_if_waiting(const FrameWire& wire) {
    if (wire.is_waiting()) [[unlikely]] {
        raise("LinkInUseError");
    }
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
