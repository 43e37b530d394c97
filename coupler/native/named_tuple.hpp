/// Named tuples of Python, made without calling Python.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>

#include "binding.hpp"

namespace cudaq_target::binding {

/// Makes an instance of a subclass of `typing.NamedTuple`; `fields` are new references, or null
/// with a Python error set.
template <typename... Fields>
nb::object named_tuple(nb::handle type, Fields... fields) {
    PyObject* const values[] = {fields...};
    PyObject* made = PyType_GenericAlloc(reinterpret_cast<PyTypeObject*>(type.ptr()),
                                         static_cast<Py_ssize_t>(sizeof...(fields)));
    bool is_whole = made != nullptr;
    for (std::size_t i = 0; i < sizeof...(fields); ++i) {
        is_whole &= values[i] != nullptr;
        if (made == nullptr) {
            Py_XDECREF(values[i]);
        } else {
            PyTuple_SetItem(made, static_cast<Py_ssize_t>(i), values[i]);  // takes the reference
        }
    }
    if (!is_whole) {
        Py_XDECREF(made);
        throw nb::python_error();
    }
    return nb::steal(made);
}

}  // namespace cudaq_target::binding
