/// A thread beside the serving one, for functions that have a deadline: who waits for them leaves
/// when it has passed, whatever the function does.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "fork.hpp"
#include "frame.hpp"
#include "wait.hpp"

namespace cudaq_target {

/// One call at a time, in memory of its own: what comes late is discarded and counted, and touches
/// neither request nor answer of anybody. `Call` is a copyable `int(in, out, arg_len, max_result,
/// result_len)`. Used by one thread, except for `n_late` and `function_id`.
template <typename Call>
class Aside {
public:
    enum class End { kDone, kLate, kUnbegun, kBusy };
    struct Outcome {
        int status = 0;
        std::uint32_t result_len = 0;
        std::byte* result = nullptr;  ///< with the bytes behind it; until the next call
    };
    using Count = std::shared_ptr<std::atomic<std::uint64_t>>;

    /// Starts the thread. `filler` is what results begin as, over `slack` bytes more than a frame.
    Aside(std::size_t frame_bytes, std::size_t slack, std::byte filler, Count n_late)
        : desk_(std::make_shared<Desk>(frame_bytes, slack, filler, std::move(n_late))),
          generation_(fork_generation()),
          thread_([desk = desk_] { desk->work(); }) {}
    Aside(const Aside&) = delete;
    Aside& operator=(const Aside&) = delete;
    ~Aside() { end(0); }

    /// Whether frames of this length fit, and `end` was not called.
    bool takes(std::size_t frame_bytes) const noexcept {
        return frame_bytes <= desk_->in.size() && !desk_->is_ending.load(std::memory_order_relaxed);
    }
    /// Whether it is this thread that asks; then `client` is whose request it works on.
    bool is_mine() const noexcept { return thread_.get_id() == std::this_thread::get_id(); }
    std::uint64_t client() const noexcept { return desk_->client; }
    /// False in a child of a fork, which has no such thread.
    bool is_here() const noexcept { return generation_ == fork_generation(); }
    /// Whether a function that missed its deadline still runs, on this memory.
    bool holds(const void* state) const noexcept { return state == desk_->state && !is_free(); }
    /// The function that runs, 0 for none; for other threads.
    std::uint32_t function_id() const noexcept {
        return is_free() ? 0 : desk_->function_id.load(std::memory_order_relaxed);
    }

    /// Calls, and waits until `late_at`; a function that could not even begin is not called.
    /// `request` is a whole frame that fits; `keep` outlives the call, however long it takes.
    End run(const Call& call, std::uint32_t id, std::span<const std::byte> request,
            std::uint32_t arg_len, std::uint32_t max_result, const void* state,
            std::shared_ptr<void> keep, std::uint64_t client, std::int64_t late_at,
            Outcome& outcome) noexcept {
        auto& desk = *desk_;
        if (!is_free()) {
            return End::kBusy;
        }
        std::memcpy(desk.in.data(), request.data(), request.size());
        std::fill(desk.out.begin() + max_result, desk.out.end(), desk.filler);
        desk.call = call;
        desk.arg_len = arg_len;
        desk.max_result = max_result;
        desk.state = state;
        desk.keep = std::move(keep);  // the last one goes in the thread that looks at its count
        desk.client = client;
        desk.function_id.store(id, std::memory_order_relaxed);
        // Release: pairs with the exchange in `Desk::work`.
        desk.stage.store(Stage::kAsked, std::memory_order_release);
        desk.worker().ring(Wakes::kFenced);
        const auto is_done = [&] {
            return desk.stage.load(std::memory_order_acquire) == Stage::kDone;
        };
        if (!wait_until(is_done, Wait::kAdaptive, desk.waiter(), late_at)) {
            if (desk.move(Stage::kAsked, Stage::kFree)) {
                return End::kUnbegun;
            }
            // Acquire: on failure the function has returned meanwhile, late all the same.
            if (desk.move(Stage::kRunning, Stage::kLeft)) {
                return End::kLate;
            }
        }
        outcome = {desk.status, desk.result_len, desk.out.data()};
        desk.stage.store(Stage::kFree, std::memory_order_relaxed);
        return End::kDone;
    }

    /// Ends the thread; false where its function has not returned until then. It goes when it has.
    bool end(std::int64_t until_ns) noexcept {
        if (!thread_.joinable()) {
            return true;
        }
        if (!is_here()) {
            thread_.detach();
            return true;
        }
        desk_->is_ending.store(true, std::memory_order_release);
        desk_->worker().ring(Wakes::kFenced);
        // Acquire: pairs with the release store at the end of the thread.
        while (!desk_->has_ended.load(std::memory_order_acquire)) {
            if (!is_free() && monotonic_ns() > until_ns) {
                if (until_ns <= 0) {
                    thread_.detach();  // the desk is the thread's as well
                }
                return false;
            }
            const timespec nap{0, kEndNapNs};
            nanosleep(&nap, nullptr);
        }
        thread_.join();
        return true;
    }

private:
    static constexpr long kEndNapNs = 50'000;

    enum class Stage : std::uint32_t { kFree, kAsked, kRunning, kDone, kLeft };

    struct Desk {
        Desk(std::size_t frame_bytes, std::size_t slack, std::byte filler, Count late)
            : in(frame_bytes), out(frame_bytes + slack, filler), filler(filler),
              n_late(std::move(late)) {}

        Doorbell worker() noexcept { return {worker_asleep, wakes}; }
        Doorbell waiter() noexcept { return {waiter_asleep, wakes}; }

        bool move(Stage from, Stage to) noexcept {
            return stage.compare_exchange_strong(from, to, std::memory_order_acq_rel);
        }

        void work() noexcept {
            for (;;) {
                const auto is_due = [this] {
                    return stage.load(std::memory_order_relaxed) == Stage::kAsked ||
                           is_ending.load(std::memory_order_relaxed);
                };
                wait_until(is_due, Wait::kAdaptive, worker(), kForever);
                if (!move(Stage::kAsked, Stage::kRunning)) {
                    if (is_ending.load(std::memory_order_relaxed)) {
                        break;
                    }
                    continue;  // whoever asked has left
                }
                status = call(in.data() + kFrameHeaderBytes, out.data(), arg_len, max_result,
                              result_len);
                // Release: pairs with the acquire load in `run`.
                if (move(Stage::kRunning, Stage::kDone)) {
                    waiter().ring(Wakes::kFenced);
                } else {
                    n_late->fetch_add(1, std::memory_order_relaxed);
                    // Release: the next call writes what this one read.
                    stage.store(Stage::kFree, std::memory_order_release);
                }
            }
            has_ended.store(true, std::memory_order_release);
        }

        std::vector<std::byte> in;
        std::vector<std::byte> out;
        std::byte filler;
        Count n_late;
        std::atomic<Stage> stage{Stage::kFree};
        std::atomic<std::uint32_t> function_id{0};
        std::atomic<bool> is_ending{false};
        std::atomic<bool> has_ended{false};
        Call call{};
        std::uint32_t arg_len = 0;
        std::uint32_t max_result = 0;
        std::uint32_t result_len = 0;
        int status = 0;
        const void* state = nullptr;
        std::shared_ptr<void> keep;
        std::uint64_t client = 0;
        std::uint32_t worker_asleep = 0;
        std::uint32_t waiter_asleep = 0;
        std::uint32_t wakes = static_cast<std::uint32_t>(Wakes::kFenced);
    };

    bool is_free() const noexcept {
        return desk_->stage.load(std::memory_order_acquire) == Stage::kFree;
    }

    std::shared_ptr<Desk> desk_;
    std::uint32_t generation_;
    std::thread thread_;
};

}  // namespace cudaq_target
