/// A client's DEALER: frames for `LinkCore`, and one by one for `transports.zeromq.ZmqWire`.
#pragma once

#include <nanobind/nanobind.h>

#include <cstring>
#include <optional>
#include <span>

#include "binding.hpp"
#include "frame_wire.hpp"
#include "zmq_socket.hpp"

namespace cudaq_target::binding {

/// A wait without the interpreter lock ends so often for signals and for the connection.
inline constexpr int kZmqLookAroundMs = 20;

/// Raised as OSError, as pyzmq's errors are.
[[noreturn]] inline void raise_errno(int error) {
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    throw nb::python_error();
}

/// The first `n_bytes` of a buffer.
inline std::span<const std::byte> front_of(const BytesLike& buffer, std::size_t n_bytes) {
    if (n_bytes > buffer.bytes().size()) {
        throw nb::value_error("the frame is longer than its buffer");
    }
    return buffer.bytes().first(n_bytes);
}

/// Copies a part into a slot; its length, at most that of the slot.
inline std::size_t land(const ZmqPart& part, const BytesLike& slot) {
    const auto n_bytes = std::min(part.bytes().size(), slot.bytes().size());
    std::memcpy(slot.writable().data(), part.bytes().data(), n_bytes);
    return n_bytes;
}

inline int zmq_wait_ms(double timeout_s) noexcept {
    return wait_ms(static_cast<std::int64_t>(1e9 * std::min(timeout_s, 1.0)), kZmqLookAroundMs);
}

class Dealer : public FrameWire {
public:
    /// `monitor` has a message when the connection is lost; who is told of it, looks there.
    Dealer(ZmqSocket dealer, ZmqSocket monitor, std::size_t slot_bytes)
        : socket_(dealer), monitor_(monitor), part_(socket_.api()),
          outgoing_(socket_.api(), slot_bytes), slot_bytes_(slot_bytes) {}

    bool send(nb::handle frame, std::size_t n_bytes) {
        raise_if_waiting(*this);
        const BytesLike buffer(frame);
        const bool is_sent = socket_.send(front_of(buffer, n_bytes));
        if (!is_sent && socket_.is_broken()) {
            raise_errno(socket_.error());
        }
        return is_sent;
    }

    std::optional<std::size_t> receive_into(nb::handle slot, double timeout_s) {
        raise_if_waiting(*this);
        const BytesLike landing(slot, PyBUF_WRITABLE);
        if (!take(0) && !wait(zmq_wait_ms(timeout_s))) {
            if (socket_.is_broken()) {
                raise_errno(socket_.error());
            }
            return std::nullopt;
        }
        is_held_ = false;
        return land(part_, landing);
    }

    std::span<std::byte> room() override { return outgoing_.room(); }
    bool put(std::size_t n_bytes) override {
        return outgoing_.send(socket_, n_bytes);
    }
    std::span<const std::byte> front() override {
        return take(0) ? part_.bytes().first(std::min(part_.bytes().size(), slot_bytes_))
                       : std::span<const std::byte>{};
    }
    void release() override { is_held_ = false; }
    bool await(std::int64_t until_ns) override {
        while (!take(0)) {
            const auto left_ns = until_ns == kForever ? kForever : until_ns - monotonic_ns();
            if (left_ns <= 0 || monitor_.is_readable()) {
                return false;
            }
            if (wait(wait_ms(left_ns, kZmqLookAroundMs))) {
                return true;
            }
            if (socket_.is_broken()) {
                return false;  // `receive_into` says why
            }
        }
        return true;
    }

    std::uint64_t n_multipart() const noexcept { return n_multipart_; }

private:
    /// Whether a frame is in `part_`, which stays there until it is given back.
    bool take(int timeout_ms) noexcept {
        if (is_held_) {
            return true;
        }
        if (!socket_.receive(part_, timeout_ms)) {
            return false;
        }
        is_held_ = !part_.has_more();
        if (!is_held_) {
            socket_.drop_rest(part_);
            ++n_multipart_;
        }
        return is_held_;
    }

    bool wait(int timeout_ms) {
        if (timeout_ms <= 0) {
            return false;
        }
        bool has_come = false;
        const Waiting waiting(*this);
        {
            const Unlocked unlocked;
            has_come = take(timeout_ms);
        }
        if (!has_come && socket_.error() == EINTR && PyErr_CheckSignals() != 0) {
            throw nb::python_error();
        }
        return has_come;
    }

    ZmqSocket socket_;
    ZmqSocket monitor_;
    ZmqPart part_;
    ZmqOutgoing outgoing_;
    std::size_t slot_bytes_;
    bool is_held_ = false;
    std::uint64_t n_multipart_ = 0;
};

}  // namespace cudaq_target::binding
