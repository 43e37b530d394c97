/// Python face of the ZeroMQ loops: `cudaq_target.coupler._zmq`.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bind_dispatcher.hpp"
#include "zmq_bulk.hpp"
#include "zmq_dealer.hpp"
#include "zmq_service.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace cudaq_target;
using cudaq_target::binding::BytesLike;

namespace {

using Rows = nb::ndarray<const std::uint64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using OwnRows = nb::ndarray<nb::numpy, std::uint64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

class Library {
public:
    explicit Library(const std::string& path) {
        const auto reason = open_zmq(path, *api_);
        if (!reason.empty()) {
            throw nb::value_error(reason.c_str());
        }
    }
    ZmqSocket socket(std::uintptr_t address) const {
        if (address == 0) {
            throw nb::value_error("address is 0; pass `zmq.Socket.underlying`");
        }
        return {*api_, reinterpret_cast<void*>(address)};
    }
    std::tuple<int, int, int> version() const {
        int major = 0, minor = 0, patch = 0;
        api_->version(&major, &minor, &patch);
        return {major, minor, patch};
    }

private:
    ZmqApi* api_ = new ZmqApi;  // for ever: rows over libzmq's messages may outlive this object
};

/// A server's end for handlers in Python; `transports.zeromq.ZmqPort` decides what is sent when.
class Router {
public:
    Router(const Library& library, std::uintptr_t address)
        : socket_(library.socket(address)), name_(socket_.api()), body_(socket_.api()) {}

    nb::object receive_into(nb::handle slot, double timeout_s) {
        const BytesLike landing(slot, PyBUF_WRITABLE);
        const auto timeout_ms = binding::zmq_wait_ms(timeout_s);
        bool has_come = socket_.receive(name_, 0);
        if (!has_come && timeout_ms > 0) {
            const binding::Unlocked unlocked;
            has_come = socket_.receive(name_, timeout_ms);
        }
        if (!has_come) {
            if (socket_.is_broken()) {
                binding::raise_errno(socket_.error());
            }
            return nb::none();
        }
        if (!name_.has_more() || !socket_.receive_rest(body_) || body_.has_more()) {
            socket_.drop_rest(body_);
            ++n_multipart_;
            return nb::none();
        }
        return nb::make_tuple(peer(), binding::land(body_, landing));
    }

    bool send(nb::bytes peer, nb::handle frame, std::size_t n_bytes) {
        const BytesLike buffer(frame);
        const auto body = binding::front_of(buffer, n_bytes);
        const std::span name(static_cast<const std::byte*>(peer.data()), peer.size());
        if (socket_.send(name, true) && socket_.send(body)) {
            return true;
        }
        if (socket_.error() == EHOSTUNREACH) {
            ++n_unreachable_;
            return true;
        }
        if (socket_.is_broken()) {
            binding::raise_errno(socket_.error());
        }
        return false;
    }

    std::uint64_t n_multipart() const { return n_multipart_; }
    std::uint64_t n_unreachable() const { return n_unreachable_; }

private:
    /// The same object as long as the same client speaks: its hash is known then.
    nb::bytes peer() {
        const auto name = name_.bytes();
        if (name.size() != peer_.size() || std::memcmp(name.data(), peer_.data(), name.size()) != 0) {
            peer_ = nb::bytes(name.data(), name.size());
        }
        return peer_;
    }

