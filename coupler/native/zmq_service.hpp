/// Serves a ROUTER with a dispatcher: receive, answer, send, on the caller's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "dispatcher.hpp"
#include "zmq_peers.hpp"
#include "zmq_socket.hpp"

namespace cudaq_target {

struct ZmqLimits {
    std::size_t slot_bytes;
    std::size_t max_waiting;   ///< answers
    std::size_t max_sessions;
    std::uint32_t window;      ///< remembered requests per session
    std::size_t state_bytes;   ///< per session
};

class ZmqService {
public:
    /// Why `run` came back.
    enum class Pause : int { kStopped, kTend, kBroken };

    /// `watched` are sockets of the same thread whose messages somebody else handles.
    ZmqService(ZmqSocket router, std::vector<ZmqSocket> watched, Dispatcher& dispatcher,
               const ZmqLimits& limits)
        : router_(router),
          watched_(std::move(watched)),
          dispatcher_(dispatcher),
          sessions_(limits.max_sessions, limits.window, limits.slot_bytes, limits.state_bytes),
          stranger_(0, 0, limits.state_bytes),
          waiting_(limits.max_waiting, limits.slot_bytes),
          name_(router.api()),
          body_(router.api()),
          slot_bytes_(limits.slot_bytes),
          outgoing_(router.api(), limits.slot_bytes) {}

    /// Serves until `stop`, or until something is due besides requests. Takes no lock.
    Pause run() noexcept {
        auto look_at_ns = deadline_after(kLookAroundNs);
        for (;;) {
            const bool is_served = serve_one(waiting_.size() > 0 ? kRetryMs : kLookAroundMs, false);
            if (!is_served && router_.is_broken()) {
                return Pause::kBroken;
            }
            // Relaxed: nothing is read that was written before it; `finish` runs in this thread.
            if (is_stopping_.load(std::memory_order_relaxed)) {
                return Pause::kStopped;
            }
            if (waiting_.size() > 0) {
                retry_waiting();
            }
            if (!is_served || monotonic_ns() >= look_at_ns) {
                look_at_ns = deadline_after(kLookAroundNs);
                for (auto& socket : watched_) {
                    if (socket.is_readable()) {
                        return Pause::kTend;
                    }
                }
            }
        }
    }

    /// Makes `run` return; from any thread.
    void stop() noexcept { is_stopping_.store(true, std::memory_order_relaxed); }

    /// Answers what has arrived, by its functions or with CANCELLED, and lets answers leave.
    void finish(bool is_cancelling, std::int64_t drain_ns) noexcept {
        const auto until_ns = deadline_after(kLookAroundNs);
        while (monotonic_ns() < until_ns && serve_one(kRetryMs, is_cancelling)) {
        }
        const auto drained_ns = deadline_after(drain_ns);
        while (waiting_.size() > 0 && monotonic_ns() < drained_ns) {
            retry_ns_ = 0;
            retry_waiting();
            const timespec nap{0, kRetryMs * 1'000'000};
            nanosleep(&nap, nullptr);
        }
        counters_.dropped_answers += waiting_.size();
    }

    const ZmqCounters& counters() const noexcept { return counters_; }
    int error() const noexcept { return router_.error(); }

private:
    static constexpr int kLookAroundMs = 20;
    static constexpr std::int64_t kLookAroundNs = kLookAroundMs * 1'000'000;
    static constexpr int kRetryMs = 1;

    /// False where nothing came.
    bool serve_one(int timeout_ms, bool is_cancelling) noexcept {
        if (!router_.receive(name_, timeout_ms)) {
            return false;
        }
        if (!name_.has_more() || !router_.receive_rest(body_) || body_.has_more()) {
            router_.drop_rest(body_);
            count(counters_.multipart);
            return true;
        }
        const ZmqIdentity peer(name_.bytes());
        const auto response = outgoing_.room();
        if (response.empty()) {
            count(counters_.dropped_requests);
            return true;
        }
        const auto n_bytes = answer(peer, body_.bytes(), response, is_cancelling);
        if (n_bytes > 0) {
            deliver(peer, n_bytes);
        }
        return true;
    }

    std::size_t answer(const ZmqIdentity& peer, std::span<const std::byte> request,
                       std::span<std::byte> response, bool is_cancelling) noexcept {
        // Longer than a slot: cut, so that its length disagrees with its header.
        request = request.first(std::min(request.size(), slot_bytes_));
        const bool is_request = request.size() >= kFrameHeaderBytes &&
                                load<std::uint32_t>(request.data()) == kRequestMagic;
        if (!is_request) {  // garbage is refused before it could cost a client its session
            return dispatcher_.handle(request, response, stranger_, true);
        }
        if (is_cancelling) {
            return dispatcher_.cancel(request, response);
        }
        bool was_evicted = false;
        auto* session = sessions_.of(peer, was_evicted);
        if (was_evicted) {
            count(counters_.evicted_sessions);
        }
        if (session == nullptr) {
            count(counters_.dropped_requests);
            const auto header = load<RequestHeader>(request.data());
            write_header(response.data(),
                         ResponseHeader{kResponseMagic, static_cast<std::int32_t>(Status::kBusy), 0,
                                        header.request_id, header.timestamp_ns});
            return kFrameHeaderBytes;
        }
        return dispatcher_.handle(request, response, *session, true);
    }

    void deliver(const ZmqIdentity& peer, std::size_t n_bytes) noexcept {
        const bool must_wait = waiting_.size() > 0 && waiting_.holds(peer);
        const auto send = [&] { return outgoing_.send(router_, n_bytes); };
        if (must_wait || !send_now(peer, send)) {
            count(counters_.delayed_answers);
            if (waiting_.push(peer, outgoing_.bytes(n_bytes))) {
                count(counters_.dropped_answers);
            }
        }
    }

    /// False where the peer's queue is full; an answer to a peer that left is dropped.
    template <typename Send>
    bool send_now(const ZmqIdentity& peer, Send send) noexcept {
        if (router_.send(peer.bytes(), true) && send()) {
            return true;
        }
        if (router_.error() == EAGAIN || router_.error() == EINTR) {
            return false;
        }
        count(counters_.dropped_answers);  // EHOSTUNREACH
        return true;
    }

    void retry_waiting() noexcept {
        const auto now_ns = monotonic_ns();
        if (now_ns < retry_ns_) {
            return;
        }
        retry_ns_ = now_ns + kRetryMs * 1'000'000;
        waiting_.retry([this](const ZmqIdentity& peer, std::span<const std::byte> frame) {
            return send_now(peer, [&] { return router_.send(frame); });
        });
    }

    ZmqSocket router_;
    std::vector<ZmqSocket> watched_;
    Dispatcher& dispatcher_;
    ZmqSessions sessions_;
    Session stranger_;
    ZmqWaiting waiting_;
    ZmqPart name_;
    ZmqPart body_;
    std::size_t slot_bytes_;
    ZmqOutgoing outgoing_;
    ZmqCounters counters_;
    std::int64_t retry_ns_ = 0;
    std::atomic<bool> is_stopping_{false};
};

}  // namespace cudaq_target
