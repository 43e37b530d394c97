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
        thread_ = std::thread([this] {
            run(kForever);
            has_ended_.store(true, std::memory_order_release);  // pairs with the load in `stop`
        });
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

    /// Makes `run` return; from any thread.
    void ask_to_stop(Stop how) noexcept {
        // Release: pairs with the acquire load in `stop_requested`.
        stop_.store(how, std::memory_order_release);
        server_.ring().consumer_bell().ring(Wakes::kFenced);
    }

    /// False when a function has not returned within `patience_ns`; then try again, or keep this
    /// object and all that the function may touch for ever.
    bool stop(Stop how, std::int64_t patience_ns = kForever) noexcept {
        if (thread_.joinable() && getpid() != pid_) {
            thread_.detach();  // after a fork the thread exists in the parent alone
            return true;
        }
        ask_to_stop(how);
        if (thread_.joinable()) {
            const auto until_ns = deadline_after(patience_ns);
            // Acquire: pairs with the release store at the end of the thread.
            while (!has_ended_.load(std::memory_order_acquire)) {
                if (monotonic_ns() > until_ns) {
                    return false;
                }
                const timespec nap{0, kStopNapNs};
                nanosleep(&nap, nullptr);
            }
            thread_.join();
        }
        return true;
    }

private:
    static constexpr long kStopNapNs = 50'000;

    Stop stop_requested() const noexcept { return stop_.load(std::memory_order_acquire); }

    void serve_one() noexcept {
        if (const auto session = server_.session(); session != client_) {
            client_ = session;
            session_.reset();
        }
        if (!server_.is_current()) [[unlikely]] {
            dispatcher_.count_stale();
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
    std::atomic<bool> has_ended_{false};
    std::thread thread_;
};

}  // namespace cudaq_target