    ZmqSocket socket_;
    ZmqPart name_;
    ZmqPart body_;
    nb::bytes peer_{"", 0};
    std::uint64_t n_multipart_ = 0;
    std::uint64_t n_unreachable_ = 0;
};

/// `ZmqService` with what it needs to stay alive.
class PyService {
public:
    PyService(const Library& library, std::uintptr_t router, const std::vector<std::uintptr_t>& watched,
              binding::PyDispatcher& dispatcher, std::size_t slot_bytes, std::size_t max_waiting,
              std::size_t max_sessions)
        : dispatcher_(dispatcher) {
        if (slot_bytes < kFrameHeaderBytes || max_waiting == 0 || max_sessions == 0) {
            throw nb::value_error("slot_bytes is at least 24, max_waiting and max_sessions 1");
        }
        std::vector<ZmqSocket> sockets;
        for (const auto address : watched) {
            sockets.push_back(library.socket(address));
        }
        const ZmqLimits limits{slot_bytes, max_waiting, max_sessions, dispatcher.window(),
                               dispatcher.session_bytes()};
        auto& core = dispatcher.borrow(slot_bytes);
        service_ = std::make_unique<ZmqService>(library.socket(router), std::move(sockets), core, limits);
    }
    PyService(const PyService&) = delete;
    PyService& operator=(const PyService&) = delete;
    ~PyService() { dispatcher_.give_back(); }

    bool run() {
        auto why = ZmqService::Pause::kStopped;
        {
            const binding::Unlocked unlocked;
            why = service_->run();
        }
        if (why == ZmqService::Pause::kBroken) {
            binding::raise_errno(service_->error());
        }
        return why == ZmqService::Pause::kTend;
    }
    void stop() { service_->stop(); }
    void finish(bool drain, double drain_s) {
        {
            const binding::Unlocked unlocked;
            service_->finish(!drain, static_cast<std::int64_t>(1e9 * drain_s));
        }
        dispatcher_.give_back();
    }
    nb::dict counters() const {
        const auto& c = service_->counters();
        nb::dict named;
        named["multipart"] = c.multipart;
        named["delayed_answers"] = c.delayed_answers;
        named["dropped_answers"] = c.dropped_answers;
        named["dropped_requests"] = c.dropped_requests;
        named["evicted_sessions"] = c.evicted_sessions;
        return named;
    }

private:
    binding::PyDispatcher& dispatcher_;
    std::unique_ptr<ZmqService> service_;
};

nb::dict named(const BulkCounters& counters) {
    nb::dict names;
    names["frames"] = counters.frames;
    names["backpressure_stalls"] = counters.stalls;
    names["lost_frames"] = counters.lost_frames;
    names["bad_frames"] = counters.bad_frames;
    return names;
}

class Push {
public:
    Push(const Library& library, std::uintptr_t address) : sender_(library.socket(address)) {}

    std::size_t send_rows(std::uint64_t session, std::uint64_t first_shot_id, std::uint32_t n_qubits,
                          const Rows& rows, std::size_t max_batch) {
        if (rows.shape(1) != (std::size_t{n_qubits} + 63) / 64 || max_batch == 0) {
            throw nb::value_error("rows has shape (n_shots, ceil(n_qubits / 64)), max_batch is 1 or more");
        }
        const ShotBatchHeader header{session, first_shot_id, 0, n_qubits};
        const std::span words(rows.data(), rows.size());
        std::size_t n_sent = 0;
        {
            const binding::Unlocked unlocked;
            n_sent = sender_.send_rows(header, words, rows.shape(0), max_batch);
        }
        check();
        return n_sent;
    }
    bool send(std::uint32_t function, nb::handle payload) {
        const BytesLike bytes(payload);
        const bool is_sent = sender_.send(function, bytes.bytes(), {});
        check();
        return is_sent;
    }
    nb::dict counters() const { return named(sender_.counters()); }

private:
    void check() const {
        if (sender_.is_broken()) {
            binding::raise_errno(sender_.error());
        }
    }
    BulkSender sender_;
};

class Pull {
public:
    Pull(const Library& library, std::uintptr_t address, std::size_t max_words)
        : receiver_(library.socket(address), max_words) {}

