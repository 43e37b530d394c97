/// Python face of the requesting side: `Client`.
#pragma once

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <memory>
#include <string>

#include "bind_segment.hpp"
#include "frame_wire.hpp"

namespace cudaq_target::binding {

inline Wait wait_from(const std::string& name) {
    if (name == "busy") return Wait::kBusy;
    if (name == "yield") return Wait::kYield;
    if (name == "adaptive") return Wait::kAdaptive;
    if (name == "block") return Wait::kBlock;
    throw nb::value_error("wait is 'busy', 'yield', 'adaptive' or 'block'");
}

/// The interpreter lock is kept for this many looks: giving it up costs as much as an answer.
inline constexpr int kLooksWithLock = 150;
/// How long a wait may ignore Ctrl-C and the death of the peer.
inline constexpr std::int64_t kLookAroundNs = 50'000'000;

/// A peer in Python answers within some ten microseconds, which is less than a wake-up costs.
inline constexpr std::int64_t kPythonSpinNs = 60'000;

class Client : public FrameWire {
public:
    Client(const MappedSlotRing& mapped, const std::string& wait, double takeover_timeout_s)
        : name_(mapped.name),
          segment_(mapped.segment),
          strategy_(wait_from(wait)),
          client_(take_over(mapped, takeover_timeout_s)) {}
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    ~Client() override { give_back(); }

    void close() {
        raise_if_waiting(*this);
        give_back();
    }

    nb::tuple call(std::uint32_t function, nb::handle arguments, std::int64_t timeout_ns) {
        check_open();
        if (client_.n_pending() > n_abandoned()) {
            throw nb::value_error("answers to send() wait; receive() them before a call()");
        }
        const auto until_ns = deadline_after(timeout_ns);
        const auto number = send_until(function, arguments, 0, until_ns);
        if (!number) {
            raise("CallTimeoutError", name_, function, timeout_ns);
        }
        // Until the answer is here, every way out of this function gives the request up.
        struct Abandon {
            ~Abandon() { until = end; }
            std::uint64_t& until;
            std::uint64_t end;
        } abandon{abandoned_until_, client_.next_number()};
        if (!await([this] { return has_wanted_answer(); }, until_ns)) {
            raise("CallTimeoutError", name_, function, timeout_ns);
        }
        abandon.end = 0;
        return take();
    }

    std::optional<std::uint64_t> send(std::uint32_t function, nb::handle arguments,
                                      std::uint64_t timestamp_ns, std::int64_t timeout_ns) {
        return send_until(function, arguments, timestamp_ns, deadline_after(timeout_ns));
    }

    bool send_raw(nb::handle frame, std::int64_t timeout_ns) {
        const BytesLike bytes(frame);
        const auto until_ns = deadline_after(timeout_ns);
        check_open();
        if (bytes.bytes().size() > client_.ring().rx_stride()) {
            raise("FrameTooLongError", bytes.bytes().size(), client_.ring().rx_stride());
        }
        if (!client_.has_room()) {
            client_.count_stall();
            if (!await([this] { return client_.has_room(); }, until_ns)) {
                client_.count_busy();
                return false;
            }
        }
        std::copy(bytes.bytes().begin(), bytes.bytes().end(),
                  client_.arguments().data() - kFrameHeaderBytes);
        client_.publish();
        return true;
    }

    nb::object receive(std::int64_t timeout_ns) {
        check_open();
        if (client_.n_pending() == n_abandoned() ||
            !await([this] { return has_wanted_answer(); }, deadline_after(timeout_ns))) {
            return nb::none();
        }
        const auto number = client_.oldest_number();
        const auto answer = take();
        return nb::make_tuple(number, answer[0], answer[1]);
    }

