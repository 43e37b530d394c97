/// Python face of the answering side: `Dispatcher` and `Session`.
#pragma once

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bind_client.hpp"
#include "bind_python.hpp"
#include "handlers.hpp"
#include "service.hpp"

namespace cudaq_target::binding {

using Table = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using State = nb::ndarray<std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

inline constexpr std::uint32_t kMaxSyndromeBits = 24;
/// How long a dispatcher that nobody stopped waits for its function before it is forgotten.
inline constexpr std::int64_t kPatienceNs = 5'000'000'000;
inline constexpr std::uint32_t kAnyLength = 0xFFFF'FFFF;

/// A dispatcher with what its functions need to stay alive.
class PyDispatcher {
public:
    PyDispatcher(std::uint32_t window, std::size_t session_bytes, bool has_guard, bool is_in_place)
        : dispatcher_(std::make_unique<Dispatcher>(has_guard)),
          window_(window),
          session_bytes_(session_bytes),
          is_in_place_(is_in_place) {}
    PyDispatcher(const PyDispatcher&) = delete;
    PyDispatcher& operator=(const PyDispatcher&) = delete;
    ~PyDispatcher() {
        if (!end(Service::Stop::kCancel, is_given_up_ ? 0 : kPatienceNs)) {
            // A function that never returns may still touch these; they stay for ever.
            static_cast<void>(service_.release());
            static_cast<void>(session_.release());
            static_cast<void>(dispatcher_.release());
            static_cast<void>(caller_.release());
            static_cast<void>(new auto(std::move(python_)));
            static_cast<void>(new auto(std::move(tables_)));
            static_cast<void>(new auto(std::move(segment_)));
            kept_.inc_ref();
        }
    }

    /// For the collector of cycles: a handler in Python may hold its server.
    int traverse(visitproc visit, void* arg) const {
        for (const auto& function : python_) {
            Py_VISIT(function->handler.ptr());
        }
        return caller_ ? caller_->traverse(visit, arg) : 0;
    }
    void let_go() {
        if (end(Service::Stop::kCancel, kPatienceNs)) {
            for (const auto& function : python_) {
                function->handler = nb::none();
            }
        }
    }

    void add_builtin(const std::string& name, std::int64_t deadline_ns) {
        Function function;
        function.deadline_ns = deadline_ns;
        if (name == "rpc_increment") {
            function.call = rpc_increment;
        } else if (name == "echo") {
            function.call = echo;
        } else if (name == "occupation") {
            function.call = occupation;
            function.min_arg_bytes = sizeof(ShotBatchHeader);
        } else {
            throw nb::value_error("built-in functions are 'rpc_increment', 'echo' and 'occupation'");
        }
        add(name, function);
    }

    void add_address(const std::string& name, std::uintptr_t address, bool is_stateful,
                     std::optional<State> state, std::uint32_t min_arg_bytes,
                     std::uint32_t max_arg_bytes, std::int64_t deadline_ns, bool is_float64_result,
                     nb::object keep_alive) {
        if (address == 0) {
            throw nb::value_error("address is 0; pass the address of a compiled function");
        }
        Function function;
        if (is_stateful) {
            function.stateful_call = reinterpret_cast<StatefulCall>(address);
        } else {
            function.call = reinterpret_cast<DeviceCall>(address);
        }
        function.state = state ? state->data() : nullptr;
        function.min_arg_bytes = min_arg_bytes;
        function.max_arg_bytes = max_arg_bytes;
        function.deadline_ns = deadline_ns;
        function.is_float64_result = is_float64_result;
        add(name, function);
        kept_.append(nb::make_tuple(state, keep_alive));
    }

    void add_look_up(const std::string& name, const Table& table, std::uint32_t syndrome_bits) {
        if (syndrome_bits == 0 || syndrome_bits > kMaxSyndromeBits) {
            throw nb::value_error("syndrome_bits is 1 to 24");
        }
        if (table.shape(0) != std::size_t{1} << syndrome_bits || table.shape(1) == 0) {
            throw nb::value_error("table has shape (2**syndrome_bits, correction_bytes)");
        }
        auto& own = *tables_.emplace_back(std::make_unique<LookupTable>(LookupTable{
            table.data(), syndrome_bits, static_cast<std::uint32_t>(table.shape(1))}));
        Function function;
        function.stateful_call = look_up;
        function.state = &own;
        function.min_arg_bytes = (syndrome_bits + 7) / 8;
        add(name, function);
        kept_.append(table);
    }