    nb::object receive(double timeout_s) {
        auto got = BulkReceiver::Got::kNothing;
        {
            const auto timeout_ns = static_cast<std::int64_t>(1e9 * std::min(timeout_s, 1.0));
            const binding::Unlocked unlocked;
            got = receiver_.receive(wait_ms(timeout_ns, 1000));
        }
        switch (got) {
            case BulkReceiver::Got::kNothing: return nb::none();
            case BulkReceiver::Got::kBroken: binding::raise_errno(receiver_.error());
            case BulkReceiver::Got::kMessage: return message();
            case BulkReceiver::Got::kRows: break;
        }
        const auto header = receiver_.header();
        auto rows = receiver_.is_kept() ? kept_rows(header) : joined_rows(header);
        return nb::make_tuple(header.session, header.first_shot_id, header.n_qubits, std::move(rows));
    }
    nb::dict counters() const { return named(receiver_.counters()); }

private:
    nb::object message() const {
        const auto frame = receiver_.frame();
        const auto payload = frame.subspan(kFrameHeaderBytes);
        return nb::make_tuple(load<RequestHeader>(frame.data()).function_id,
                              nb::bytes(payload.data(), payload.size()));
    }

    static std::size_t words_of(const ShotBatchHeader& header) {
        return (std::size_t{header.n_qubits} + 63) / 64;
    }

    nb::object joined_rows(const ShotBatchHeader& header) const {
        const auto words = receiver_.joined();
        return copied(std::as_bytes(words), header);
    }

    static nb::object copied(std::span<const std::byte> bytes, const ShotBatchHeader& header) {
        auto* own = new std::uint64_t[bytes.size() / 8];
        const nb::capsule owner(own, [](void* words) noexcept {
            delete[] static_cast<std::uint64_t*>(words);
        });
        if (!bytes.empty()) {
            std::memcpy(own, bytes.data(), bytes.size());
        }
        return nb::cast(OwnRows(own, {header.n_shots, words_of(header)}, owner));
    }

    /// An array over the message that libzmq made: no copy.
    nb::object kept_rows(const ShotBatchHeader& header) {
        const auto bytes = receiver_.frame().subspan(kRowsOffset);
        if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(std::uint64_t) != 0) {
            return copied(bytes, header);
        }
        auto* part = receiver_.take().release();
        const nb::capsule owner(part, [](void* kept) noexcept { delete static_cast<ZmqPart*>(kept); });
        auto* words = reinterpret_cast<std::uint64_t*>(const_cast<std::byte*>(bytes.data()));
        return nb::cast(OwnRows(words, {header.n_shots, words_of(header)}, owner));
    }

    BulkReceiver receiver_;
};

