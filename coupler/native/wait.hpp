/// How a thread waits for a word that another process will write.
#pragma once

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <thread>

#include "doorbell.hpp"

namespace cudaq_target {

/// `kBusy` is for isolated cores only; `kAdaptive` spins for some microseconds, then sleeps.
enum class Wait { kBusy, kYield, kAdaptive, kBlock };

/// About 40 µs, the cost of two wake-ups on a machine with sleeping cores: whoever spins as long as a
/// sleep would cost loses at most a factor of two. With one core nobody else runs meanwhile.
inline int adaptive_spins() noexcept {
    static const int n_spins = std::thread::hardware_concurrency() > 1 ? 2000 : 1;
    return n_spins;
}
/// A sleeper looks around this often: for signals, for a stop, and for the death of its peer.
inline constexpr std::int64_t kNapNs = 20'000'000;
inline constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();

inline std::int64_t monotonic_ns() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// The instant `timeout_ns` from now; a timeout beyond the end of the clock is none.
inline std::int64_t deadline_after(std::int64_t timeout_ns) noexcept {
    const auto now = monotonic_ns();
    return timeout_ns < kForever - now ? now + std::max<std::int64_t>(timeout_ns, 0) : kForever;
}

inline void relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb" ::: "memory");
#endif
}

/// Waits until `ready()` holds; false when `until_ns` came first.
///
/// No strategy but `kYield` yields: with a busy process on every core each yield costs its whole
/// slice (4 ms), where a wake-up costs some microseconds.
template <typename Ready>
bool wait_until(Ready&& ready, Wait strategy, Doorbell bell, std::int64_t until_ns) noexcept {
    constexpr int kLooks = 64;  // the clock costs as much as the wait; it is read now and then
    const bool may_sleep = strategy == Wait::kAdaptive || strategy == Wait::kBlock;
    const int n_spins = strategy == Wait::kAdaptive ? adaptive_spins() : 1;
    for (int n_tries = 0;;) {
        for (int look = 0; look < kLooks; ++look) {
            if (ready()) {
                return true;
            }
            if (strategy == Wait::kYield) {
                sched_yield();
            } else {
                relax();
            }
        }
        n_tries += kLooks;
        const auto left_ns = until_ns == kForever ? kForever : until_ns - monotonic_ns();
        if (left_ns <= 0) {
            return ready();
        }
        if (may_sleep && n_tries >= n_spins) {
            bell.sleep(ready, std::min(left_ns, kNapNs));
            n_tries = 0;
        }
    }
}

}  // namespace cudaq_target
