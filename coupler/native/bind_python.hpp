/// Handlers in Python behind the native table: the lock is taken for the handler alone.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "binding.hpp"
#include "dispatcher.hpp"
#include "named_tuple.hpp"

namespace cudaq_target::binding {

/// Whether the interpreter is about to end; threads that leave then do not ask for its lock any more,
/// as whoever joins them would wait for ever.
inline std::atomic<bool>& interpreter_ends() noexcept {
    static std::atomic<bool> is_near{false};
    return is_near;
}

/// Takes note of the end of the interpreter; called once.
inline void watch_interpreter() {
    nb::module_::import_("atexit").attr("register")(
        nb::cpp_function([] { interpreter_ends().store(true); }));
}

/// The interpreter lock, for a thread that Python may not know. Such a thread becomes known with its
/// first call and stays it: to introduce it costs more than most handlers.
class Interpreter {
public:
    Interpreter() {
        static thread_local Introduction introduction;
        static_cast<void>(introduction);
        state_ = or_stay(PyGILState_Ensure);
    }
    Interpreter(const Interpreter&) = delete;
    Interpreter& operator=(const Interpreter&) = delete;
    ~Interpreter() { PyGILState_Release(state_); }

private:
    struct Introduction {
        Introduction() {
            if (PyGILState_GetThisThreadState() == nullptr) {
                state = or_stay(PyGILState_Ensure);
                thread = PyEval_SaveThread();
            }
        }
        Introduction(const Introduction&) = delete;
        Introduction& operator=(const Introduction&) = delete;
        ~Introduction() {
            if (thread != nullptr && !interpreter_ends()) {
                or_stay([this] { PyEval_RestoreThread(thread); });
                PyGILState_Release(state);
            }
        }
        PyGILState_STATE state{};
        PyThreadState* thread = nullptr;
    };

    PyGILState_STATE state_;
};

/// What handlers get and give: classes of `dispatch` and `frame`.
struct PythonTypes {
    nb::object call;
    nb::object header;
    nb::object reply;
    nb::object session;  ///< called with the number of a client
    nb::object report;   ///< called with the name of a function and what its handler raised
};

/// Turns requests into calls of Python and replies into results.
class PythonCaller {
public:
    PythonCaller(const Dispatcher& dispatcher, PythonTypes types)
        : dispatcher_(dispatcher), types_(std::move(types)) {}

    /// Memory whose requests and results handlers see in place; kept by whatever views it.
    void see(nb::handle owner, std::span<const std::byte> memory) {
        view_ = nb::steal(PyMemoryView_FromObject(owner.ptr()));
        if (!view_) {
            throw nb::python_error();
        }
        memory_ = memory;
    }

    /// Calls a handler; with the lock. False where its reply cannot be sent.
    bool call(nb::handle handler, std::uint32_t function, const std::byte* in, std::byte* out,
              std::uint32_t arg_len, std::uint32_t max_result, std::int32_t& status,
              std::uint32_t& result_len) {
        const auto arguments = holds(in) ? part(in, arg_len) : copy(in, arg_len);
        const bool is_in_place = holds(out);
        // Beside the serving thread a late handler keeps its memory, and others go on.
        const auto own = is_in_place                ? nb::object()
                         : dispatcher_.is_aside() ? new_bytes(max_result)
                                                  : scratch(max_result);
        const auto result = is_in_place ? part(out, max_result) : view_of(own);
        const auto header = load<RequestHeader>(in - kFrameHeaderBytes);
        auto names = named_tuple(types_.header, PyLong_FromUnsignedLong(function),
                                 PyLong_FromUnsignedLong(arg_len),
                                 PyLong_FromUnsignedLong(header.request_id),
                                 PyLong_FromUnsignedLongLong(header.timestamp_ns));
        const auto request =
            named_tuple(types_.call, arguments.inc_ref().ptr(), result.inc_ref().ptr(),
                        nb::borrow(client()).release().ptr(), names.release().ptr(),
                        PyLong_FromUnsignedLongLong(++n_calls_));
        PyObject* const given[] = {request.ptr()};
        const auto reply = nb::steal(
            or_stay([&] { return PyObject_Vectorcall(handler.ptr(), given, 1, nullptr); }));
        if (!reply) {
            throw nb::python_error();
        }
        if (!read(reply, max_result, status, result_len)) {
            return false;
        }
        if (!is_in_place) {
            std::memcpy(out, PyByteArray_AsString(own.ptr()), result_len);
        }
        return true;
    }

    /// For the collector of cycles: a session or a report may lead back to the server.
    int traverse(visitproc visit, void* arg) const {
        for (const auto* held : {&types_.call, &types_.header, &types_.reply, &types_.session,
                                 &types_.report, &view_, &scratch_, &newest_}) {
            Py_VISIT(held->ptr());
        }
        Py_VISIT(clients_.ptr());
        return 0;
    }

