/// Counters of a server: each drop, refusal and stall raises exactly one. Names as in `counters.py`.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <utility>

namespace cudaq_target {

struct Counters {
    std::uint64_t received = 0;
    std::uint64_t dispatched = 0;
    std::uint64_t answered = 0;
    std::uint64_t truncated = 0;
    std::uint64_t bad_magic = 0;
    std::uint64_t bad_length = 0;
    std::uint64_t unknown_function = 0;
    std::uint64_t bad_request = 0;
    std::uint64_t handler_failures = 0;
    std::uint64_t duplicates = 0;
    std::uint64_t reused_ids = 0;
    std::uint64_t stale = 0;
    std::uint64_t deadline_misses = 0;
    std::uint64_t late_results = 0;
    std::uint64_t cancelled = 0;
    std::uint64_t busy = 0;
};

inline constexpr std::array kCounterNames{
    std::pair{"received", &Counters::received},
    std::pair{"dispatched", &Counters::dispatched},
    std::pair{"answered", &Counters::answered},
    std::pair{"truncated", &Counters::truncated},
    std::pair{"bad_magic", &Counters::bad_magic},
    std::pair{"bad_length", &Counters::bad_length},
    std::pair{"unknown_function", &Counters::unknown_function},
    std::pair{"bad_request", &Counters::bad_request},
    std::pair{"handler_failures", &Counters::handler_failures},
    std::pair{"duplicates", &Counters::duplicates},
    std::pair{"reused_ids", &Counters::reused_ids},
    std::pair{"stale", &Counters::stale},
    std::pair{"deadline_misses", &Counters::deadline_misses},
    std::pair{"late_results", &Counters::late_results},
    std::pair{"cancelled", &Counters::cancelled},
    std::pair{"busy", &Counters::busy},
};

/// Counts one. Only the serving thread writes, so that no read-modify-write is needed; other
/// threads read single counters without order between them.
inline void count(std::uint64_t& counter) noexcept {
    std::atomic_ref word(counter);
    word.store(word.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

inline std::uint64_t value_of(const Counters& counters, std::uint64_t Counters::*field) noexcept {
    auto& word = const_cast<Counters&>(counters).*field;
    return std::atomic_ref(word).load(std::memory_order_relaxed);
}

}  // namespace cudaq_target
