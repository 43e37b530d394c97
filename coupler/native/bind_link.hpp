/// The usual path of a link in one call: number, send, wait, match, answer. `LinkCore`.
#pragma once

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "binding.hpp"
#include "fork.hpp"
#include "frame.hpp"
#include "frame_wire.hpp"
#include "named_tuple.hpp"
#include "wait.hpp"
#include "window.hpp"

namespace cudaq_target::binding {

/// Instants of a link: far, and never beyond the end of the clock.
inline std::int64_t nanoseconds(double seconds) noexcept {
    constexpr double kFarS = 9e9;
    if (!(seconds > 0.0)) {  // not a number, too
        return 0;
    }
    return seconds < kFarS ? static_cast<std::int64_t>(1e9 * seconds) : kForever;
}

/// Window and usual path of one link; `link.Link` does the rest, on the same window.
class LinkCore {
public:
    LinkCore(std::uint32_t n_slots, std::size_t slot_bytes, nb::object answer_type, bool is_exact,
             std::uint64_t first)
        : window_(checked(n_slots), first),
          asked_(n_slots),
          slot_bytes_(slot_bytes),
          answer_type_(std::move(answer_type)),
          is_exact_(is_exact),
          generation_(fork_generation()) {}

    void attach(nb::object wire) {
        check_free();
        wire_ = &nb::cast<FrameWire&>(wire);
        kept_ = std::move(wire);
    }
    void detach() {
        check_free();
        wire_ = nullptr;
        kept_.reset();
    }

    /// An answer; the id of the request where it was sent and has no answer yet; else None.
    nb::object call(nb::handle function, nb::handle arguments, double timeout_s,
                    std::uint64_t timestamp_ns) {
        check_free();
        if (window_.n_open() != 0) {
            return nb::none();
        }
        const auto until_ns = deadline_after(nanoseconds(timeout_s));
        const auto wanted = send(function, arguments, timeout_s, timestamp_ns, until_ns);
        if (!wanted) {
            return nb::none();
        }
        if (wire_->await(until_ns)) {
            if (auto answer = take(); answer) {
                return answer;
            }
        }
        return nb::int_(*wanted);
    }

    /// The id of the request; None where nothing was sent.
    std::optional<std::uint32_t> submit(nb::handle function, nb::handle arguments, double timeout_s,
                                        std::uint64_t timestamp_ns) {
        check_free();
        return send(function, arguments, timeout_s, timestamp_ns,
                    deadline_after(nanoseconds(timeout_s)));
    }

    /// An answer; None where none came, or something out of the ordinary.
    nb::object collect(double timeout_s) {
        check_free();
        if (wire_ == nullptr || window_.n_open() == 0 || !is_owner()) {
            return nb::none();
        }
        const auto now_ns = monotonic_ns();
        if (now_ns >= next_check_ns_) {
            next_check_ns_ = now_ns + kCheckNs;  // deadlines are the business of `Link`
            return nb::none();
        }
        const auto wait_ns = std::min(nanoseconds(timeout_s), next_check_ns_ - now_ns);
        if (wire_->front().empty() && (wait_ns <= 0 || !wire_->await(now_ns + wait_ns))) {
            return nb::none();
        }
        auto answer = take();
        return answer ? std::move(answer) : nb::none();
    }

    std::optional<std::uint32_t> open(std::int64_t deadline_ns, nb::object function,
                                      double timeout_s) {
        if (window_.n_free() == 0) {
            return std::nullopt;
        }
        return begin(deadline_ns, std::move(function), timeout_s);
    }

    const char* close(std::uint32_t request_id) {
        switch (window_.close(request_id)) {
            case Match::kOurs: return "answered";
            case Match::kDuplicate: return "duplicates";
            case Match::kStale: return "stale";
            default: return "unmatched";
        }
    }

    nb::list expired(std::int64_t now_ns) {
        nb::list late;
        window_.expire(now_ns,
                       [&](std::uint64_t number) { late.append(static_cast<std::uint32_t>(number)); });
        return late;
    }