void bind_ends(nb::module_& module) {
    nb::class_<Library>(module, "Library", "libzmq's functions, as this process has them already.")
        .def(nb::init<const std::string&>(), "path"_a,
             "Find them.\n\n"
             "Args:\n    path: A loaded library that is libzmq or links it.\n\n"
             "Raises:\n    ValueError: It is not loaded, or shows no function of libzmq.")
        .def_prop_ro("version", &Library::version, "Of libzmq.");
    nb::class_<binding::Dealer, FrameWire>(module, "Dealer",
                                           "Frames of a client, on a DEALER that pyzmq made.")
        .def("__init__",
             [](binding::Dealer* self, const Library& library, std::uintptr_t address,
                std::uintptr_t monitor, std::size_t slot_bytes) {
                 new (self) binding::Dealer(library.socket(address), library.socket(monitor), slot_bytes);
             },
             "library"_a, "address"_a, "monitor"_a, nb::kw_only(), "slot_bytes"_a,
             nb::keep_alive<1, 2>(),
             "Use a socket.\n\n"
             "Args:\n    library: libzmq.\n    address: `zmq.Socket.underlying`.\n"
             "    monitor: That of the socket's monitor; a message there ends a wait of `LinkCore`.\n"
             "    slot_bytes: Longest frame (bytes).")
        .def("send", &binding::Dealer::send, "frame"_a, "n_bytes"_a,
             nb::sig("def send(self, frame: typing_extensions.Buffer, n_bytes: int) -> bool"),
             "Send the first `n_bytes` without waiting.\n\n"
             "Returns:\n    False where there is no room, or no connection.\n\n"
             "Raises:\n    OSError: The socket is closed.")
        .def("receive_into", &binding::Dealer::receive_into, "slot"_a, "timeout_s"_a,
             nb::sig("def receive_into(self, slot: typing_extensions.Buffer, timeout_s: float) "
                     "-> int | None"),
             "Receive one frame, cut to the slot; messages of several parts are dropped and "
             "counted.\n\n"
             "Args:\n    slot: Writable.\n    timeout_s: How long to wait (s), 20 ms at most.\n\n"
             "Returns:\n    Its length (bytes); None where none came.\n\n"
             "Raises:\n    OSError: The socket is closed.")
        .def_prop_ro("n_multipart", &binding::Dealer::n_multipart, "Messages of several parts.");
    nb::class_<Router>(module, "Router", "Frames of a server, on a ROUTER that pyzmq made.")
        .def(nb::init<const Library&, std::uintptr_t>(), "library"_a, "address"_a,
             nb::keep_alive<1, 2>(),
             "Use a socket.\n\nArgs:\n    library: libzmq.\n    address: `zmq.Socket.underlying`.")
        .def("receive_into", &Router::receive_into, "slot"_a, "timeout_s"_a,
             nb::sig("def receive_into(self, slot: typing_extensions.Buffer, timeout_s: float) "
                     "-> tuple[bytes, int] | None"),
             "Receive one frame, cut to the slot; messages of several parts are dropped and "
             "counted.\n\n"
             "Args:\n    slot: Writable.\n    timeout_s: How long to wait (s), 20 ms at most.\n\n"
             "Returns:\n    Name of the client and length (bytes); None where none came.\n\n"
             "Raises:\n    OSError: The socket is closed.")
        .def("send", &Router::send, "peer"_a, "frame"_a, "n_bytes"_a,
             nb::sig("def send(self, peer: bytes, frame: typing_extensions.Buffer, n_bytes: int) "
                     "-> bool"),
             "Send the first `n_bytes` without waiting; an answer to a client that left is dropped "
             "and counted.\n\n"
             "Returns:\n    False where its queue is full.\n\n"
             "Raises:\n    OSError: The socket is closed.")
        .def_prop_ro("n_multipart", &Router::n_multipart, "Messages of several parts.")
        .def_prop_ro("n_unreachable", &Router::n_unreachable, "Answers to clients that left.");
}

void bind_service(nb::module_& module) {
    nb::class_<PyService>(module, "Service", "Serves a ROUTER without the interpreter lock.")
        .def(nb::init<const Library&, std::uintptr_t, const std::vector<std::uintptr_t>&,
                      binding::PyDispatcher&, std::size_t, std::size_t, std::size_t>(),
             "library"_a, "router"_a, "watched"_a, "dispatcher"_a, nb::kw_only(), "slot_bytes"_a,
             "max_waiting"_a, "max_sessions"_a, nb::keep_alive<1, 2>(), nb::keep_alive<1, 5>(),
             nb::sig("def __init__(self, library: Library, router: int, watched: collections.abc.Sequence[int], "
                     "dispatcher: cudaq_target.coupler._native.Dispatcher, *, slot_bytes: int, "
                     "max_waiting: int, max_sessions: int) -> None"),
             "Take over a socket; the thread that calls `run` uses it alone from then on.\n\n"
             "Args:\n    library: libzmq.\n    router: `zmq.Socket.underlying` of the ROUTER.\n"
             "    watched: Those of sockets whose messages make `run` return.\n"
             "    dispatcher: Serves this socket alone.\n"
             "    slot_bytes: Longest frame (bytes).\n"
             "    max_waiting: Answers to slow clients.\n"
             "    max_sessions: Clients to remember.")
        .def("run", &PyService::run,
             "Serve until `stop`, or until a watched socket has a message.\n\n"
             "Returns:\n    Whether one has; False after `stop`.\n\n"
             "Raises:\n    OSError: The socket is closed.")
        .def("stop", &PyService::stop, "Make `run` return within 20 ms; from any thread.")
        .def("finish", &PyService::finish, nb::kw_only(), "drain"_a, "drain_s"_a,
             "Answer what has arrived; after `run` returned.\n\n"
             "Args:\n    drain: Whether by their functions; else with CANCELLED.\n"
             "    drain_s: How long answers to slow clients may take to leave (s).")
        .def("counters", &PyService::counters, nb::sig("def counters(self) -> dict[str, int]"),
             "Counts since construction, by the names of `interface.TransportCounters`.");
}

