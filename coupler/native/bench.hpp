/// Both ends of the link in machine code, in two processes, beside the least that hardware allows.
///
/// Each measurement forks a server that serves a known number of rounds and exits. Times are of the
/// closed loop: the next request starts when the last answer has been copied out and compared.
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "handlers.hpp"
#include "service.hpp"
#include "slot_ring.hpp"

#if defined(__linux__)
#include <sys/prctl.h>
#endif

namespace cudaq_target::bench {

/// Cores of client and server; below 0 the system chooses.
struct Cores {
    int client = -1;
    int server = -1;
};

struct Result {
    std::vector<std::int64_t> times_ns;
    std::uint64_t n_wrong = 0;  ///< answers that differ from what was asked
};

/// Zeroed memory that a forked process shares.
class SharedMemory {
public:
    explicit SharedMemory(std::size_t n_bytes) {
        void* start = mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (start != MAP_FAILED) {
            bytes_ = {static_cast<std::byte*>(start), n_bytes};
        }
    }
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    ~SharedMemory() {
        if (!bytes_.empty()) {
            munmap(bytes_.data(), bytes_.size());
        }
    }
    std::span<std::byte> bytes() const noexcept { return bytes_; }

private:
    std::span<std::byte> bytes_;
};

/// Runs the calling thread on one core, until destruction.
class Pinned {
public:
    explicit Pinned(int core) noexcept {
#if defined(__linux__)
        is_pinned_ = core >= 0 && sched_getaffinity(0, sizeof(before_), &before_) == 0;
        if (is_pinned_) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(static_cast<std::size_t>(core), &one);
            sched_setaffinity(0, sizeof(one), &one);
        }
#else
        static_cast<void>(core);
#endif
    }
    Pinned(const Pinned&) = delete;
    Pinned& operator=(const Pinned&) = delete;
    ~Pinned() {
#if defined(__linux__)
        if (is_pinned_) {
            sched_setaffinity(0, sizeof(before_), &before_);
        }
#endif
    }

private:
#if defined(__linux__)
    cpu_set_t before_{};
#endif
    bool is_pinned_ = false;
};

/// Forks a process that runs `work` and exits. Below 0 where the system has no process left.
template <typename Work>
pid_t fork_server(int core, Work work) {
    const auto pid = fork();
    if (pid == 0) {
#if defined(__linux__)
        prctl(PR_SET_PDEATHSIG, SIGKILL);  // no server outlives its measurement
#endif
        const Pinned pinned(core);
        work();
        _exit(0);
    }
    return pid;
}

/// The floor: one flag and one buffer per direction, each alone on its cache lines, busy waits.
class PingPong {
public:
    PingPong(std::span<std::byte> memory, std::size_t n_bytes) noexcept
        : flags_{reinterpret_cast<std::uint64_t*>(memory.data()),
                 reinterpret_cast<std::uint64_t*>(memory.data() + kLineBytes)},
          buffers_{memory.data() + 2 * kLineBytes, memory.data() + 2 * kLineBytes + stride(n_bytes)},
          n_bytes_(n_bytes) {}