    void report(const std::string& name, nb::python_error& error) noexcept {
        try {
            or_stay([&] { types_.report(name, error.value()); });
        } catch (nb::python_error& second) {
            second.discard_as_unraisable("cudaq_target.coupler: report of a failed handler");
        }
    }

private:
    static constexpr std::size_t kMaxClients = 256;

    bool holds(const std::byte* at) const noexcept {
        return at >= memory_.data() && at < memory_.data() + memory_.size();
    }

    nb::object part(const std::byte* at, std::size_t n_bytes) const {
        const auto start = static_cast<std::size_t>(at - memory_.data());
        const auto slice = nb::steal(PySlice_New(nb::int_(start).ptr(),
                                                 nb::int_(start + n_bytes).ptr(), nullptr));
        auto made = nb::steal(PyObject_GetItem(view_.ptr(), slice.ptr()));
        if (!made) {
            throw nb::python_error();
        }
        return made;
    }

    static nb::object view_of(nb::handle owner) {
        auto made = nb::steal(PyMemoryView_FromObject(owner.ptr()));
        if (!made) {
            throw nb::python_error();
        }
        return made;
    }

    static nb::object copy(const std::byte* in, std::size_t n_bytes) {
        return view_of(nb::bytes(in, n_bytes));
    }

    /// Memory of ours for a result; a new one where its length changes, as old views may be kept.
    nb::object scratch(std::size_t n_bytes) {
        if (!scratch_ || static_cast<std::size_t>(PyByteArray_Size(scratch_.ptr())) != n_bytes) {
            scratch_ = new_bytes(n_bytes);
        }
        return scratch_;
    }

    static nb::object new_bytes(std::size_t n_bytes) {
        auto made = nb::steal(
            PyByteArray_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(n_bytes)));
        if (!made) {
            throw nb::python_error();
        }
        return made;
    }

    nb::handle client() {
        const auto id = dispatcher_.client_id();
        if (id == newest_id_) {
            return newest_;
        }
        const nb::int_ key(id);
        if (!clients_.contains(key)) {
            if (clients_.size() >= kMaxClients) {
                clients_.clear();
            }
            clients_[key] = or_stay([&] { return types_.session(key); });
        }
        newest_id_ = id;
        newest_ = clients_[key];
        return newest_;
    }

    bool read(nb::handle reply, std::uint32_t max_result, std::int32_t& status,
              std::uint32_t& result_len) const {
        if (PyObject_IsInstance(reply.ptr(), types_.reply.ptr()) != 1) {
            PyErr_Clear();  // of a class that cannot be asked
            return false;
        }
        long long values[2];
        for (int i = 0; i < 2; ++i) {
            PyObject* field = PyTuple_GetItem(reply.ptr(), i);  // borrowed
            if (field == nullptr || !PyLong_Check(field)) {
                PyErr_Clear();
                return false;
            }
            int overflow = 0;
            values[i] = PyLong_AsLongLongAndOverflow(field, &overflow);
            if (overflow != 0) {
                return false;
            }
        }
        if (values[0] < INT32_MIN || values[0] > INT32_MAX || values[1] < 0 ||
            values[1] > std::int64_t{max_result}) {
            return false;
        }
        status = static_cast<std::int32_t>(values[0]);
        result_len = static_cast<std::uint32_t>(values[1]);
        return true;
    }

    const Dispatcher& dispatcher_;
    PythonTypes types_;
    nb::object view_;
    std::span<const std::byte> memory_;
    nb::object scratch_;
    nb::dict clients_;
    nb::object newest_;
    std::uint64_t newest_id_ = 0;
    std::uint64_t n_calls_ = 0;
};

/// State of one handler in Python.
struct PythonFunction {
    PythonCaller& caller;
    std::string name;
    nb::object handler;
    std::uint32_t id;
    bool is_float32_result;
};

inline bool all_finite_float32(const std::byte* result, std::uint32_t n_bytes) noexcept {
    bool is_finite = n_bytes % sizeof(float) == 0;
    for (std::uint32_t at = 0; at + sizeof(float) <= n_bytes; at += sizeof(float)) {
        is_finite &= std::isfinite(load<float>(result + at));
    }
    return is_finite;
}

/// A `StatefulCall`: no exception leaves it, and a failure leaves `result_len` unset.
inline int call_python(const void* in, void* out, std::uint32_t arg_len,
                       std::uint32_t max_result_len, std::uint32_t* result_len,
                       void* state) noexcept {
    auto& function = *static_cast<PythonFunction*>(state);
    auto* result = static_cast<std::byte*>(out);
    std::int32_t status = 0;
    std::uint32_t n_bytes = 0;
    const Interpreter lock;
    try {
        const bool is_sent =
            function.caller.call(function.handler, function.id, static_cast<const std::byte*>(in),
                                 result, arg_len, max_result_len, status, n_bytes) &&
            (!function.is_float32_result || all_finite_float32(result, n_bytes));
        if (is_sent) {
            *result_len = n_bytes;
        }
    } catch (nb::python_error& error) {
        function.caller.report(function.name, error);
    }
    return status;
}

}  // namespace cudaq_target::binding