void bind_bulk(nb::module_& module) {
    nb::class_<Push>(module, "Push", "Sends batches of shots, on a PUSH that pyzmq made.")
        .def(nb::init<const Library&, std::uintptr_t>(), "library"_a, "address"_a,
             nb::keep_alive<1, 2>(),
             "Use a socket.\n\nArgs:\n    library: libzmq.\n    address: `zmq.Socket.underlying`.")
        .def("send_rows", &Push::send_rows, "session"_a, "first_shot_id"_a, "n_qubits"_a, "rows"_a,
             "max_batch"_a,
             nb::sig("def send_rows(self, session: int, first_shot_id: int, n_qubits: int, "
                     "rows: numpy.typing.NDArray[numpy.uint64], max_batch: int) -> int"),
             "Send shots in frames of at most `max_batch`, as many as there is room for.\n\n"
             "Args:\n    session: The stream.\n    first_shot_id: Number of the first row.\n"
             "    n_qubits: Measured bits per shot.\n"
             "    rows: Packed shots, shape (n_shots, ceil(n_qubits / 64)).\n"
             "    max_batch: Shots per frame.\n\n"
             "Returns:\n    How many shots libzmq took.\n\n"
             "Raises:\n    OSError: The socket is closed.")
        .def("send", &Push::send, "function_id"_a, "payload"_a,
             nb::sig("def send(self, function_id: int, payload: typing_extensions.Buffer) -> bool"),
             "Send another message of the stream; False where there is no room.")
        .def("counters", &Push::counters, nb::sig("def counters(self) -> dict[str, int]"),
             "Frames that were sent, and times that there was no room.");
    nb::class_<Pull>(module, "Pull", "Receives batches of shots, on a PULL that pyzmq made.")
        .def(nb::init<const Library&, std::uintptr_t, std::size_t>(), "library"_a, "address"_a,
             "max_words"_a, nb::keep_alive<1, 2>(),
             "Use a socket.\n\nArgs:\n    library: libzmq.\n    address: `zmq.Socket.underlying`.\n"
             "    max_words: Consecutive frames are joined up to so many 64-bit words.")
        .def("receive", &Pull::receive, "timeout_s"_a,
             nb::sig("def receive(self, timeout_s: float) -> "
                     "tuple[int, int, int, numpy.typing.NDArray[numpy.uint64]] | "
                     "tuple[int, bytes] | None"),
             "Receive consecutive shots of one stream, from one frame or from many.\n\n"
             "Args:\n    timeout_s: How long to wait for the first frame (s).\n\n"
             "Returns:\n    Stream, number of the first shot, qubits and rows of shape (n_shots, "
             "ceil(n_qubits / 64)); or function id and payload of another message; or None.\n\n"
             "Raises:\n    OSError: The socket is closed.")
        .def("counters", &Pull::counters, nb::sig("def counters(self) -> dict[str, int]"),
             "Frames that came, numbers that were skipped, and what was dropped.");
}

}  // namespace

NB_MODULE(_zmq, module) {
    // Links and servers that live until the interpreter ends are no defect; nothing is printed.
    nb::set_leak_warnings(false);
    module.doc() = "ZeroMQ without the interpreter, on sockets that pyzmq made; see `native/zmq_*.hpp`.";
    nb::module_::import_("cudaq_target.coupler._native");  // knows the type of dispatchers
    bind_ends(module);
    bind_service(module);
    bind_bulk(module);
}
