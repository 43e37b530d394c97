/// Whether this process is still the one that made an object.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

namespace cudaq_target {

inline std::atomic<std::uint32_t> n_forks{0};

/// Grows in every child of a fork; costs one load, where `getpid` is a system call.
inline std::uint32_t fork_generation() noexcept {
    static const int is_watched = pthread_atfork(
        nullptr, nullptr, [] { n_forks.fetch_add(1, std::memory_order_relaxed); });
    static_cast<void>(is_watched);
    return n_forks.load(std::memory_order_relaxed);
}

}  // namespace cudaq_target
