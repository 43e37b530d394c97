/// A client and a service on two threads, with sleeps, back-pressure and a new client in between;
/// built with sanitizers by `test_ring_native.py`. Exit status 0: every answer was right.
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "../../coupler/native/handlers.hpp"
#include "../../coupler/native/service.hpp"
#include "../../coupler/native/slot_port.hpp"

namespace {

using namespace cudaq_target;

constexpr Geometry kGeometry{Kind::kSlotRing, 5, 256, 384};
constexpr std::uint64_t kRequests = 12'000;
constexpr auto kIncrement = function_id("rpc_increment");

void expect(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "%s\n", what);
        std::_Exit(EXIT_FAILURE);  // the service may wait for requests that nobody sends
    }
}

std::byte filler(std::uint64_t number) { return static_cast<std::byte>(number % 251); }
std::uint32_t length(std::uint64_t number) { return static_cast<std::uint32_t>(number % 230); }

void check(SlotClient& client) {
    const auto number = client.oldest_number();
    const auto answer = client.answer();
    const bool is_damaged = number % 17 == 3;
    expect(answer.header.status == (is_damaged ? static_cast<int>(Status::kBadFrame) : 0), "status");
    expect(answer.result.size() == (is_damaged ? 0 : length(number)), "length");
    for (const auto byte : answer.result) {
        expect(byte == static_cast<std::byte>(number % 251 + 1), "content");
    }
    client.release();
}

/// Sends up to a ring full of requests, then takes the answers; every 17th request is damaged.
void ask(const SlotRing& ring, std::uint32_t session, Wait wait) {
    SlotClient client(ring, session, session % 2 == 0 ? Wakes::kFenced : best_wakes());
    const auto end = client.next_number() + kRequests;
    while (client.next_number() < end) {
        const auto burst = 1 + client.next_number() % ring.n_slots();
        for (std::uint64_t i = 0; i < burst; ++i) {
            const auto number = client.next_number();
            wait_until([&] { return client.has_room(); }, Wait::kYield, ring.producer_bell(), kForever);
            std::memset(client.arguments().data(), static_cast<int>(filler(number)), length(number));
            if (number % 17 == 3) {
                write_header(client.arguments().data() - kFrameHeaderBytes,
                             RequestHeader{1, 2, 3, static_cast<std::uint32_t>(number), 0});
                client.publish();
            } else {
                client.send(kIncrement, length(number), 0);
            }
        }
        while (client.n_pending() > 0) {
            wait_until([&] { return client.has_answer(); }, wait, ring.producer_bell(), kForever);
            check(client);
        }
    }
}

/// Takes all that waits, then answers the newest first.
void serve_backwards(const SlotRing& ring, Dispatcher& dispatcher, Wait wait) {
    UnorderedServer server(ring);
    server.announce(best_wakes());
    Session session(0, 384, 64);
    std::vector<std::byte> response(ring.tx_stride());
    std::vector<std::uint32_t> taken;
    for (std::uint64_t n_answered = 0; n_answered < kRequests;) {
        wait_until([&] { return server.has_request(); }, wait, ring.consumer_bell(), kForever);
        while (server.has_request()) {
            taken.push_back(server.take());
        }
        for (; !taken.empty(); taken.pop_back(), ++n_answered) {
            const auto k = taken.back();
            const auto n_bytes = dispatcher.handle(ring.rx_slot(k), response, session, false);
            server.answer(k, std::span(response).first(n_bytes));
        }
    }
    expect(server.n_stale() == 0, "stale");
}

/// Random frames of random lengths, of which the first bytes may be right.
void fuzz(Dispatcher& dispatcher) {
    Session session(4, 256, 64);
    std::vector<std::byte> response(256);
    std::uint64_t state = 1;
    for (int i = 0; i < 100'000; ++i) {
        std::vector<std::byte> frame(static_cast<std::size_t>(i % 97));
        for (auto& byte : frame) {
            state = state * 6364136223846793005 + 1442695040888963407;
            byte = static_cast<std::byte>(state >> 56);
        }
        if (i % 3 != 0 && frame.size() >= kFrameHeaderBytes) {
            const auto function = i % 3 == 1 ? kIncrement : function_id("occupation");
            const auto arg_len = static_cast<std::uint32_t>(frame.size() - (i % 5 == 0 ? 25 : 24));
            write_header(frame.data(), RequestHeader{kRequestMagic, function, arg_len,
                                                     static_cast<std::uint32_t>(i % 7), 0});
        }
        const auto n_bytes = dispatcher.handle(frame, response, session, i % 2 == 0);
        expect(n_bytes <= response.size() && (n_bytes >= 24) == (frame.size() >= 24), "fuzz");
    }
}

}  // namespace

int main() {
    const auto n_words = segment_bytes(kGeometry) / kLineBytes + 1;
    struct alignas(kLineBytes) Line {
        std::byte bytes[kLineBytes];
    };
    std::vector<Line> lines(n_words);
    const std::span memory(lines.front().bytes, segment_bytes(kGeometry));
    format_segment(memory, kGeometry, own_stamp());
    Geometry geometry{};
    expect(check_segment(memory, Kind::kSlotRing, geometry).fault == SegmentFault::kNone, "format");
    const SlotRing ring(memory, geometry);
    Dispatcher dispatcher(true);
    dispatcher.add({.id = kIncrement, .call = rpc_increment});
    dispatcher.add({.id = function_id("occupation"), .call = occupation, .min_arg_bytes = 24});
    dispatcher.prepare(384);
    fuzz(dispatcher);
    std::uint32_t n_sessions = 0;
    for (const auto wait : {Wait::kYield, Wait::kAdaptive, Wait::kBlock}) {
        Session session(8, 384, 64);
        Service service(ring, dispatcher, session, wait);
        service.start();
        ask(ring, ++n_sessions, wait);
        expect(SlotClient::is_quiet(ring), "quiet");
        ask(ring, ++n_sessions, wait);
        expect(service.stop(Service::Stop::kDrain), "stop");
        std::thread unordered([&] { serve_backwards(ring, dispatcher, wait); });
        ask(ring, ++n_sessions, wait);
        unordered.join();
    }
    expect(dispatcher.counters().stale == 0, "stale");
    return EXIT_SUCCESS;
}
