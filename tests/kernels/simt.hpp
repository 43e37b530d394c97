/// Runs CUDA kernels on a CPU, one block at a time, for tests of their logic: every thread is a
/// fiber that runs until a barrier, a vote or a shuffle. It shows wrong indices, missing barriers
/// (as wrong results) and divergent ones (as a hang that is found), not speed or memory ordering.
#pragma once

#include <sched.h>
#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __align__(n) alignas(n)
#define __restrict__

struct alignas(16) ulonglong2 {
    unsigned long long x, y;
};
struct uint3_ {
    unsigned x = 0, y = 0, z = 0;
};

namespace simt {

constexpr unsigned kWarpLanes = 32;
constexpr std::size_t kStackBytes = 1 << 16;
constexpr long kMostIdleTurns = 50'000'000;

struct Barrier {
    unsigned arrived = 0;
    unsigned generation = 0;
};
struct Warp {
    Barrier barrier;
    unsigned long long value[kWarpLanes] = {};
    unsigned n_lanes = 0;
};
struct Fiber {
    ucontext_t context{};
    jmp_buf place{};
    std::vector<char> stack = std::vector<char>(kStackBytes);
    bool is_started = false;
    bool is_done = false;
};

inline std::vector<Fiber> fibers;
inline std::vector<Warp> warps;
inline Barrier block_barrier;
inline unsigned n_alive = 0;
inline unsigned current = 0;
inline long idle_turns = 0;
inline uint3_ block_index, block_size, grid_size;
inline ucontext_t scheduler;
inline jmp_buf scheduler_place;
alignas(16) inline unsigned char dynamic_shared[1 << 18];
inline void (*body)(const void*) = nullptr;
inline const void* argument = nullptr;

/// Hands the processor to the scheduler, which goes to the next fiber.
inline void yield() {
    if (_setjmp(fibers[current].place) == 0) {
        _longjmp(scheduler_place, 1);
    }
}

inline void wait(Barrier& barrier, unsigned n_expected) {
    const auto generation = barrier.generation;
    if (++barrier.arrived == n_expected) {
        barrier.arrived = 0;
        ++barrier.generation;
        idle_turns = 0;
        return;
    }
    while (barrier.generation == generation) {
        if (++idle_turns > kMostIdleTurns) {
            std::fputs("simt: threads wait at a barrier that others never reach\n", stderr);
            std::abort();
        }
        yield();
    }
}

inline Warp& own_warp() { return warps[current / kWarpLanes]; }

/// Lets all lanes of the warp see each other's value.
template <typename Read>
auto exchange(unsigned long long value, Read read) {
    auto& warp = own_warp();
    warp.value[current % kWarpLanes] = value;
    wait(warp.barrier, warp.n_lanes);
    const auto result = read(warp);
    wait(warp.barrier, warp.n_lanes);
    return result;
}

inline void enter() {
    body(argument);
    fibers[current].is_done = true;
    --n_alive;
    _longjmp(scheduler_place, 1);
}

inline void run_block() {
    const auto n = block_size.x;
    if (fibers.size() != n) {
        fibers = std::vector<Fiber>(n);
    }
    for (auto& fiber : fibers) {
        fiber.is_started = fiber.is_done = false;
    }
    warps.assign((n + kWarpLanes - 1) / kWarpLanes, Warp{});
    for (unsigned t = 0; t < n; ++t) {
        ++warps[t / kWarpLanes].n_lanes;
    }
    block_barrier = {};
    n_alive = n;
    volatile unsigned next = 0;
    while (n_alive > 0) {
        const unsigned t = next;
        next = t + 1 == n ? 0 : t + 1;
        if (fibers[t].is_done) {
            continue;
        }
        current = t;
        if (_setjmp(scheduler_place) != 0) {
            continue;
        }
        if (fibers[t].is_started) {
            _longjmp(fibers[t].place, 1);
        }
        auto& fiber = fibers[t];
        fiber.is_started = true;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        makecontext(&fiber.context, enter, 0);
        setcontext(&fiber.context);
    }
}

struct ThreadIndex {
    struct {
        operator unsigned() const { return current; }
    } x;
    static constexpr unsigned y = 0, z = 0;
};

struct Call {
    void* kernel;
    unsigned long long integers[16];
    double numbers[4];
};

}  // namespace simt

inline simt::ThreadIndex threadIdx;
#define blockIdx simt::block_index
#define blockDim simt::block_size
#define gridDim simt::grid_size

#define CQT_DYNAMIC_SHARED(Type, name) Type* name = reinterpret_cast<Type*>(simt::dynamic_shared)