    bool receive_into(nb::handle buffer, std::int64_t timeout_ns) {
        check_open();
        const BytesLike target(buffer, PyBUF_WRITABLE);
        const auto& ring = client_.ring();
        if (target.bytes().size() < ring.tx_stride()) {
            throw nb::value_error("the buffer is shorter than an answer slot");
        }
        const auto is_ready = [this] { return has_wanted_answer(); };
        if (!is_ready() && timeout_ns > kPythonSpinNs && strategy_ == Wait::kAdaptive) {
            const Waiting waiting(*this);
            const Unlocked unlocked;
            wait_until(is_ready, Wait::kBusy, ring.producer_bell(), deadline_after(kPythonSpinNs));
        }
        if (!is_ready() &&
            (timeout_ns <= 0 ||
             !await(is_ready, deadline_after(timeout_ns)))) {
            return false;
        }
        const auto k = static_cast<std::uint32_t>(client_.oldest_number() % ring.n_slots());
        const auto answer = ring.tx_slot(k);
        std::copy(answer.begin(), answer.end(), target.writable().begin());
        client_.release();
        return true;
    }

    std::span<std::byte> room() override {
        return segment_ && client_.has_room() ? client_.slot() : std::span<std::byte>{};
    }
    bool put(std::size_t) override {
        client_.publish();
        return true;
    }
    std::span<const std::byte> front() override {
        return segment_ && has_wanted_answer() ? client_.answer_slot() : std::span<std::byte>{};
    }
    void release() override { client_.release(); }
    bool await(std::int64_t until_ns) override {
        return segment_ && wait([this] { return has_wanted_answer(); }, until_ns) == Awaited::kReady;
    }

    nb::dict counters() const {
        const auto& c = client_.counters();
        nb::dict named;
        named["sent"] = c.sent;
        named["received"] = c.received;
        named["stale"] = c.stale;
        named["unmatched"] = c.unmatched;
        named["bad_frames"] = c.bad_frames;
        named["late_results"] = c.late_results;
        named["busy"] = c.busy;
        named["backpressure_stalls"] = c.backpressure_stalls;
        return named;
    }
    std::uint64_t n_pending() const { return client_.n_pending(); }
    std::size_t max_arg_bytes() const { return client_.max_arg_bytes(); }

private:
    static SlotClient take_over(const MappedSlotRing& mapped, double timeout_s) {
        auto& control = mapped.control();
        claim_or_raise(control.producer, mapped.name, "producer");
        const SlotRing ring(mapped.segment->memory(), geometry_of(control));
        const auto until_ns = deadline_after(static_cast<std::int64_t>(timeout_s * 1e9));
        while (!SlotClient::is_quiet(ring)) {
            if (monotonic_ns() > until_ns || PyErr_CheckSignals() != 0) {
                release_role(control.producer, own_stamp());
                if (PyErr_Occurred() != nullptr) {
                    throw nb::python_error();
                }
                raise("PeerGoneError", mapped.name, "consumer");
            }
            const Unlocked unlocked;
            const timespec nap{0, 1'000'000};
            nanosleep(&nap, nullptr);
        }
        const auto session = std::atomic_ref(control.session).fetch_add(1) % kMaxSession + 1;
        return SlotClient(ring, session);
    }

    /// Calls that timed out and whose answers have not come yet.
    std::uint64_t n_abandoned() const {
        return abandoned_until_ > client_.oldest_number()
                   ? abandoned_until_ - client_.oldest_number()
                   : 0;
    }

    /// Whether an answer waits that somebody still wants; others are dropped and counted.
    bool has_wanted_answer() noexcept {
        while (client_.has_answer()) {
            if (n_abandoned() == 0) {
                return true;
            }
            client_.count_late();
            client_.release();
        }
        return false;
    }

    void check_open() const {
        raise_if_waiting(*this);
        if (!segment_) {
            throw nb::value_error("this client is closed");
        }
    }

    void give_back() noexcept {
        if (segment_) {
            release_role(segment_->control().producer, own_stamp());
            segment_.reset();
        }
    }

    enum class Awaited { kReady, kTimeout, kGone };

