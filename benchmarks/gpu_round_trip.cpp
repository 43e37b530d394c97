/// The client of a slot ring, timed: as a library for `gpu_dispatch.py`, which compiles it.
#include <cstddef>
#include <cstdint>
#include <span>

#include "slot_ring.hpp"
#include "wait.hpp"

namespace {
constexpr std::int64_t kLongestNs = 10'000'000'000;
}

/// Calls `rpc_increment` and checks every byte of every answer. `times_ns` has room for `n_rounds`
/// after `n_warm_up` unrecorded ones. Returns the number of wrong answers, or -1 when one is missing.
extern "C" std::int64_t cqt_round_trips(std::byte* memory, std::size_t n_memory, std::uint32_t session,
                                        std::int64_t n_warm_up, std::int64_t n_rounds,
                                        std::uint32_t n_bytes, std::int64_t* times_ns) {
    using namespace cudaq_target;
    Geometry geometry{};
    if (check_segment({memory, n_memory}, Kind::kSlotRing, geometry).fault != SegmentFault::kNone ||
        n_bytes + kFrameHeaderBytes > geometry.rx_stride_bytes) {
        return -1;
    }
    SlotClient client(SlotRing({memory, n_memory}, geometry), session);
    std::int64_t n_wrong = 0;
    for (std::int64_t round = -n_warm_up; round < n_rounds; ++round) {
        const auto value = static_cast<std::uint8_t>(round & 0xFF);
        const auto start_ns = monotonic_ns();
        while (!client.has_room()) {
            if (monotonic_ns() - start_ns > kLongestNs) return -1;
        }
        const auto arguments = client.arguments();
        for (std::uint32_t i = 0; i < n_bytes; ++i) {
            arguments[i] = static_cast<std::byte>(value + i);
        }
        const auto sent_ns = monotonic_ns();
        client.send(function_id("rpc_increment"), n_bytes, static_cast<std::uint64_t>(sent_ns));
        while (!client.has_answer()) {
            relax();
            if (monotonic_ns() - sent_ns > kLongestNs) return -1;
        }
        const auto received_ns = monotonic_ns();
        const auto answer = client.answer();
        bool is_right = answer.header.status == 0 && answer.result.size() == n_bytes;
        for (std::uint32_t i = 0; is_right && i < n_bytes; ++i) {
            is_right = answer.result[i] == static_cast<std::byte>(value + i + 1);
        }
        client.release();
        n_wrong += is_right ? 0 : 1;
        if (round >= 0) times_ns[round] = received_ns - sent_ns;
    }
    return n_wrong;
}
