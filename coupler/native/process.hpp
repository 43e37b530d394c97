/// Who holds a role in a shared segment, and whether that process still lives.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace cudaq_target {

/// A process in one word: pid below, low half of its start time above, as pids are used again.
/// 0 is nobody. Processes that share a segment share a pid namespace.
using ProcessStamp = std::uint64_t;

constexpr std::int32_t pid_of(ProcessStamp stamp) noexcept {
    return static_cast<std::int32_t>(stamp & 0xFFFF'FFFF);
}

/// Stamp of a live process; 0 when it is dead, or a zombie.
inline ProcessStamp stamp_of(std::int32_t pid) noexcept {
    if (pid <= 0 || (kill(pid, 0) != 0 && errno == ESRCH)) {
        return 0;
    }
    std::uint64_t start_ticks = 0;
#if defined(__linux__)
    char path[32];
    std::snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    char text[1024];
    const auto n_bytes = read(file, text, sizeof(text) - 1);
    close(file);
    text[n_bytes > 0 ? n_bytes : 0] = '\0';
    // The program's name may hold blanks and brackets: fields are counted from its last bracket.
    const char* at = std::strrchr(text, ')');
    if (at == nullptr || at[1] == '\0' || at[2] == 'Z' || at[2] == 'X') {
        return 0;
    }
    for (int field = 2; field < 22 && at != nullptr; ++field) {
        at = std::strchr(at + 1, ' ');
    }
    start_ticks = at != nullptr ? std::strtoull(at, nullptr, 10) : 0;
#endif
    return (start_ticks & 0xFFFF'FFFF) << 32 | static_cast<std::uint32_t>(pid);
}

inline ProcessStamp own_stamp() noexcept { return stamp_of(getpid()); }

inline bool is_alive(ProcessStamp stamp) noexcept {
    return stamp != 0 && stamp_of(pid_of(stamp)) == stamp;
}

}  // namespace cudaq_target