    static std::size_t required(std::size_t n_bytes) noexcept {
        return 2 * kLineBytes + 2 * stride(n_bytes);
    }
    void send(int direction, const std::byte* from, std::uint64_t round) noexcept {
        std::memcpy(buffers_[direction], from, n_bytes_);
        // Release: pairs with the acquire load in `receive`.
        std::atomic_ref(*flags_[direction]).store(round, std::memory_order_release);
    }
    const std::byte* receive(int direction, std::uint64_t round) const noexcept {
        // Acquire: pairs with the release store in `send`.
        while (std::atomic_ref(*flags_[direction]).load(std::memory_order_acquire) != round) {
            relax();
        }
        return buffers_[direction];
    }

private:
    static std::size_t stride(std::size_t n_bytes) noexcept {
        return (n_bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
    }
    std::uint64_t* flags_[2];
    std::byte* buffers_[2];
    std::size_t n_bytes_;
};

/// Times `n_rounds` after a warm-up of a tenth. `round_trip(sent, received)` runs one.
template <typename RoundTrip>
void time_rounds(std::size_t n_rounds, std::size_t n_bytes, Result& result, RoundTrip round_trip) {
    std::vector<std::byte> sent(n_bytes);
    std::vector<std::byte> received(n_bytes);
    const auto n_warm_up = n_rounds / 10;
    for (std::size_t i = 0; i < n_warm_up + n_rounds; ++i) {
        std::memset(sent.data(), static_cast<int>(i % 251), n_bytes);
        const auto start_ns = monotonic_ns();
        const bool is_answered = round_trip(sent, received);
        const auto end_ns = monotonic_ns();
        result.n_wrong += !is_answered || sent != received;
        if (i >= n_warm_up) {
            result.times_ns[i - n_warm_up] = end_ns - start_ns;
        }
    }
}

inline std::optional<Result> ping_pong(std::size_t n_rounds, std::size_t n_bytes, Cores cores) {
    const SharedMemory memory(PingPong::required(n_bytes));
    if (memory.bytes().empty()) {
        return std::nullopt;
    }
    PingPong link(memory.bytes(), n_bytes);
    Result result{std::vector<std::int64_t>(n_rounds), 0};
    const auto server = fork_server(cores.server, [&] {
        for (std::uint64_t round = 1; round <= n_rounds + n_rounds / 10; ++round) {
            link.send(1, link.receive(0, round), round);
        }
    });
    if (server < 0) {
        return std::nullopt;
    }
    const Pinned pinned(cores.client);
    std::uint64_t round = 0;
    time_rounds(n_rounds, n_bytes, result, [&](const auto& sent, auto& received) {
        link.send(0, sent.data(), ++round);
        std::memcpy(received.data(), link.receive(1, round), n_bytes);
        return true;
    });
    waitpid(server, nullptr, 0);
    return result;
}

/// The whole protocol: header, slot ring, dispatcher, `echo`, checked answer.
inline std::optional<Result> rpc(std::size_t n_rounds, std::size_t n_bytes, std::uint32_t n_slots,
                                 Wait strategy, Cores cores) {
    const auto stride = static_cast<std::uint32_t>(
        (n_bytes + kFrameHeaderBytes + kLineBytes - 1) / kLineBytes * kLineBytes);
    const Geometry geometry{Kind::kSlotRing, n_slots, stride, stride};
    const SharedMemory memory(segment_bytes(geometry));
    if (memory.bytes().empty()) {
        return std::nullopt;
    }
    format_segment(memory.bytes(), geometry, own_stamp());
    const SlotRing ring(memory.bytes(), geometry);
    Result result{std::vector<std::int64_t>(n_rounds), 0};
    constexpr auto kEcho = function_id("echo");
    Dispatcher dispatcher;
    dispatcher.add({.id = kEcho, .call = echo});
    Session session(0, stride, 0);
    Service service(ring, dispatcher, session, strategy);
    const auto server = fork_server(cores.server, [&] { service.run(kForever); });
    if (server < 0) {
        return std::nullopt;
    }
    const Pinned pinned(cores.client);
    SlotClient client(ring, 1);
    time_rounds(n_rounds, n_bytes, result, [&](const auto& sent, auto& received) {
        wait_until([&] { return client.has_room(); }, Wait::kBusy, ring.producer_bell(), kForever);
        std::memcpy(client.arguments().data(), sent.data(), n_bytes);
        client.send(kEcho, static_cast<std::uint32_t>(n_bytes), 0);
        wait_until([&] { return client.has_answer(); }, strategy, ring.producer_bell(), kForever);
        const auto answer = client.answer();
        const bool is_answered = answer.header.status == 0 && answer.result.size() == n_bytes;
        if (is_answered) {
            std::memcpy(received.data(), answer.result.data(), received.size());
        }
        client.release();
        return is_answered;
    });
    kill(server, SIGKILL);
    waitpid(server, nullptr, 0);
    return result;
}

/// The least that a queue between two threads needs: two counters, their private copies, slots.
class MinimalQueue {
public:
    MinimalQueue(std::span<std::byte> memory, std::uint32_t n_slots, std::size_t n_bytes) noexcept
        : head_(*reinterpret_cast<std::uint64_t*>(memory.data())),
          tail_(*reinterpret_cast<std::uint64_t*>(memory.data() + kLineBytes)),
          slots_(memory.data() + 2 * kLineBytes),
          mask_(n_slots - 1),
          n_bytes_(n_bytes) {}
    static std::size_t required(std::uint32_t n_slots, std::size_t n_bytes) noexcept {
        return 2 * kLineBytes + n_slots * n_bytes;
    }
    bool push(const std::byte* from) noexcept {
        if (mine_ - known_ > mask_) {
            known_ = std::atomic_ref(tail_).load(std::memory_order_acquire);  // pairs: `pop`
            if (mine_ - known_ > mask_) {
                return false;
            }
        }
        std::memcpy(slots_ + (mine_ & mask_) * n_bytes_, from, n_bytes_);
        std::atomic_ref(head_).store(++mine_, std::memory_order_release);  // pairs: `pop`
        return true;
    }
    bool pop(std::byte* to) noexcept {
        if (mine_ == known_) {
            known_ = std::atomic_ref(head_).load(std::memory_order_acquire);  // pairs: `push`
            if (mine_ == known_) {
                return false;
            }
        }
        std::memcpy(to, slots_ + (mine_ & mask_) * n_bytes_, n_bytes_);
        std::atomic_ref(tail_).store(++mine_, std::memory_order_release);  // pairs: `push`
        return true;
    }

private:
    std::uint64_t& head_;
    std::uint64_t& tail_;
    std::byte* slots_;
    std::uint64_t mask_;
    std::size_t n_bytes_;
    std::uint64_t mine_ = 0;
    std::uint64_t known_ = 0;
};

/// Time for `n_frames` numbered frames one way (ns), and how many arrived wrong.
struct Stream {
    std::int64_t time_ns = 0;
    std::uint64_t n_wrong = 0;
};

template <typename Push, typename Pop>
std::optional<Stream> stream(std::size_t n_frames, std::size_t n_bytes, Cores cores, Push push, Pop pop) {
    const auto sender = fork_server(cores.client, [&] {
        std::vector<std::byte> frame(n_bytes);
        for (std::uint64_t i = 0; i < n_frames; ++i) {
            store(frame.data(), i);
            while (!push(frame.data())) {
                relax();
            }
        }
    });
    if (sender < 0) {
        return std::nullopt;
    }
    const Pinned pinned(cores.server);
    std::vector<std::byte> frame(n_bytes);
    Stream result;
    std::int64_t start_ns = 0;
    for (std::uint64_t i = 0; i < n_frames; ++i) {
        while (!pop(frame.data())) {
            relax();
        }
        if (i == 0) {
            start_ns = monotonic_ns();  // the sender needs a while to start
        }
        result.n_wrong += load<std::uint64_t>(frame.data()) != i;
    }
    result.time_ns = monotonic_ns() - start_ns;
    waitpid(sender, nullptr, 0);
    return result;
}

inline std::optional<Stream> minimal_stream(std::size_t n_frames, std::size_t n_bytes,
                                            std::uint32_t n_slots, Cores cores) {
    const SharedMemory memory(MinimalQueue::required(n_slots, n_bytes));
    if (memory.bytes().empty()) {
        return std::nullopt;
    }
    MinimalQueue producer(memory.bytes(), n_slots, n_bytes);
    MinimalQueue consumer(memory.bytes(), n_slots, n_bytes);
    return stream(
        n_frames, n_bytes, cores, [&](const std::byte* from) { return producer.push(from); },
        [&](std::byte* to) { return consumer.pop(to); });
}

inline std::optional<Stream> ring_stream(std::size_t n_frames, std::size_t n_bytes,
                                         std::uint32_t n_slots, Cores cores) {
    const auto slot_bytes = static_cast<std::uint32_t>(n_bytes);
    const SharedMemory memory(required_bytes(n_slots, slot_bytes));
    if (memory.bytes().empty() ||
        format(memory.bytes(), n_slots, slot_bytes).fault != Fault::kNone) {
        return std::nullopt;
    }
    std::optional<Ring> ring;
    if (Ring::attach(memory.bytes(), ring).fault != Fault::kNone) {
        return std::nullopt;
    }
    Producer producer(*ring);
    Consumer consumer(*ring);
    return stream(
        n_frames, n_bytes, cores,
        [&](const std::byte* from) { return producer.push({from, n_bytes}) == Push::kDone; },
        [&](std::byte* to) {
            if (consumer.is_empty()) {
                return false;
            }
            const auto frame = consumer.front();
            if (frame.n_bytes == n_bytes) {
                std::memcpy(to, frame.start, n_bytes);
            }
            consumer.release();
            return true;
        });
}

}  // namespace cudaq_target::bench