    void set_python(nb::object call, nb::object header, nb::object reply, nb::object session,
                    nb::object report) {
        check_idle();
        caller_ = std::make_unique<PythonCaller>(
            *dispatcher_, PythonTypes{std::move(call), std::move(header), std::move(reply),
                                     std::move(session), std::move(report)});
    }

    void add_python(const std::string& name, nb::object handler, std::uint32_t min_arg_bytes,
                    std::uint32_t max_arg_bytes, std::int64_t deadline_ns,
                    std::uint32_t result_float_bytes) {
        if (!caller_) {
            throw nb::value_error("set_python() comes first");
        }
        auto& own = *python_.emplace_back(std::make_unique<PythonFunction>(
            PythonFunction{*caller_, name, std::move(handler), function_id(name),
                           result_float_bytes == sizeof(float)}));
        Function function;
        function.stateful_call = call_python;
        function.state = &own;
        function.min_arg_bytes = min_arg_bytes;
        function.max_arg_bytes = max_arg_bytes;
        function.deadline_ns = deadline_ns;
        function.is_float64_result = result_float_bytes == sizeof(double);
        function.may_refuse = true;
        add(name, function);
    }

    void start(nb::handle_t<MappedSlotRing> ring, const std::string& wait, std::size_t slot_bytes) {
        const auto& mapped = nb::cast<MappedSlotRing&>(ring);
        if (caller_) {
            caller_->see(ring.attr("memory"), mapped.segment->memory());
        }
        open(mapped, wait, slot_bytes);
        service_->start();
    }

    void serve(const MappedSlotRing& ring, const std::string& wait, double timeout_s) {
        open(ring, wait, 0);
        const auto until_ns = deadline_after(
            timeout_s < 1e9 ? static_cast<std::int64_t>(timeout_s * 1e9) : kForever);
        for (;;) {
            const auto pause_ns = std::min(until_ns, deadline_after(kLookAroundNs));
            bool is_stopped = false;
            is_serving_ = true;  // `stop` asks, and this thread ends it
            {
                const Unlocked unlocked;
                is_stopped = service_->run(pause_ns);
            }
            is_serving_ = false;
            const bool is_signalled = PyErr_CheckSignals() != 0;
            if (!service_) {  // what handles the signal has stopped it
                if (is_signalled) {
                    throw nb::python_error();
                }
                return;
            }
            if (is_signalled || is_stopped || pause_ns == until_ns) {
                close();
                if (is_signalled) {
                    throw nb::python_error();
                }
                return;
            }
        }
    }

    void stop(bool drain, double timeout_s) {
        const auto patience_ns = timeout_s < 1e9 ? static_cast<std::int64_t>(timeout_s * 1e9) : kForever;
        if (!end(drain ? Service::Stop::kDrain : Service::Stop::kCancel, patience_ns)) {
            is_given_up_ = true;
            raise("HandlerStuckError", name_of(dispatcher_->running()), timeout_s);
        }
    }

    std::unique_ptr<Session> session(std::size_t frame_bytes, std::uint32_t min_window) {
        check_idle();
        dispatcher_->prepare(frame_bytes);
        return std::make_unique<Session>(std::max(window_, min_window), frame_bytes, session_bytes_);
    }

    std::size_t handle(Session& session, nb::handle request, nb::handle response, bool is_exact) {
        check_idle();
        const BytesLike in(request);
        const BytesLike out(response, PyBUF_WRITABLE);
        if (out.bytes().size() < kFrameHeaderBytes) {
            throw nb::value_error("response has room for fewer than 24 bytes");
        }
        const Unlocked unlocked;
        return dispatcher_->handle(in.bytes(), out.writable(), session, is_exact);
    }

    nb::dict counters() const {
        nb::dict named;
        for (const auto& [name, field] : kCounterNames) {
            named[name] = value_of(dispatcher_->counters(), field);
        }
        named["late_results"] = value_of(dispatcher_->counters(), &Counters::late_results) +
                                dispatcher_->n_late();
        return named;
    }
    std::size_t session_bytes() const { return session_bytes_; }
    std::uint32_t window() const { return window_; }
    std::optional<std::string> running() const {
        const auto id = dispatcher_->running();
        return id == 0 ? std::nullopt : std::optional(name_of(id));
    }
    bool is_running() const { return service_ != nullptr || is_lent_; }

    /// Lends the table to another loop, which calls it from one thread until `give_back`.
    Dispatcher& borrow(std::size_t frame_bytes) {
        check_idle();
        dispatcher_->prepare(frame_bytes);
        is_lent_ = true;
        return *dispatcher_;
    }
    void give_back() noexcept { is_lent_ = false; }

private:
    void check_idle() const {
        if (is_running()) {
            throw nb::value_error("this dispatcher serves a ring or a socket; stop it first");
        }
    }