/// The barrier of a block counts all its threads: kernels must not leave some behind.
inline void __syncthreads() { simt::wait(simt::block_barrier, simt::n_alive); }
inline int __syncthreads_or(int vote) {
    static int votes[2] = {};
    static unsigned turn = 0;
    const auto mine = turn;
    votes[mine] |= vote != 0;
    __syncthreads();
    const int any = votes[mine];
    __syncthreads();
    votes[mine] = 0;
    turn = 1 - mine;
    __syncthreads();
    return any;
}
inline void __syncwarp(unsigned = ~0U) { simt::wait(simt::own_warp().barrier, simt::own_warp().n_lanes); }
inline void __threadfence() {}
inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __nanosleep(unsigned) { sched_yield(); }

template <typename Value>
Value lane_value(unsigned long long bits) {
    Value value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}
template <typename Value>
Value __shfl_xor_sync(unsigned, Value value, unsigned mask) {
    unsigned long long bits = 0;
    std::memcpy(&bits, &value, sizeof(value));
    const auto source = simt::current % simt::kWarpLanes ^ mask;
    return lane_value<Value>(simt::exchange(bits, [&](simt::Warp& w) { return w.value[source]; }));
}
template <typename Value>
Value __shfl_sync(unsigned, Value value, unsigned lane) {
    unsigned long long bits = 0;
    std::memcpy(&bits, &value, sizeof(value));
    return lane_value<Value>(simt::exchange(bits, [&](simt::Warp& w) { return w.value[lane]; }));
}
inline unsigned __ballot_sync(unsigned, bool vote) {
    return simt::exchange(vote, [](simt::Warp& w) {
        unsigned votes = 0;
        for (unsigned lane = 0; lane < w.n_lanes; ++lane) votes |= (w.value[lane] & 1U) << lane;
        return votes;
    });
}
template <typename Value>
unsigned __match_all_sync(unsigned mask, Value value, int* is_same) {
    *is_same = simt::exchange(static_cast<unsigned long long>(value), [](simt::Warp& w) {
        bool same = true;
        for (unsigned lane = 0; lane < w.n_lanes; ++lane) same &= w.value[lane] == w.value[0];
        return same;
    });
    return *is_same ? mask : 0;
}

template <typename Value>
Value atomicAdd(Value* to, Value value) {
    const Value old = *to;
    *to = old + value;
    return old;
}
template <typename Value>
Value atomicOr(Value* to, Value value) {
    const Value old = *to;
    *to = old | value;
    return old;
}
template <typename Value>
Value atomicCAS(Value* to, Value expected, Value value) {
    const Value old = *to;
    if (old == expected) *to = value;
    return old;
}
template <typename Value>
Value __ldg(const Value* from) { return *from; }
template <typename Value>
Value __ldcs(const Value* from) { return *from; }
template <typename Value>
void __stcs(Value* to, Value value) { *to = value; }
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    shift &= 31;
    return shift == 0 ? high : high << shift | low >> (32 - shift);
}
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline int __popc(unsigned word) { return __builtin_popcount(word); }
inline int __popcll(unsigned long long word) { return __builtin_popcountll(word); }

/// Runs a kernel of integer, pointer and double arguments. Every ABI that the tests meet passes
/// the two kinds in registers and stack slots of their own, each in order.
extern "C" inline __attribute__((used)) void simt_launch(void* kernel, unsigned n_blocks,
                                                         unsigned n_threads,
                                                         const unsigned long long* integers,
                                                         const double* numbers) {
    static simt::Call call;
    call.kernel = kernel;
    std::memcpy(call.integers, integers, sizeof(call.integers));
    std::memcpy(call.numbers, numbers, sizeof(call.numbers));
    simt::argument = &call;
    simt::body = [](const void* what) {
        using Word = unsigned long long;
        using Kernel = void (*)(Word, Word, Word, Word, Word, Word, Word, Word, Word, Word, Word,
                                Word, Word, Word, Word, Word, double, double, double, double);
        const auto& c = *static_cast<const simt::Call*>(what);
        const auto* i = c.integers;
        reinterpret_cast<Kernel>(c.kernel)(i[0], i[1], i[2], i[3], i[4], i[5], i[6], i[7], i[8],
                                           i[9], i[10], i[11], i[12], i[13], i[14], i[15],
                                           c.numbers[0], c.numbers[1], c.numbers[2], c.numbers[3]);
    };
    simt::block_size = {n_threads, 1, 1};
    simt::grid_size = {n_blocks, 1, 1};
    for (unsigned block = 0; block < n_blocks; ++block) {
        simt::block_index = {block, 0, 0};
        simt::run_block();
    }
}
