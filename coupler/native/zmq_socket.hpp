/// A ZeroMQ socket that pyzmq made and owns, used by one thread at a time without the interpreter.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "wait.hpp"
#include "zmq_api.hpp"

namespace cudaq_target {

/// One part of a message, in libzmq's memory. Used again and again.
class ZmqPart {
public:
    explicit ZmqPart(const ZmqApi& api) noexcept : api_(&api) { api_->msg_init(&message_); }
    ZmqPart(const ZmqPart&) = delete;
    ZmqPart& operator=(const ZmqPart&) = delete;
    ~ZmqPart() { api_->msg_close(&message_); }

    std::span<const std::byte> bytes() const noexcept {
        auto* message = const_cast<ZmqMessage*>(&message_);
        return {static_cast<const std::byte*>(api_->msg_data(message)), api_->msg_size(message)};
    }
    bool has_more() const noexcept { return api_->msg_more(&message_) != 0; }
    ZmqMessage* get() noexcept { return &message_; }

private:
    const ZmqApi* api_;
    ZmqMessage message_;
};

/// Sends and receives parts; remembers the error of the last call that failed.
class ZmqSocket {
public:
    ZmqSocket(const ZmqApi& api, void* socket) noexcept : api_(&api), socket_(socket) {}

    /// False when nothing came within `timeout_ms`, or where the socket failed; see `error`.
    bool receive(ZmqPart& part, int timeout_ms) noexcept {
        if (timeout_ms > 0 && timeout_ms != timeout_ms_) {
            if (api_->setsockopt(socket_, zmq_constant::kReceiveTimeout, &timeout_ms,
                                 sizeof(timeout_ms)) != 0) {
                return fail();
            }
            timeout_ms_ = timeout_ms;
        }
        const int flags = timeout_ms > 0 ? 0 : zmq_constant::kDontWait;
        return api_->msg_recv(part.get(), socket_, flags) >= 0 || fail();
    }

    /// The next part of a message that has begun; it is there already.
    bool receive_rest(ZmqPart& part) noexcept {
        return api_->msg_recv(part.get(), socket_, zmq_constant::kDontWait) >= 0 || fail();
    }

    /// Discards what follows `part` in its message.
    void drop_rest(ZmqPart& part) noexcept {
        while (part.has_more() && receive_rest(part)) {
        }
    }

    /// Sends without waiting.
    bool send(std::span<const std::byte> bytes, bool has_more = false) noexcept {
        const int flags = zmq_constant::kDontWait | (has_more ? zmq_constant::kSendMore : 0);
        return api_->send(socket_, bytes.data(), bytes.size(), flags) >= 0 || fail();
    }

    /// Hands a message over without waiting; libzmq has it afterwards, else the caller still has.
    bool send(ZmqMessage& message) noexcept {
        return api_->msg_send(&message, socket_, zmq_constant::kDontWait) >= 0 || fail();
    }

    bool is_readable() noexcept {
        int events = 0;
        std::size_t n_bytes = sizeof(events);
        return api_->getsockopt(socket_, zmq_constant::kEvents, &events, &n_bytes) == 0 &&
               (events & zmq_constant::kPollIn) != 0;
    }

    /// Of the last call that failed: EAGAIN, EHOSTUNREACH, …
    int error() const noexcept { return error_; }
    /// Whether the last failure is more than "nothing now".
    bool is_broken() const noexcept { return error_ != EAGAIN && error_ != EINTR; }
    const ZmqApi& api() const noexcept { return *api_; }

private:
    bool fail() noexcept {
        error_ = api_->error_number();
        return false;
    }

    const ZmqApi* api_;
    void* socket_;
    int timeout_ms_ = -1;
    int error_ = EAGAIN;
};

/// Memory for one frame at a time. Long frames are handed to libzmq; short ones are copied, which
/// saves an allocation whose end is in another thread. The limit is a choice, not a measured bound.
class ZmqOutgoing {
public:
    static constexpr std::size_t kHandOverBytes = std::size_t{16} << 10;

    ZmqOutgoing(const ZmqApi& api, std::size_t n_bytes) noexcept : api_(&api), n_bytes_(n_bytes) {}
    ZmqOutgoing(const ZmqOutgoing&) = delete;
    ZmqOutgoing& operator=(const ZmqOutgoing&) = delete;
    ~ZmqOutgoing() {
        unwrap();
        std::free(buffer_);
    }

    /// Room for the next frame; empty where the system has no memory. Ends what `bytes` gave.
    std::span<std::byte> room() noexcept {
        unwrap();
        if (buffer_ == nullptr) {
            buffer_ = static_cast<std::byte*>(std::malloc(n_bytes_));
        }
        return {buffer_, buffer_ == nullptr ? 0 : n_bytes_};
    }

    /// Sends the first bytes of `room`. After a failure they are still in `bytes`.
    bool send(ZmqSocket& socket, std::size_t n_bytes) noexcept {
        const auto give_back = [](void* data, void*) { std::free(data); };
        if (n_bytes < kHandOverBytes ||
            api_->msg_init_data(&message_, buffer_, n_bytes, give_back, nullptr) != 0) {
            return socket.send(std::span<const std::byte>(buffer_, n_bytes));
        }
        is_wrapped_ = !socket.send(message_);
        if (!is_wrapped_) {
            buffer_ = nullptr;
        }
        return !is_wrapped_;
    }

    std::span<const std::byte> bytes(std::size_t n_bytes) const noexcept {
        return {buffer_, n_bytes};
    }

private:
    void unwrap() noexcept {
        if (is_wrapped_) {
            api_->msg_close(&message_);  // frees the buffer
            buffer_ = nullptr;
            is_wrapped_ = false;
        }
    }

    const ZmqApi* api_;
    std::size_t n_bytes_;
    std::byte* buffer_ = nullptr;
    ZmqMessage message_;
    bool is_wrapped_ = false;
};

/// What the native half of a transport counts; names as in `interface.py`.
struct ZmqCounters {
    std::uint64_t multipart = 0;
    std::uint64_t delayed_answers = 0;
    std::uint64_t dropped_answers = 0;
    std::uint64_t dropped_requests = 0;
    std::uint64_t evicted_sessions = 0;
};

/// Whole milliseconds, rounded up, at most `limit_ms`: what a receive may wait.
inline int wait_ms(std::int64_t left_ns, int limit_ms) noexcept {
    const auto left_ms = (std::max<std::int64_t>(left_ns, 0) + 999'999) / 1'000'000;
    return static_cast<int>(std::min<std::int64_t>(left_ms, limit_ms));
}

}  // namespace cudaq_target
