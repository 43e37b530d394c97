/// How a thread waits for a word that another process will write.
#pragma once

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <thread>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

/// A word in shared memory that says whether somebody sleeps; the waker pays a system call only then.
///
/// No wake-up is lost: the sleeper stores `asleep` and then loads the condition, the waker stores
/// the condition and then loads `asleep`, all four sequentially consistent, so that at least one
/// of them sees the other's store.
class Doorbell {
public:
    explicit Doorbell(std::uint32_t& asleep) noexcept : asleep_(&asleep) {}

    /// Sleeps until rung, at most `nap_ns`, unless `ready()` holds already.
    template <typename Ready>
    void sleep(Ready&& ready, std::int64_t nap_ns) noexcept {
        std::atomic_ref asleep(*asleep_);
        asleep.store(1, std::memory_order_seq_cst);  // pairs with the load in `ring`
        if (!ready()) {
            nap(nap_ns);
        }
        asleep.store(0, std::memory_order_relaxed);
    }

    /// Wakes the sleeper, if there is one. The caller's store of the condition is seq_cst.
    void ring() noexcept {
        // Pairs with the store in `sleep`.
        if (std::atomic_ref(*asleep_).load(std::memory_order_seq_cst) != 0) [[unlikely]] {
            std::atomic_ref(*asleep_).store(0, std::memory_order_relaxed);
            wake();
        }
    }

private:
    void nap(std::int64_t nap_ns) noexcept {
        const timespec length{static_cast<time_t>(nap_ns / 1'000'000'000),
                              static_cast<long>(nap_ns % 1'000'000'000)};
#if defined(__linux__)
        syscall(SYS_futex, asleep_, FUTEX_WAIT, 1U, &length, nullptr, 0);
#else
        const timespec short_nap{0, std::min<long>(length.tv_nsec, 50'000)};
        nanosleep(&short_nap, nullptr);
#endif
    }
    void wake() noexcept {
#if defined(__linux__)
        syscall(SYS_futex, asleep_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
#endif
    }

    std::uint32_t* asleep_;
};

/// Waits until `ready()` holds; false when `until_ns` came first. `ready` loads its word seq_cst.
template <typename Ready>
bool wait_until(Ready&& ready, Wait strategy, Doorbell bell, std::int64_t until_ns) noexcept {
    const int n_spins = strategy == Wait::kAdaptive ? adaptive_spins() : 1;
    for (int n_tries = 1;; ++n_tries) {
        if (ready()) {
            return true;
        }
        const bool spins = strategy == Wait::kBusy || strategy == Wait::kYield ||
                           n_tries % n_spins != 0;
        if (strategy == Wait::kYield) {
            sched_yield();
        } else if (spins) {
            relax();
        }
        if (spins && n_tries % 64 != 0) {
            continue;  // the clock costs as much as the wait; it is read now and then
        }
        const auto left_ns = until_ns == kForever ? kForever : until_ns - monotonic_ns();
        if (left_ns <= 0) {
            return ready();
        }
        if (!spins) {
            bell.sleep(ready, std::min(left_ns, kNapNs));
        }
    }
}

}  // namespace cudaq_target
