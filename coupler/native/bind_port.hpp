/// Python face of the answering side for handlers in Python: `SlotPort`.
#pragma once

#include <nanobind/stl/string.h>

#include <algorithm>
#include <memory>
#include <string>

#include "bind_client.hpp"
#include "slot_port.hpp"

namespace cudaq_target::binding {

/// Takes requests in order and answers them in any order, as a handler may answer later.
class SlotPort {
public:
    SlotPort(const MappedSlotRing& mapped, const std::string& wait)
        : segment_(mapped.segment), strategy_(wait_from(wait)), server_(take_over(mapped)) {
        server_.announce(best_wakes());
    }
    SlotPort(const SlotPort&) = delete;
    SlotPort& operator=(const SlotPort&) = delete;
    ~SlotPort() { close(); }

    void close() noexcept {
        if (segment_) {
            // Whoever sleeps for an answer looks around within `kLookAroundNs` and finds us gone.
            release_role(segment_->control().consumer, own_stamp());
            segment_.reset();
        }
    }

    nb::object receive_into(nb::handle buffer, std::int64_t timeout_ns) {
        check_open();
        const auto kept = segment_;  // another thread may close us meanwhile
        const BytesLike target(buffer, PyBUF_WRITABLE);
        const auto& ring = server_.ring();
        if (target.bytes().size() < ring.rx_stride()) {
            throw nb::value_error("the buffer is shorter than a request slot");
        }
        const auto has_request = [this] { return server_.has_request(); };
        if (!has_request()) {
            const auto until_ns = deadline_after(timeout_ns);
            const Unlocked unlocked;
            if (strategy_ == Wait::kAdaptive) {
                wait_until(has_request, Wait::kBusy, ring.consumer_bell(),
                           std::min(until_ns, deadline_after(kPythonSpinNs)));
            }
            wait_until(has_request, strategy_, ring.consumer_bell(), until_ns);
        }
        if (!has_request()) {
            return nb::none();
        }
        const auto k = server_.take();
        const auto request = ring.rx_slot(k);
        std::copy(request.begin(), request.end(), target.writable().begin());
        return nb::make_tuple(server_.session(k), k);
    }

    void answer(std::uint32_t k, nb::handle frame) {
        check_open();
        const BytesLike source(frame);
        const auto bytes = source.bytes();
        if (!server_.is_taken(k)) {
            throw nb::value_error("no request of this slot waits for an answer");
        }
        if (bytes.size() < kFrameHeaderBytes || bytes.size() > server_.ring().tx_stride()) {
            raise("FrameTooLongError", bytes.size(), server_.ring().tx_stride());
        }
        server_.answer(k, bytes);
    }

    std::uint64_t n_stale() const { return server_.n_stale(); }
    std::uint32_t n_slots() const { return server_.ring().n_slots(); }

private:
    void check_open() const {
        if (!segment_) {
            throw nb::value_error("this port is closed");
        }
    }

    static UnorderedServer take_over(const MappedSlotRing& mapped) {
        claim_or_raise(mapped.control().consumer, mapped.name, "consumer");
        return UnorderedServer(SlotRing(mapped.segment->memory(), geometry_of(mapped.control())));
    }

    std::shared_ptr<Segment> segment_;
    Wait strategy_;
    UnorderedServer server_;
};

inline void bind_port(nb::module_& module) {
    nb::class_<SlotPort>(module, "SlotPort",
                         "The answering side of a slot ring for handlers in Python; one thread at a "
                         "time.")
        .def(nb::init<const MappedSlotRing&, const std::string&>(), "ring"_a, nb::kw_only(),
             "wait"_a = "adaptive",
             "Become the consumer of a ring.\n\n"
             "Args:\n    ring: The ring; kept mapped by this object.\n"
             "    wait: \"busy\", \"yield\", \"adaptive\" or \"block\".\n\n"
             "Raises:\n    RoleTakenError: Another dispatcher serves the ring.")
        .def("receive_into", &SlotPort::receive_into, "buffer"_a, "timeout_ns"_a = 0,
             nb::sig("def receive_into(self, buffer: typing_extensions.Buffer, timeout_ns: int = 0) "
                     "-> tuple[int, int] | None"),
             "Copy the next request out of its slot.\n\n"
             "Args:\n    buffer: Writable, at least as long as a request slot.\n"
             "    timeout_ns: How long to wait, without the interpreter lock (ns).\n\n"
             "Returns:\n    Session of the client and number of the slot; None when nothing came.")
        .def("answer", &SlotPort::answer, "slot"_a, "frame"_a,
             nb::sig("def answer(self, slot: int, frame: typing_extensions.Buffer) -> None"),
             "Answer a request, in any order; its slot is free then.\n\n"
             "Args:\n    slot: From `receive_into`.\n    frame: The whole answer.\n\n"
             "Raises:\n    FrameTooLongError: It does not fit into a slot.\n"
             "    ValueError: No request of this slot waits.")
        .def_prop_ro("n_slots", &SlotPort::n_slots, "Number of slots.")
        .def_prop_ro("n_stale", &SlotPort::n_stale,
                     "Requests with the stamp of an earlier generation of their slot.")
        .def("close", &SlotPort::close, "Give the role of the consumer back.");
}

}  // namespace cudaq_target::binding
