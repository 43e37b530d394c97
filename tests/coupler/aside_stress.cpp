// Functions around their deadline: each call ends once, no result is another one's, late ones are
// counted, and the thread ends whether it is free or held.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "../../coupler/native/dispatcher.hpp"

using namespace cudaq_target;

namespace {

constexpr std::size_t kFrame = 256;
constexpr int kCalls = 3000;

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition);    \
            std::exit(1);                                                   \
        }                                                                   \
    } while (false)

/// Spins for as many microseconds as the first argument says, then answers all of them.
int spin(const void* in, void* out, std::uint32_t arg_len, std::uint32_t, std::uint32_t* result_len,
         void* state) {
    ++*static_cast<std::uint64_t*>(state);
    const auto until = monotonic_ns() + 1000 * load<std::uint32_t>(in);
    while (monotonic_ns() < until) {
        relax();
    }
    std::memcpy(out, in, arg_len);
    *result_len = arg_len;
    return 0;
}

int echo(const void* in, void* out, std::uint32_t arg_len, std::uint32_t, std::uint32_t* result_len) {
    std::memcpy(out, in, arg_len);
    *result_len = arg_len;
    return 0;
}

std::vector<std::byte> request(const char* name, std::uint32_t id, std::uint32_t pause_us) {
    std::vector<std::byte> frame(kFrameHeaderBytes + 64, static_cast<std::byte>(id));
    write_header(frame.data(), RequestHeader{kRequestMagic, function_id(name), 64, id, id});
    store(frame.data() + kFrameHeaderBytes, pause_us);
    return frame;
}

}  // namespace

int main() {
    std::uint64_t n_ok = 0, n_late = 0, n_busy = 0;
    {
        Dispatcher dispatcher(true);
        Function slow;
        slow.id = function_id("spin");
        slow.stateful_call = spin;
        slow.deadline_ns = 100'000;
        Function quick;
        quick.id = function_id("echo");
        quick.call = echo;
        CHECK(dispatcher.add(slow) && dispatcher.add(quick));
        dispatcher.prepare(kFrame);
        auto session = std::make_unique<Session>(8, kFrame, 64);
        std::vector<std::byte> response(kFrame);
        for (int i = 0; i < kCalls; ++i) {
            const auto id = static_cast<std::uint32_t>(i);
            const bool is_slow = i % 3 != 0;
            const auto frame = request(is_slow ? "spin" : "echo", id, (id * 37) % 200);
            const auto n_bytes = dispatcher.handle(frame, response, *session, true);
            const auto header = load<ResponseHeader>(response.data());
            CHECK(header.request_id == id && header.timestamp_ns == id);
            if (header.status == 0) {
                CHECK(n_bytes == frame.size());
                CHECK(std::memcmp(response.data() + kFrameHeaderBytes,
                                  frame.data() + kFrameHeaderBytes, 64) == 0);
                ++n_ok;
            } else if (header.status == static_cast<std::int32_t>(Status::kDeadline)) {
                ++n_late;
            } else {
                CHECK(is_slow && header.status == static_cast<std::int32_t>(Status::kBusy));
                ++n_busy;
            }
            if (i % 100 == 99) {
                session->reset();
            }
            if (i % 500 == 499) {  // a late function keeps the memory of a client that is gone
                session = std::make_unique<Session>(8, kFrame, 64);
            }
        }
        CHECK(dispatcher.end_aside(kForever));
        const auto& counters = dispatcher.counters();
        CHECK(n_ok + n_late + n_busy == kCalls);
        CHECK(counters.deadline_misses == n_late && counters.busy == n_busy);
        CHECK(counters.dispatched == n_ok + counters.late_results + dispatcher.n_late());
        dispatcher.prepare(kFrame);  // held when its owner goes
        const auto n_begun = counters.dispatched;
        for (std::uint32_t id = 1; counters.dispatched == n_begun; ++id) {
            const auto frame = request("spin", id, 500'000);
            CHECK(dispatcher.handle(frame, response, *session, true) == kFrameHeaderBytes);
        }
        CHECK(!dispatcher.end_aside(1));
        session.reset();
    }
    usleep(1'000'000);
    CHECK(n_ok > 0);
    return 0;
}