    /// False when a function has not returned in time; the ring is served on then.
    bool end(Service::Stop how, std::int64_t patience_ns) noexcept {
        const auto until_ns = deadline_after(patience_ns);
        while (is_serving_ || is_ending_) {  // another thread has the service
            if (is_serving_) {
                service_->ask_to_stop(how);
            }
            if (monotonic_ns() > until_ns) {
                return false;
            }
            const Unlocked unlocked;
            const timespec nap{0, kLookAroundNs / 50};
            nanosleep(&nap, nullptr);
        }
        bool is_stopped = true;
        if (service_) {
            is_ending_ = true;
            const Unlocked unlocked;  // a handler may want the lock
            is_stopped = service_->stop(how, patience_ns);
        }
        is_ending_ = true;
        if (is_stopped) {
            close();
            const Unlocked unlocked;
            is_stopped = dispatcher_->end_aside(until_ns);
        }
        is_ending_ = false;
        return is_stopped;
    }

    std::string name_of(std::uint32_t id) const {
        const auto known = std::ranges::find(names_, id, &std::pair<std::uint32_t, std::string>::first);
        return known == names_.end() ? "?" : known->second;
    }

    void add(const std::string& name, Function function) {
        check_idle();
        function.id = function_id(name);
        if (!dispatcher_->add(function)) {
            throw nb::value_error(
                ("a function with the id of '" + name + "' is registered already").c_str());
        }
        names_.emplace_back(function.id, name);
    }

    void open(const MappedSlotRing& mapped, const std::string& wait, std::size_t slot_bytes) {
        check_idle();
        const auto strategy = wait_from(wait);
        auto& control = mapped.control();
        const auto geometry = geometry_of(control);
        const auto frame_bytes = std::size_t{std::max(geometry.rx_stride_bytes,
                                                      geometry.tx_stride_bytes)};
        dispatcher_->prepare(frame_bytes);
        session_ = is_in_place_
                       ? std::make_unique<Session>(AnswerWindow(geometry.n_slots), session_bytes_)
                       : std::make_unique<Session>(window_, frame_bytes, session_bytes_);
        claim_or_raise(control.consumer, mapped.name, "consumer");
        segment_ = mapped.segment;
        service_ = std::make_unique<Service>(SlotRing(segment_->memory(), geometry), *dispatcher_,
                                             *session_, strategy,
                                             slot_bytes == 0 ? frame_bytes : slot_bytes);
    }

    void close() noexcept {
        if (service_) {
            service_.reset();
            // Whoever sleeps for an answer looks around within `kLookAroundNs` and finds us gone.
            release_role(segment_->control().consumer, own_stamp());
            segment_.reset();
        }
    }

