/// Waking whoever sleeps, at no cost for whoever finds nobody asleep.
#pragma once

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace cudaq_target {

/// Who pays for the order between "the condition holds" and "does anybody sleep?".
///
/// `kFenced`: the waker, with a full fence each time. `kExpedited`: the sleeper, who lets the kernel
/// put a fence into every running thread of the registered processes before it looks a last time.
enum class Wakes : std::uint32_t { kFenced = 0, kExpedited = 1 };

namespace membarrier {

// Of <linux/membarrier.h>, which older headers lack; Linux 4.16.
inline constexpr int kGlobalExpedited = 1 << 1;
inline constexpr int kRegisterGlobalExpedited = 1 << 2;

inline bool run(int command) noexcept {
#if defined(__linux__) && defined(SYS_membarrier)
    return syscall(SYS_membarrier, command, 0, 0) == 0;
#else
    static_cast<void>(command);
    return false;
#endif
}

}  // namespace membarrier

/// The cheapest way for this process; registers it with the kernel.
inline Wakes best_wakes() noexcept {
    return membarrier::run(membarrier::kRegisterGlobalExpedited) ? Wakes::kExpedited : Wakes::kFenced;
}

/// Two words in shared memory: whether somebody sleeps, and how his waker looks for that. The waker
/// pays a system call only for a sleeper.
///
/// No wake-up is lost. The sleeper stores `asleep`, fences, loads the condition; the waker stores the
/// condition, fences, loads `asleep`: one of them sees the other's store. A waker that is
/// `kExpedited` leaves its fence to the sleeper's system call: that runs between the two steps of
/// the waker, or before both, or after both. It says so in `wakes` before it first wakes, with a
/// fence, so that a sleeper that has not seen it is seen by it.
class Doorbell {
public:
    Doorbell(std::uint32_t& asleep, std::uint32_t& wakes) noexcept
        : asleep_(&asleep), wakes_(&wakes) {}

    /// Says how the calling process will `ring`.
    void announce(Wakes wakes) noexcept {
        std::atomic_ref(*wakes_).store(static_cast<std::uint32_t>(wakes), std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in `sleep`
    }

    /// Sleeps until rung, at most `nap_ns`, unless `ready()` holds already.
    template <typename Ready>
    void sleep(Ready&& ready, std::int64_t nap_ns) noexcept {
        std::atomic_ref asleep(*asleep_);
        asleep.store(1, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in `ring`
        const auto wakes = std::atomic_ref(*wakes_).load(std::memory_order_relaxed);
        if (wakes != static_cast<std::uint32_t>(Wakes::kFenced) &&
            !membarrier::run(membarrier::kGlobalExpedited)) {
            nap_ns = std::min(nap_ns, kUnheardNapNs);  // a filter of system calls forbids it to us
        }
        if (!ready()) {
            nap(nap_ns);
        }
        asleep.store(0, std::memory_order_relaxed);
    }

    /// Wakes the sleeper, if there is one. After the store of the condition, by the process that
    /// announced `wakes`.
    void ring(Wakes wakes) noexcept {
        if (wakes == Wakes::kFenced) {
            std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in `sleep`
        } else {
            std::atomic_signal_fence(std::memory_order_seq_cst);  // the compiler keeps the order, too
        }
        if (std::atomic_ref(*asleep_).load(std::memory_order_relaxed) != 0) [[unlikely]] {
            std::atomic_ref(*asleep_).store(0, std::memory_order_relaxed);
            wake();
        }
    }

private:
    static constexpr std::int64_t kUnheardNapNs = 50'000;

    void nap(std::int64_t nap_ns) noexcept {
#if !defined(__linux__)
        nap_ns = std::min(nap_ns, kUnheardNapNs);
#endif
        const timespec length{static_cast<time_t>(nap_ns / 1'000'000'000),
                              static_cast<long>(nap_ns % 1'000'000'000)};
#if defined(__linux__)
        syscall(SYS_futex, asleep_, FUTEX_WAIT, 1U, &length, nullptr, 0);
#else
        nanosleep(&length, nullptr);
#endif
    }
    void wake() noexcept {
#if defined(__linux__)
        syscall(SYS_futex, asleep_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
#endif
    }

    std::uint32_t* asleep_;
    std::uint32_t* wakes_;
};

}  // namespace cudaq_target