    /// Waits for `ready()`; false after `until_ns`. Raises when the dispatcher is gone.
    template <typename Ready>
    bool await(Ready ready, std::int64_t until_ns) {
        const auto awaited = wait(ready, until_ns);
        if (awaited == Awaited::kGone) {
            raise("PeerGoneError", name_, "consumer");
        }
        return awaited == Awaited::kReady;
    }

    template <typename Ready>
    Awaited wait(Ready ready, std::int64_t until_ns) {
        for (int look = 0; look < kLooksWithLock && strategy_ != Wait::kBlock; ++look) {
            if (ready()) {
                return Awaited::kReady;
            }
            relax();
        }
        const Waiting waiting(*this);
        for (;;) {
            const auto now_ns = monotonic_ns();
            const auto pause_ns = until_ns - now_ns < kLookAroundNs ? until_ns : now_ns + kLookAroundNs;
            {
                const Unlocked unlocked;
                if (wait_until(ready, strategy_, client_.ring().producer_bell(), pause_ns)) {
                    return Awaited::kReady;
                }
            }
            if (PyErr_CheckSignals() != 0) {
                throw nb::python_error();
            }
            auto& consumer = segment_->control().consumer;
            // Acquire: pairs with `release_role`; answers written before it are seen by `ready`.
            if (!is_alive(std::atomic_ref(consumer).load(std::memory_order_acquire))) {
                return ready() ? Awaited::kReady : Awaited::kGone;
            }
            if (pause_ns == until_ns) {
                return ready() ? Awaited::kReady : Awaited::kTimeout;
            }
        }
    }

    std::optional<std::uint64_t> send_until(std::uint32_t function, nb::handle arguments,
                                            std::uint64_t timestamp_ns, std::int64_t until_ns) {
        const BytesLike buffer(arguments);
        const auto bytes = buffer.bytes();
        check_open();
        if (bytes.size() > client_.max_arg_bytes()) {
            raise("FrameTooLongError", kFrameHeaderBytes + bytes.size(), client_.ring().rx_stride());
        }
        if (!client_.has_room()) {
            client_.count_stall();
            const auto has_room = [this] {
                static_cast<void>(has_wanted_answer());
                return client_.has_room();
            };
            if (!await(has_room, until_ns)) {
                client_.count_busy();
                return std::nullopt;
            }
        }
        std::copy(bytes.begin(), bytes.end(), client_.arguments().data());
        return client_.send(function, static_cast<std::uint32_t>(bytes.size()), timestamp_ns);
    }

    nb::tuple take() {
        const auto answer = client_.answer();
        auto result = nb::make_tuple(
            answer.header.status,
            nb::bytes(answer.result.data(), answer.result.size()));
        client_.release();
        return result;
    }