    nb::tuple asked(std::uint32_t request_id) const {
        const auto place = window_.place_of_id(request_id);
        return nb::make_tuple(asked_[place].function, asked_[place].timeout_s,
                              window_.deadline_ns(place));
    }

    std::uint64_t take_count() noexcept { return std::exchange(n_answered_, 0); }
    std::uint32_t n_open() const noexcept { return window_.n_open(); }
    std::uint32_t n_free() const noexcept { return window_.n_free(); }

private:
    /// Collecting stops so often for a look at deadlines.
    static constexpr std::int64_t kCheckNs = 5'000'000;

    static std::uint32_t checked(std::uint32_t n_slots) {
        if (n_slots == 0 || n_slots > 1U << 31) {
            throw nb::value_error("1 to 2147483648 requests in flight are possible");
        }
        return n_slots;
    }

    struct Asked {
        nb::object function;
        double timeout_s = 0.0;
    };

    void check_free() const {
        if (wire_ != nullptr) {
            raise_if_waiting(*wire_);
        }
    }

    bool is_owner() const noexcept { return generation_ == fork_generation(); }

    std::uint32_t id_of(nb::handle function) {
        if (function.ptr() == last_name_.ptr()) {
            return last_id_;
        }
        if (PyLong_Check(function.ptr())) {
            return nb::cast<std::uint32_t>(function);
        }
        Py_ssize_t length = 0;
        const char* name = PyUnicode_AsUTF8AndSize(function.ptr(), &length);
        if (name == nullptr) {
            throw nb::python_error();
        }
        last_id_ = function_id(std::string_view(name, static_cast<std::size_t>(length)));
        last_name_ = nb::borrow(function);
        return last_id_;
    }

    std::uint32_t begin(std::int64_t deadline_ns, nb::object function, double timeout_s) {
        const auto id = window_.next_id();
        auto& asked = asked_[window_.next_place()];
        asked.function = std::move(function);
        asked.timeout_s = timeout_s;
        window_.open(deadline_ns);
        return id;
    }

    std::optional<std::uint32_t> send(nb::handle function, nb::handle arguments, double timeout_s,
                                      std::uint64_t timestamp_ns, std::int64_t until_ns) {
        if (wire_ == nullptr || window_.n_free() == 0 || !is_owner()) {
            return std::nullopt;
        }
        const auto id = id_of(function);
        const BytesLike body(arguments);
        const auto bytes = body.bytes();
        const auto n_bytes = kFrameHeaderBytes + bytes.size();
        const auto room = wire_->room();
        if (n_bytes > slot_bytes_ || n_bytes > room.size()) {
            return std::nullopt;
        }
        std::copy(bytes.begin(), bytes.end(), room.data() + kFrameHeaderBytes);
        write_header(room.data(),
                     RequestHeader{kRequestMagic, id, static_cast<std::uint32_t>(bytes.size()),
                                   window_.next_id(), timestamp_ns});
        if (!wire_->put(n_bytes)) {
            return std::nullopt;
        }
        return begin(until_ns, nb::borrow(function), timeout_s);
    }

    /// The answer in front, where it is one to a request in flight; else nothing, and it stays.
    nb::object take() {
        const auto frame = wire_->front();
        const auto n_bytes = is_exact_ ? frame.size() : std::min(frame.size(), slot_bytes_);
        if (n_bytes < kFrameHeaderBytes) {
            return {};
        }
        // A private copy: a faulty peer cannot change what was checked.
        const auto header = load<ResponseHeader>(frame.data());
        if (check_response(header, n_bytes, slot_bytes_, is_exact_) != FrameFault::kNone ||
            window_.match(header.request_id) != Match::kOurs) {
            return {};
        }
        auto answer = named_tuple(
            answer_type_, PyLong_FromUnsignedLong(header.request_id),
            PyLong_FromLong(header.status),
            PyBytes_FromStringAndSize(
                reinterpret_cast<const char*>(frame.data() + kFrameHeaderBytes),
                static_cast<Py_ssize_t>(header.result_len)),
            PyLong_FromUnsignedLongLong(header.timestamp_ns));
        window_.close(header.request_id);
        wire_->release();
        ++n_answered_;
        return answer;
    }

