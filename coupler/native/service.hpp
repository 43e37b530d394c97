/// Serves a slot ring with a dispatcher, on the caller's thread or on one of its own.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <thread>

#include "dispatcher.hpp"
#include "slot_ring.hpp"

namespace cudaq_target {

class Service {
public:
    /// What happens to requests that wait when the service stops.
    enum class Stop : int { kNo, kDrain, kCancel };

    /// `slot_bytes`: longest request and answer; slots are longer where it is no multiple of 128.
    Service(const SlotRing& ring, Dispatcher& dispatcher, Session& session, Wait strategy,
            std::size_t slot_bytes = std::numeric_limits<std::size_t>::max())
        : server_(ring),
          dispatcher_(dispatcher),
          session_(session),
          strategy_(strategy),
          rx_bytes_(std::min(slot_bytes, ring.rx_stride())),
          tx_bytes_(std::min(slot_bytes, ring.tx_stride())) {}
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;
    ~Service() {
        if (thread_.joinable()) {
            stop(Stop::kCancel);
        }
    }

    void start() {
        pid_ = getpid();
        thread_ = std::thread([this] { run(kForever); });
    }

    /// Serves until `until_ns` or until `stop`. True when stopped.
    bool run(std::int64_t until_ns) noexcept {
        server_.announce(best_wakes());
        for (;;) {
            const bool is_awake = wait_until(
                [this] { return server_.has_request() || stop_requested() != Stop::kNo; },
                strategy_, server_.ring().consumer_bell(), until_ns);
            const auto how = stop_requested();
            if (how != Stop::kNo) {
                finish(how);
                return true;
            }
            if (!is_awake) {
                return false;
            }
            serve_one();
        }
    }

    void stop(Stop how) noexcept {
        if (thread_.joinable() && getpid() != pid_) {
            thread_.detach();  // after a fork the thread exists in the parent alone
            return;
        }
        // Release: pairs with the acquire load in `stop_requested`.
        stop_.store(how, std::memory_order_release);
        server_.ring().consumer_bell().ring(Wakes::kFenced);
        if (thread_.joinable()) {
            thread_.join();
        }
    }

private:
    Stop stop_requested() const noexcept { return stop_.load(std::memory_order_acquire); }

    void serve_one() noexcept {
        if (const auto session = server_.session(); session != client_) {
            client_ = session;
            session_.reset();
        }
        session_.advance();
        dispatcher_.handle(server_.request().first(rx_bytes_), server_.response().first(tx_bytes_),
                           session_, false);
        server_.publish();
    }

    /// Every request that came before the stop gets its answer.
    void finish(Stop how) noexcept {
        // A client that never pauses must not keep us: one lap is all that can have been waiting.
        for (std::uint32_t i = 0; i < server_.ring().n_slots() && server_.has_request(); ++i) {
            if (how == Stop::kDrain) {
                serve_one();
            } else {
                dispatcher_.cancel(server_.request(), server_.response());
                server_.publish();
            }
        }
    }

    SlotServer server_;
    Dispatcher& dispatcher_;
    Session& session_;
    Wait strategy_;
    std::size_t rx_bytes_;
    std::size_t tx_bytes_;
    std::uint32_t client_ = 0;
    std::int32_t pid_ = 0;
    std::atomic<Stop> stop_{Stop::kNo};
    std::thread thread_;
};

}  // namespace cudaq_target