    std::unique_ptr<Dispatcher> dispatcher_;
    std::vector<std::pair<std::uint32_t, std::string>> names_;
    std::uint32_t window_;
    std::size_t session_bytes_;
    bool is_in_place_;
    std::unique_ptr<PythonCaller> caller_;
    std::vector<std::unique_ptr<PythonFunction>> python_;
    std::vector<std::unique_ptr<LookupTable>> tables_;
    nb::list kept_;
    std::shared_ptr<Segment> segment_;
    std::unique_ptr<Session> session_;
    std::unique_ptr<Service> service_;
    bool is_lent_ = false;
    bool is_given_up_ = false;  ///< `stop` has waited already
    // Written and read with the interpreter lock:
    bool is_serving_ = false;  ///< `serve` runs
    bool is_ending_ = false;   ///< `end` waits
};

inline int traverse_dispatcher(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    return nb::inst_ready(self) ? nb::inst_ptr<PyDispatcher>(self)->traverse(visit, arg) : 0;
}
inline int clear_dispatcher(PyObject* self) {
    nb::inst_ptr<PyDispatcher>(self)->let_go();
    return 0;
}
inline PyType_Slot dispatcher_slots[] = {
    {Py_tp_traverse, reinterpret_cast<void*>(traverse_dispatcher)},
    {Py_tp_clear, reinterpret_cast<void*>(clear_dispatcher)},
    {0, nullptr},
};

inline void bind_dispatcher(nb::module_& module) {
    nb::class_<Session>(module, "Session",
                        "What a dispatcher remembers of one client; made by `Dispatcher.session`.")
        .def("reset", &Session::reset, "Forget everything: another client has taken the place.");
    nb::class_<PyDispatcher>(module, "Dispatcher", nb::type_slots(dispatcher_slots),
                             "Answers requests by a table of compiled functions, without the "
                             "interpreter lock.")
        .def(nb::init<std::uint32_t, std::size_t, bool, bool>(), nb::kw_only(), "window"_a = 0,
             "session_bytes"_a = 0, "guard"_a = false, "in_place"_a = false,
             "Make an empty table.\n\n"
             "Args:\n    window: Requests per session within which a repeated one is answered again "
             "and not executed; 0 for none.\n"
             "    session_bytes: Memory per session for stateful functions, zeroed for each new "
             "client (bytes).\n"
             "    guard: Whether to check that functions stay within their result; costs a copy.\n"
             "    in_place: Whether answers on a ring are remembered where they lie, in the place of "
             "`window`: the last n_slots - 1.")
        .def("add_builtin", &PyDispatcher::add_builtin, "name"_a, nb::kw_only(), "deadline_ns"_a = 0,
             "Register a function of the library.\n\n"
             "Args:\n    name: \"rpc_increment\", \"echo\" or \"occupation\".\n"
             "    deadline_ns: A later result is answered DEADLINE (ns); 0 for none.\n\n"
             "Raises:\n    ValueError: The name is unknown or taken, or a ring is being served.")
        .def("add_address", &PyDispatcher::add_address, "name"_a, "address"_a, nb::kw_only(),
             "stateful"_a = false, "state"_a = nb::none(), "min_arg_bytes"_a = 0,
             "max_arg_bytes"_a = kAnyLength, "deadline_ns"_a = 0, "float64_result"_a = false,
             "keep_alive"_a = nb::none(),
             nb::sig("def add_address(self, name: str, address: int, *, stateful: bool = False, "
                     "state: numpy.typing.NDArray[numpy.uint8] | None = None, min_arg_bytes: int = 0, "
                     "max_arg_bytes: int = 4294967295, deadline_ns: int = 0, "
                     "float64_result: bool = False, keep_alive: object = None) -> None"),
             "Register a compiled function with CUDA-Q Realtime's DEVICE_CALL signature.\n\n"
             "Args:\n    name: Its id is the hash of its name.\n"
             "    address: Of `int f(const void* in, void* out, uint32_t arg_len, uint32_t "
             "max_result_len, uint32_t* result_len)`.\n"
             "    stateful: Whether it takes a sixth argument, `void* state`.\n"
             "    state: Writable bytes for it; None for the memory of the session.\n"
             "    min_arg_bytes: Shorter arguments are answered BAD_REQUEST (bytes).\n"
             "    max_arg_bytes: Longer ones, too (bytes).\n"
             "    deadline_ns: A later result is answered DEADLINE (ns); 0 for none.\n"
             "    float64_result: Whether a result that is not finite is answered INTERNAL_ERROR.\n"
             "    keep_alive: What owns the code at `address`.\n\n"
             "Raises:\n    ValueError: The id is taken, the address 0, or a ring is being served.")
        .def("add_look_up", &PyDispatcher::add_look_up, "name"_a, "table"_a, "syndrome_bits"_a,
             nb::sig("def add_look_up(self, name: str, table: numpy.typing.NDArray[numpy.uint8], "
                     "syndrome_bits: int) -> None"),
             "Register a decoder that looks corrections up.\n\n"
             "Args:\n    name: Its id is the hash of its name.\n"
             "    table: Corrections, shape (2**syndrome_bits, correction_bytes); kept, not copied.\n"
             "    syndrome_bits: 1 to 24. Arguments are one or more packed syndromes.\n\n"
             "Raises:\n    ValueError: The shape or `syndrome_bits` is wrong, or the id taken.")
        .def("set_python", &PyDispatcher::set_python, "call"_a, "header"_a, "reply"_a, "session"_a,
             "report"_a,
             nb::sig("def set_python(self, call: type, header: type, reply: type, session: "
                     "collections.abc.Callable[[int], object], report: "
                     "collections.abc.Callable[[str, BaseException], None]) -> None"),
             "Say what handlers in Python get and give.\n\n"
             "Args:\n    call: `dispatch.Call`.\n    header: `frame.RequestHeader`.\n"
             "    reply: `dispatch.Reply`.\n    session: Makes a session of the number of a client.\n"
             "    report: Told the name of a function and what its handler raised.")
        .def("add_python", &PyDispatcher::add_python, "name"_a, "handler"_a, nb::kw_only(),
             "min_arg_bytes"_a = 0, "max_arg_bytes"_a = kAnyLength, "deadline_ns"_a = 0,
             "result_float_bytes"_a = 0,
             nb::sig("def add_python(self, name: str, handler: "
                     "collections.abc.Callable[[typing.Any], object], *, min_arg_bytes: int = 0, "
                     "max_arg_bytes: int = 4294967295, deadline_ns: int = 0, "
                     "result_float_bytes: int = 0) -> None"),
             "Register a handler in Python; the interpreter lock is taken for it alone.\n\n"
             "Args:\n    name: Its id is the hash of its name.\n"
             "    handler: As in `dispatch.Function`; it never pends.\n"
             "    min_arg_bytes: Shorter arguments are answered BAD_REQUEST (bytes).\n"
             "    max_arg_bytes: Longer ones, too (bytes).\n"
             "    deadline_ns: A later result is answered DEADLINE (ns); 0 for none.\n"
             "    result_float_bytes: 4 or 8 where a result of such floats that is not finite is "
             "answered INTERNAL_ERROR; 0 for any other result.\n\n"
             "Raises:\n    ValueError: The id is taken, or a ring is being served.")
        .def("start", &PyDispatcher::start, "ring"_a, nb::kw_only(), "wait"_a = "adaptive",
             "slot_bytes"_a = 0,
             nb::sig("def start(self, ring: SlotRing, *, wait: str = \"adaptive\", "
                     "slot_bytes: int = 0) -> None"),
             "Serve a ring on a thread of its own, until `stop`.\n\n"
             "Args:\n    ring: The ring; this process becomes its consumer.\n"
             "    wait: \"busy\", \"yield\", \"adaptive\" or \"block\".\n"
             "    slot_bytes: Longest request and answer (bytes); 0 for a whole slot.\n\n"
             "Raises:\n    RoleTakenError: Another dispatcher serves the ring.")
        .def("serve", &PyDispatcher::serve, "ring"_a, nb::kw_only(), "wait"_a = "adaptive",
             "timeout_s"_a = 1e12,
             "Serve a ring on the caller's thread.\n\n"
             "Args:\n    ring: The ring; this process becomes its consumer.\n"
             "    wait: \"busy\", \"yield\", \"adaptive\" or \"block\".\n"
             "    timeout_s: For how long (s). Ctrl-C ends it earlier.\n\n"
             "Raises:\n    RoleTakenError: Another dispatcher serves the ring.")
        .def("stop", &PyDispatcher::stop, "drain"_a = true, "timeout_s"_a = 5.0,
             "Stop serving. Requests that wait are answered first.\n\n"
             "Args:\n    drain: Whether by their functions; else with CANCELLED.\n"
             "    timeout_s: How long to wait for a function that runs (s).\n\n"
             "Raises:\n    HandlerStuckError: A function has not returned; the ring is taken until "
             "it does, and `stop` may be called again.")
        .def("session", &PyDispatcher::session, "frame_bytes"_a, nb::kw_only(), "min_window"_a = 0,
             "Memory for one client of a byte transport.\n\n"
             "Args:\n    frame_bytes: Longest request or answer (bytes).\n"
             "    min_window: Requests to remember at least, on transports that repeat them.")
        .def("handle", &PyDispatcher::handle, "session"_a, "request"_a, "response"_a, nb::kw_only(),
             "exact"_a = true,
             nb::sig("def handle(self, session: Session, request: typing_extensions.Buffer, "
                     "response: typing_extensions.Buffer, *, exact: bool = True) -> int"),
             "Answer one request that came over any byte transport.\n\n"
             "Args:\n    session: Of the client that sent it.\n    request: What arrived.\n"
             "    response: Writable, at least 24 bytes; not the memory of `request`.\n"
             "    exact: Whether the transport delivers exact messages. Full-stride datagrams are "
             "longer than their frame.\n\n"
             "Returns:\n    Length of the answer; 0 where none is possible (fewer than 24 bytes).")
        .def("counters", &PyDispatcher::counters, nb::sig("def counters(self) -> dict[str, int]"),
             "Counts since construction, by the names of `counters.Counters`.")
        .def_prop_ro("running", &PyDispatcher::running, "Name of the function that runs; None for none.")
        .def_prop_ro("session_bytes", &PyDispatcher::session_bytes,
                     "Memory per session for stateful functions (bytes).")
        .def_prop_ro("window", &PyDispatcher::window, "Requests remembered per session.")
        .def_prop_ro("is_running", &PyDispatcher::is_running,
                     "Whether a ring or a socket is being served.");
}

}  // namespace cudaq_target::binding
