/// Message passing through both rings: every word of every payload follows from its number, so that
/// a torn or early one shows. Built for this machine and for arm64 by `test_ring_litmus.py`.
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "../../coupler/native/slot_ring.hpp"

using namespace cudaq_target;

// The steps whose instructions the test reads.
extern "C" {
void litmus_send(SlotClient& client) { client.publish(); }
bool litmus_has_request(const SlotServer& server) { return server.has_request(); }
void litmus_answer(SlotServer& server) { server.publish(); }
bool litmus_has_answer(SlotClient& client) { return client.has_answer(); }
bool litmus_has_room(const SlotClient& client) { return client.has_room(); }
bool litmus_push(Producer& producer, const std::byte* frame, std::size_t n_bytes) {
    return producer.push({frame, n_bytes}) == Push::kDone;
}
bool litmus_is_empty(Consumer& consumer) { return consumer.is_empty(); }
void litmus_release(Consumer& consumer) { consumer.release(); }
}

namespace {

constexpr std::uint64_t kMessages = 20'000;
constexpr std::size_t kWords = 25;
constexpr Geometry kGeometry{Kind::kSlotRing, 3, 256, 256};

struct alignas(kLineBytes) Line {
    std::byte bytes[kLineBytes];
};

std::uint64_t word(std::uint64_t number, std::size_t i) {
    return (number + 1) * 0x9E37'79B9'7F4A'7C15 ^ i * 0xD6E8'FEB8'6659'FD93;
}

void fill(std::byte* to, std::uint64_t number) {
    for (std::size_t i = 0; i < kWords; ++i) {
        store(to + 8 * i, word(number, i));
    }
}

void check(const std::byte* from, std::uint64_t number, const char* what) {
    for (std::size_t i = 0; i < kWords; ++i) {
        if (load<std::uint64_t>(from + 8 * i) != word(number, i)) {
            std::fprintf(stderr, "%s %llu is torn\n", what, static_cast<unsigned long long>(number));
            std::_Exit(EXIT_FAILURE);
        }
    }
}

void serve(const SlotRing& ring) {
    SlotServer server(ring);
    for (std::uint64_t number = 0; number < kMessages; ++number) {
        while (!litmus_has_request(server)) {
            std::this_thread::yield();
        }
        check(server.request().data(), number, "request");
        fill(server.response().data(), ~number);
        litmus_answer(server);
    }
}

void ask(const SlotRing& ring) {
    SlotClient client(ring, 1, Wakes::kFenced);
    for (std::uint64_t n_asked = 0, n_answered = 0; n_answered < kMessages;) {
        if (n_asked < kMessages && litmus_has_room(client)) {
            fill(client.slot().data(), n_asked++);
            litmus_send(client);
        } else if (litmus_has_answer(client)) {
            check(client.answer_slot().data(), ~n_answered++, "answer");
            client.release();
        } else {
            std::this_thread::yield();
        }
    }
}

void slots() {
    std::vector<Line> lines(segment_bytes(kGeometry) / kLineBytes);
    const std::span memory(lines.front().bytes, segment_bytes(kGeometry));
    format_segment(memory, kGeometry, 1);
    const SlotRing ring(memory, kGeometry);
    std::thread server(serve, std::cref(ring));
    ask(ring);
    server.join();
}

void frames() {
    constexpr std::uint32_t kSlots = 4;
    constexpr std::uint32_t kBytes = 8 * kWords;
    std::vector<Line> lines(required_bytes(kSlots, kBytes) / kLineBytes + 1);
    const std::span memory(lines.front().bytes, required_bytes(kSlots, kBytes));
    std::optional<Ring> ring;
    if (format(memory, kSlots, kBytes).fault != Fault::kNone ||
        Ring::attach(memory, ring).fault != Fault::kNone) {
        std::_Exit(EXIT_FAILURE);
    }
    std::thread writer([&] {
        Producer producer(*ring);
        std::byte frame[kBytes];
        for (std::uint64_t number = 0; number < kMessages; ++number) {
            fill(frame, number);
            while (!litmus_push(producer, frame, kBytes)) {
                std::this_thread::yield();
            }
        }
    });
    Consumer consumer(*ring);
    for (std::uint64_t number = 0; number < kMessages; ++number) {
        while (litmus_is_empty(consumer)) {
            std::this_thread::yield();
        }
        check(consumer.front().start, number, "frame");
        litmus_release(consumer);
    }
    writer.join();
}

}  // namespace

int main() {
    slots();
    frames();
    return EXIT_SUCCESS;
}