    std::string name_;
    std::shared_ptr<Segment> segment_;
    Wait strategy_;
    SlotClient client_;
    std::uint64_t abandoned_until_ = 0;
};

inline void bind_client(nb::module_& module) {
    nb::class_<FrameWire>(module, "FrameWire",
                          "What carries the frames of a `LinkCore`; see `native/frame_wire.hpp`.");
    nb::class_<Client, FrameWire>(
        module, "Client", "The requesting side of a slot ring; one per ring, one thread at a time.")
        .def(nb::init<const MappedSlotRing&, const std::string&, double>(), "ring"_a, nb::kw_only(),
             "wait"_a = "adaptive", "takeover_timeout_s"_a = 1.0,
             "Become the producer of a ring, in place of a dead one.\n\n"
             "Args:\n    ring: The ring; kept mapped by this object.\n"
             "    wait: \"busy\", \"yield\", \"adaptive\" or \"block\". Busy needs a core of its own.\n"
             "    takeover_timeout_s: How long the dispatcher may take to answer what a dead client "
             "left (s).\n\n"
             "Raises:\n    RoleTakenError: A live client has the ring.\n"
             "    PeerGoneError: A dead client left requests, and no dispatcher answers them.")
        .def("call", &Client::call, "function_id"_a, "arguments"_a = nb::bytes("", 0),
             "timeout_ns"_a = 1'000'000'000,
             nb::sig("def call(self, function_id: int, arguments: typing_extensions.Buffer = b\"\", "
                     "timeout_ns: int = 1000000000) -> tuple[int, bytes]"),
             "Send a request and wait for its answer.\n\n"
             "Args:\n    function_id: Of the function.\n    arguments: Argument bytes.\n"
             "    timeout_ns: How long to wait (ns).\n\n"
             "Returns:\n    The status, and the result.\n\n"
             "Raises:\n    CallTimeoutError: No answer came in time; a late one is dropped and "
             "counted.\n"
             "    PeerGoneError: No live dispatcher serves the ring.\n"
             "    FrameTooLongError: The arguments do not fit into a slot.\n"
             "    ValueError: Answers to `send` have not been received.")
        .def("send", &Client::send, "function_id"_a, "arguments"_a, nb::kw_only(),
             "timestamp_ns"_a = 0, "timeout_ns"_a = 0,
             nb::sig("def send(self, function_id: int, arguments: typing_extensions.Buffer, *, "
                     "timestamp_ns: int = 0, timeout_ns: int = 0) -> int | None"),
             "Send a request without waiting for its answer.\n\n"
             "Args:\n    function_id: Of the function.\n    arguments: Argument bytes.\n"
             "    timestamp_ns: Echoed in the answer (ns).\n"
             "    timeout_ns: How long to wait for a free slot (ns).\n\n"
             "Returns:\n    The number of the request; None when every slot stayed in use.\n\n"
             "Raises:\n    PeerGoneError: No live dispatcher serves the ring.\n"
             "    FrameTooLongError: The arguments do not fit into a slot.")
        .def("send_raw", &Client::send_raw, "frame"_a, nb::kw_only(), "timeout_ns"_a = 0,
             nb::sig("def send_raw(self, frame: typing_extensions.Buffer, *, timeout_ns: int = 0) "
                     "-> bool"),
             "Send bytes as they are, header included; for bridges and for tests of bad frames.\n\n"
             "Returns:\n    False when every slot stayed in use.")
        .def("receive", &Client::receive, "timeout_ns"_a = 0,
             nb::sig("def receive(self, timeout_ns: int = 0) -> tuple[int, int, bytes] | None"),
             "Take the answer to the oldest request of `send`.\n\n"
             "Args:\n    timeout_ns: How long to wait (ns).\n\n"
             "Returns:\n    Number of the request, status and result; None when no answer came, or "
             "none is due.\n\n"
             "Raises:\n    PeerGoneError: No live dispatcher serves the ring.")
        .def("receive_into", &Client::receive_into, "buffer"_a, "timeout_ns"_a = 0,
             nb::sig("def receive_into(self, buffer: typing_extensions.Buffer, timeout_ns: int = 0) "
                     "-> bool"),
             "Copy the slot that answers the oldest request, unchecked; for `send_raw`.\n\n"
             "Args:\n    buffer: Writable, at least as long as an answer slot.\n"
             "    timeout_ns: How long to wait (ns).\n\n"
             "Returns:\n    False when no answer came.\n\n"
             "Raises:\n    PeerGoneError: No live dispatcher serves the ring.")
        .def("counters", &Client::counters, nb::sig("def counters(self) -> dict[str, int]"),
             "What was sent and received, and what went wrong, by name.")
        .def_prop_ro("n_pending", &Client::n_pending,
                     "Requests whose answers have not been taken or dropped.")
        .def_prop_ro("max_arg_bytes", &Client::max_arg_bytes, "Longest arguments (bytes).")
        .def("close", &Client::close, "Give the role of the producer back.");
}

}  // namespace cudaq_target::binding