    RequestWindow window_;
    std::vector<Asked> asked_;
    std::size_t slot_bytes_;
    nb::object answer_type_;
    bool is_exact_;
    std::uint32_t generation_;
    FrameWire* wire_ = nullptr;
    nb::object kept_;
    nb::object last_name_;
    std::uint32_t last_id_ = 0;
    std::uint64_t n_answered_ = 0;
    std::int64_t next_check_ns_ = 0;
};

inline void bind_link(nb::module_& module) {
    nb::class_<LinkCore>(module, "LinkCore",
                         "Requests in flight of one link, and its usual path in single calls.")
        .def(nb::init<std::uint32_t, std::size_t, nb::object, bool, std::uint64_t>(), "n_slots"_a,
             "slot_bytes"_a, "answer_type"_a, nb::kw_only(), "exact"_a = false,
             "first_sequence"_a = 0,
             nb::sig("def __init__(self, n_slots: int, slot_bytes: int, answer_type: type, *, "
                     "exact: bool = False, first_sequence: int = 0) -> None"),
             "Start a session.\n\n"
             "Args:\n    n_slots: Requests in flight at most.\n"
             "    slot_bytes: Longest frame (bytes).\n"
             "    answer_type: `sessions.Answer`.\n"
             "    exact: Whether frames arrive with their exact length.\n"
             "    first_sequence: Number of the first request.")
        .def("attach", &LinkCore::attach, "wire"_a,
             nb::sig("def attach(self, wire: FrameWire) -> None"),
             "Send and receive through this from now on.")
        .def("detach", &LinkCore::detach,
             "There is no connection: `call`, `submit` and `collect` give None.\n\n"
             "Raises:\n    LinkInUseError: One of them waits.")
        .def("call", &LinkCore::call, "function"_a, "arguments"_a, "timeout_s"_a, "timestamp_ns"_a,
             nb::sig("def call(self, function: str | int, arguments: typing_extensions.Buffer, "
                     "timeout_s: float, timestamp_ns: int) -> object"),
             "Send a request and wait for its answer, where nothing else is in flight.\n\n"
             "Returns:\n    The answer; the id of the request where it was sent and what came, or did "
             "not come, is out\n    of the ordinary; None where nothing was sent.")
        .def("submit", &LinkCore::submit, "function"_a, "arguments"_a, "timeout_s"_a,
             "timestamp_ns"_a,
             nb::sig("def submit(self, function: str | int, arguments: typing_extensions.Buffer, "
                     "timeout_s: float, timestamp_ns: int) -> int | None"),
             "Send a request.\n\nReturns:\n    Its id; None where nothing was sent.")
        .def("collect", &LinkCore::collect, "timeout_s"_a,
             nb::sig("def collect(self, timeout_s: float) -> object"),
             "Receive an answer.\n\n"
             "Returns:\n    The answer; None where none came, what came is none of ours, or deadlines "
             "are to be looked at.")
        .def("open", &LinkCore::open, "deadline_ns"_a = 0, "function"_a = "", "timeout_s"_a = 0.0,
             nb::sig("def open(self, deadline_ns: int = 0, function: str | int = \"\", "
                     "timeout_s: float = 0.0) -> int | None"),
             "Begin the next request; as `sessions.RequestWindow.open`.")
        .def("close", &LinkCore::close, "request_id"_a,
             "Take an answer; the value of a `sessions.Match`.")
        .def("expired", &LinkCore::expired, "now_ns"_a,
             nb::sig("def expired(self, now_ns: int) -> list[int]"),
             "Give up the requests whose deadline has passed, oldest first.")
        .def("asked", &LinkCore::asked, "request_id"_a,
             nb::sig("def asked(self, request_id: int) -> tuple[str | int, float, int]"),
             "Function, patience (s) and deadline (ns) of one of the last requests, as many as there "
             "are slots.")
        .def("take_count", &LinkCore::take_count,
             "Answers that `call` and `collect` gave since this was asked last.")
        .def_prop_ro("n_open", &LinkCore::n_open, "Requests in flight.")
        .def_prop_ro("n_free", &LinkCore::n_free, "Requests that `open` takes now.");
}

}  // namespace cudaq_target::binding
