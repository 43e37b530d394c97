/// What carries the frames of a `LinkCore`.
///
/// To plug a transport in: derive from `FrameWire`, bind the class with `nb::class_<Mine, FrameWire>`,
/// give its Python wire a `core` of type `LinkCore`, and call `core.attach(mine)` when there is a
/// connection, `core.detach()` when there is none. The core then numbers, sends, receives and
/// matches; whatever is out of the ordinary it leaves to `link.Link`, which uses the Python wire's
/// `send` and `receive_into` on the same connection. A frame that the core looked at and did not
/// want stays in front, for `receive_into`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cudaq_target {

class FrameWire {
public:
    FrameWire() = default;
    FrameWire(const FrameWire&) = delete;
    FrameWire& operator=(const FrameWire&) = delete;
    virtual ~FrameWire() = default;

    /// Marks a wait, in which other threads and handlers of signals may run, to the end of the block.
    class Waiting {
    public:
        explicit Waiting(FrameWire& wire) noexcept : n_(wire.n_waiting_) { ++n_; }
        Waiting(const Waiting&) = delete;
        Waiting& operator=(const Waiting&) = delete;
        ~Waiting() { --n_; }

    private:
        int& n_;
    };
    /// Whether somebody waits; then nobody else may use or close this end. With the lock.
    bool is_waiting() const noexcept { return n_waiting_ > 0; }

    /// Memory for the next frame; empty while none can be sent. Never waits.
    virtual std::span<std::byte> room() = 0;
    /// Sends the first bytes of `room()`. False where nothing was sent. Never waits.
    virtual bool put(std::size_t n_bytes) = 0;
    /// The oldest frame that has come, valid until `release`; empty where there is none.
    virtual std::span<const std::byte> front() = 0;
    /// Gives the frame in front back.
    virtual void release() = 0;
    /// Waits for a frame, without the interpreter lock where it takes long, and looks for signals.
    /// False when none came until then (CLOCK_MONOTONIC), or none will: the peer is gone.
    virtual bool await(std::int64_t until_ns) = 0;

private:
    int n_waiting_ = 0;
};

}  // namespace cudaq_target
