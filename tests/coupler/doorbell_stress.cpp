/// Two processes wake each other, with naps that no lost wake-up survives; built plainly and with
/// sanitizers by `test_ring_native.py`. Exit status 0: nobody overslept.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../coupler/native/wait.hpp"

namespace {

using namespace cudaq_target;

constexpr std::uint64_t kRounds = 20'000;
/// Stores that miss the caches hold the next store back, while the load after it goes ahead: without
/// a fence on the sleeper's side a process oversleeps within seconds.
constexpr std::size_t kColdStores = 32;
constexpr std::size_t kColdStep = 65'599;
constexpr std::size_t kColdBytes = std::size_t{1} << 25;
constexpr std::size_t kLineBytes = 128;
constexpr unsigned kPatienceS = 120;
constexpr std::int64_t kLongNapNs = 3'600'000'000'000;

struct alignas(128) Word {
    std::uint64_t value = 0;
};

struct Shared {
    Word turns[2];
    alignas(128) std::uint32_t asleep[2] = {};
    alignas(128) std::uint32_t wakes[2] = {};
};

/// Side 0 and side 1 raise their words by turns. Each sleeps at once, without a spin.
void play(Shared& shared, int side, Wakes wakes) {
    const int other = 1 - side;
    // A bell belongs to its sleeper; its waker says how it wakes.
    Doorbell mine(shared.asleep[side], shared.wakes[other]);
    Doorbell theirs(shared.asleep[other], shared.wakes[side]);
    theirs.announce(wakes);
    std::atomic_ref own(shared.turns[side].value);
    std::atomic_ref peer(shared.turns[other].value);
    std::uint64_t random = static_cast<std::uint64_t>(side) + 1;
    std::vector<std::byte> cold(kColdBytes);
    for (std::uint64_t round = 1; round <= kRounds; ++round) {
        const auto is_my_turn = [&] {
            // Acquire: pairs with the release store below, of the other process.
            return peer.load(std::memory_order_acquire) >= round - (side == 0);
        };
        while (!is_my_turn()) {
            mine.sleep(is_my_turn, kLongNapNs);
        }
        random = random * 6364136223846793005 + 1442695040888963407;
        for (auto n = random >> 56; n > 0; --n) {
            relax();  // so that the ring meets every step of the way into sleep
        }
        for (std::size_t i = 0; i < kColdStores; ++i) {
            cold[(random / kLineBytes + i * kColdStep) % cold.size()] = static_cast<std::byte>(round);
        }
        own.store(round, std::memory_order_release);
        theirs.ring(wakes);
    }
}

bool finishes(Wakes first, Wakes second) {
    void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    auto& shared = *new (memory) Shared;
    const auto child = fork();
    if (child == 0) {
        alarm(kPatienceS);
        if (second == Wakes::kExpedited) {
            second = best_wakes();
        }
        play(shared, 1, second);
        _exit(EXIT_SUCCESS);
    }
    play(shared, 0, first == Wakes::kExpedited ? best_wakes() : first);
    int status = 0;
    waitpid(child, &status, 0);
    munmap(memory, sizeof(Shared));
    return status == 0;
}

}  // namespace

int main() {
    alarm(kPatienceS);  // a lost wake-up ends here
    for (const auto first : {Wakes::kFenced, Wakes::kExpedited}) {
        for (const auto second : {Wakes::kFenced, Wakes::kExpedited}) {
            if (!finishes(first, second)) {
                std::fprintf(stderr, "a process slept for ever\n");
                return EXIT_FAILURE;
            }
        }
    }
    return EXIT_SUCCESS;
}
