/// Python face of the answering side for handlers in Python: `SlotPort`.
#pragma once

#include <nanobind/stl/string.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "bind_client.hpp"

namespace cudaq_target::binding {

/// Takes requests in order and answers them in any order, as a handler may answer later.
class SlotPort {
public:
    SlotPort(const MappedSlotRing& mapped, const std::string& wait)
        : segment_(mapped.segment),
          strategy_(wait_from(wait)),
          ring_(mapped.segment->memory(), geometry_of(mapped.control())),
          taken_(ring_.n_slots(), 0),
          oldest_(0, ring_.n_slots()),
          next_(0, ring_.n_slots()) {
        claim_or_raise(mapped.control().consumer, mapped.name, "consumer");
        const auto number =
            std::atomic_ref(mapped.control().n_answered).load(std::memory_order_relaxed);
        oldest_ = next_ = Cursor(number, ring_.n_slots());
        wakes_ = best_wakes();
        ring_.producer_bell().announce(wakes_);
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
        const BytesLike target(buffer, PyBUF_WRITABLE);
        if (target.bytes().size() < ring_.rx_stride()) {
            throw nb::value_error("the buffer is shorter than a request slot");
        }
        const auto has_request = [this] { return this->has_request(); };
        if (!has_request()) {
            const auto until_ns = deadline_after(timeout_ns);
            const nb::gil_scoped_release unlocked;
            if (strategy_ == Wait::kAdaptive) {
                wait_until(has_request, Wait::kBusy, ring_.consumer_bell(),
                           std::min(until_ns, deadline_after(kPythonSpinNs)));
            }
            wait_until(has_request, strategy_, ring_.consumer_bell(), until_ns);
        }
        if (!has_request()) {
            return nb::none();
        }
        const auto k = next_.slot();
        const auto request = ring_.rx_slot(k);
        std::copy(request.begin(), request.end(), target.writable().begin());
        taken_[k] = ring_.rx_flag(k).load(std::memory_order_relaxed);
        next_.advance();
        return nb::make_tuple(session_of(taken_[k]), k);
    }

    void answer(std::uint32_t k, nb::handle frame) {
        check_open();
        const BytesLike source(frame);
        const auto bytes = source.bytes();
        if (k >= ring_.n_slots() || taken_[k] == 0) {
            throw nb::value_error("no request of this slot waits for an answer");
        }
        if (bytes.size() < kFrameHeaderBytes || bytes.size() > ring_.tx_stride()) {
            raise("FrameTooLongError", bytes.size(), ring_.tx_stride());
        }
        auto* slot = ring_.tx_slot(k).data();
        constexpr std::size_t kMagicBytes = 4;
        std::copy(bytes.begin() + kMagicBytes, bytes.end(), slot + kMagicBytes);
        std::copy(bytes.begin(), bytes.begin() + kMagicBytes, slot);  // the magic last
        publish(k);
    }

    std::uint32_t n_slots() const { return ring_.n_slots(); }

private:
    void check_open() const {
        if (!segment_) {
            throw nb::value_error("this port is closed");
        }
    }

    bool has_request() const noexcept {
        // Acquire: pairs with the release store in `SlotClient::publish`.
        return taken_[next_.slot()] == 0 &&
               ring_.rx_flag(next_.slot()).load(std::memory_order_acquire) != 0;
    }

    /// As `SlotServer::publish`, for a slot that need not be the oldest.
    void publish(std::uint32_t k) noexcept {
        const auto stamp = taken_[k];
        taken_[k] = 0;
        // Release: pairs with the acquire load in `SlotClient::has_answer`.
        ring_.tx_flag(k).store(is_sentinel(stamp) ? 1 : stamp, std::memory_order_release);
        while (oldest_.number() < next_.number() && taken_[oldest_.slot()] == 0) {
            oldest_.advance();
        }
        // Before the rx flag, so that a new client that finds all flags 0 reads the final number.
        std::atomic_ref(ring_.control().n_answered)
            .store(oldest_.number(), std::memory_order_relaxed);
        // Pairs with the acquire loads in `SlotClient::has_room` and `is_quiet`.
        ring_.rx_flag(k).store(0, std::memory_order_release);
        ring_.producer_bell().ring(wakes_);
    }

    std::shared_ptr<Segment> segment_;
    Wait strategy_;
    SlotRing ring_;
    Wakes wakes_ = Wakes::kFenced;
    std::vector<Stamp> taken_;
    Cursor oldest_;
    Cursor next_;
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
        .def("close", &SlotPort::close, "Give the role of the consumer back.");
}

}  // namespace cudaq_target::binding
