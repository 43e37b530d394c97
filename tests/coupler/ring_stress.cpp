/// Two threads pass numbered frames through a small ring; built with sanitizers by
/// `test_ring_native.py`. Exit status 0: every frame arrived whole and in order.
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <thread>
#include <vector>

#include "../../coupler/native/ring.hpp"

namespace {

using namespace cudaq_target;

constexpr std::uint32_t kSlots = 8;
constexpr std::uint32_t kSlotBytes = 48;
constexpr std::uint64_t kFrames = 200'000;

Ring attach(std::span<std::byte> buffer) {
    std::optional<Ring> ring;
    if (Ring::attach(buffer, ring).fault != Fault::kNone) {
        std::abort();
    }
    return *ring;
}

void send(std::span<std::byte> buffer) {
    Producer producer(attach(buffer));
    std::uint64_t words[kSlotBytes / 8];
    for (std::uint64_t i = 0; i < kFrames; ++i) {
        const auto n_words = 1 + i % std::size(words);
        std::fill_n(words, n_words, i);
        while (producer.push(std::as_bytes(std::span(words, n_words))) == Push::kFull) {
            std::this_thread::yield();
        }
    }
}

bool receive(std::span<std::byte> buffer) {
    Consumer consumer(attach(buffer));
    for (std::uint64_t i = 0; i < kFrames; ++i) {
        while (consumer.is_empty()) {
            std::this_thread::yield();
        }
        const auto frame = consumer.front();
        if (frame.n_bytes != 8 * (1 + i % (kSlotBytes / 8))) {
            return false;
        }
        for (std::uint32_t at = 0; at < frame.n_bytes; at += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, frame.start + at, sizeof(word));
            if (word != i) {
                return false;
            }
        }
        consumer.release();
    }
    return consumer.is_empty();
}

}  // namespace

int main() {
    std::vector<std::uint64_t> memory(required_bytes(kSlots, kSlotBytes) / 8);
    const auto buffer = std::as_writable_bytes(std::span(memory));
    if (format(buffer, kSlots, kSlotBytes).fault != Fault::kNone) {
        return EXIT_FAILURE;
    }
    std::thread sender(send, buffer);
    const bool whole = receive(buffer);
    if (!whole) {
        std::_Exit(EXIT_FAILURE);  // the sender may wait for slots that nobody frees
    }
    sender.join();
    return EXIT_SUCCESS;
}
