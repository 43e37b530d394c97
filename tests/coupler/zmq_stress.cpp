/// The ZeroMQ loops on a libzmq of this test's own, whose queues fill up and whose peers leave at
/// random: no answer vanishes uncounted, every message is freed once, `stop` comes from outside.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "../../coupler/native/handlers.hpp"
#include "../../coupler/native/zmq_bulk.hpp"
#include "../../coupler/native/zmq_service.hpp"

namespace {

using namespace cudaq_target;
using Bytes = std::vector<std::byte>;

void check(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "failed: %s\n", what);
        std::exit(1);
    }
}

struct Part {
    Bytes own;
    void* data = nullptr;  ///< handed over, with `give_back`
    std::size_t n_bytes = 0;
    void (*give_back)(void*, void*) = nullptr;
    bool has_more = false;

    std::byte* begin() { return data != nullptr ? static_cast<std::byte*>(data) : own.data(); }
    std::size_t size() const { return data != nullptr ? n_bytes : own.size(); }
    ~Part() {
        if (give_back != nullptr) {
            give_back(data, nullptr);
        }
    }
};

/// One socket: what it will receive, and what it has sent by peer.
struct FakeSocket {
    std::mutex mutex;
    std::deque<std::pair<Bytes, bool>> inbox;
    std::map<Bytes, std::vector<Bytes>> sent;
    std::vector<Bytes> pushed;
    Bytes to;
    std::minstd_rand random{7};
    int full_in_16 = 0;
    int gone_in_64 = 0;
    std::size_t n_gone = 0;
};

int error_now = 0;  // the loops run in one thread
int fail(int error) {
    error_now = error;
    return -1;
}
Part*& part_of(const ZmqMessage* message) {
    return *reinterpret_cast<Part**>(const_cast<unsigned char*>(message->opaque));
}
int init(ZmqMessage* message) {
    part_of(message) = new Part;
    return 0;
}
int close(ZmqMessage* message) {
    delete part_of(message);
    part_of(message) = nullptr;
    return 0;
}
int receive(ZmqMessage* message, void* socket, int flags) {
    auto& from = *static_cast<FakeSocket*>(socket);
    const std::lock_guard locked(from.mutex);
    if (from.inbox.empty()) {
        if ((flags & zmq_constant::kDontWait) == 0) {
            std::this_thread::yield();
        }
        return fail(EAGAIN);
    }
    auto& part = *part_of(message);
    part.own = std::move(from.inbox.front().first);
    part.has_more = from.inbox.front().second;
    from.inbox.pop_front();
    return static_cast<int>(part.size());
}
int send(void* socket, const void* data, std::size_t n_bytes, int flags) {
    auto& to = *static_cast<FakeSocket*>(socket);
    const auto* first = static_cast<const std::byte*>(data);
    const Bytes bytes(first, first + n_bytes);
    const std::lock_guard locked(to.mutex);
    if ((flags & zmq_constant::kSendMore) == 0) {
        to.to.empty() ? to.pushed.push_back(bytes) : to.sent[to.to].push_back(bytes);
        to.to.clear();
        return 0;
    }
    if (static_cast<int>(to.random() % 16) < to.full_in_16) {
        return fail(EAGAIN);
    }
    if (static_cast<int>(to.random() % 64) < to.gone_in_64) {
        ++to.n_gone;
        return fail(EHOSTUNREACH);
    }
    to.to = bytes;
    return 0;
}
int send_message(ZmqMessage* message, void* socket, int flags) {
    auto& to = *static_cast<FakeSocket*>(socket);
    if (to.to.empty() && static_cast<int>(to.random() % 16) < to.full_in_16) {
        return fail(EAGAIN);
    }
    auto& part = *part_of(message);
    send(socket, part.begin(), part.size(), flags);
    delete part_of(message);
    part_of(message) = new Part;
    return close(message);
}

const ZmqApi kApi{
    .msg_init = init,
    .msg_init_size =
        [](ZmqMessage* message, std::size_t n_bytes) {
            init(message);
            part_of(message)->own.resize(n_bytes);
            return 0;
        },
    .msg_init_data =
        [](ZmqMessage* message, void* data, std::size_t n_bytes, void (*free)(void*, void*), void*) {
            init(message);
            auto& part = *part_of(message);
            part.data = data, part.n_bytes = n_bytes, part.give_back = free;
            return 0;
        },
    .msg_recv = receive,
    .msg_send = send_message,
    .msg_close = close,
    .msg_more = [](const ZmqMessage* message) { return part_of(message)->has_more ? 1 : 0; },
    .msg_data = [](ZmqMessage* message) -> void* { return part_of(message)->begin(); },
    .msg_size = [](const ZmqMessage* message) { return part_of(message)->size(); },
    .send = send,
    .getsockopt =
        [](void*, int, void* value, std::size_t*) {
            *static_cast<int*>(value) = 0;
            return 0;
        },
    .setsockopt = [](void*, int, const void*, std::size_t) { return 0; },
    .error_number = [] { return error_now; },
    .version = [](int*, int*, int*) {},
};

Bytes request(std::uint32_t number, std::size_t n_payload, std::uint32_t magic = kRequestMagic) {
    Bytes frame(kFrameHeaderBytes + n_payload, std::byte{1});
    write_header(frame.data(), RequestHeader{magic, function_id("echo"),
                                             static_cast<std::uint32_t>(n_payload), number, 0});
    return frame;
}

/// Answers that reach a peer come in order; those that do not are counted.
void serve(int full_in_16, int gone_in_64) {
    constexpr std::uint32_t kRequests = 4'000;
    constexpr std::size_t kSlotBytes = 40'000;  // long answers are handed over
    FakeSocket socket;
    socket.full_in_16 = full_in_16;
    socket.gone_in_64 = gone_in_64;
    Dispatcher dispatcher;
    Function function;
    function.id = function_id("echo");
    function.call = echo;
    check(dispatcher.add(function), "echo is new");
    dispatcher.prepare(kSlotBytes);
    ZmqService service(ZmqSocket(kApi, &socket), {}, dispatcher,
                       ZmqLimits{kSlotBytes, 64, 3, 8, 16});
    std::thread loop([&] { check(service.run() == ZmqService::Pause::kStopped, "it was stopped"); });
    std::minstd_rand random(1);
    std::uint32_t n_bad = 0;
    std::uint32_t n_parts = 0;
    for (std::uint32_t number = 0; number < kRequests; ++number) {
        const Bytes peer(1 + random() % 5, std::byte{'p'});
        const auto kind = random() % 16;
        const std::lock_guard locked(socket.mutex);
        socket.inbox.emplace_back(peer, kind != 2);
        if (kind == 0) {
            socket.inbox.emplace_back(request(number, 8, 0), false);
            ++n_bad;
        } else if (kind == 1) {
            socket.inbox.emplace_back(request(number, 8), true);
            socket.inbox.emplace_back(Bytes(3), false);
            ++n_parts;
        } else if (kind == 2) {
            ++n_parts;  // a name and nothing else
        } else {
            socket.inbox.emplace_back(request(number, random() % 8 == 0 ? 30'000 : 16), false);
        }
    }
    for (bool is_read = false; !is_read; std::this_thread::yield()) {
        const std::lock_guard locked(socket.mutex);
        is_read = socket.inbox.empty();
    }
    service.stop();
    loop.join();
    service.finish(false, 50'000'000);
    std::size_t n_sent = 0;
    for (const auto& [peer, answers] : socket.sent) {
        std::int64_t newest = -1;
        for (const auto& answer : answers) {
            const auto header = load<ResponseHeader>(answer.data());
            check(newest < header.request_id, "answers to one peer keep their order");
            newest = header.request_id;
        }
        n_sent += answers.size();
    }
    const auto& counted = service.counters();
    check(counted.multipart == n_parts, "messages of several parts are counted");
    check(value_of(dispatcher.counters(), &Counters::bad_magic) == n_bad, "garbage is counted");
    check(n_sent + counted.dropped_answers == kRequests - n_parts, "no answer vanishes");
    check(counted.dropped_answers >= socket.n_gone, "peers that left are counted");
    check(counted.evicted_sessions > 0, "five peers share three sessions");
}

/// What PUSH takes, PULL gives, joined, once and in order.
void stream() {
    constexpr std::size_t kShots = 20'000;
    FakeSocket push;
    push.full_in_16 = 3;
    BulkSender sender(ZmqSocket(kApi, &push));
    std::vector<std::uint64_t> rows(2 * kShots);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i] = i % 2 == 0 ? i : i & 63;
    }
    for (std::size_t n_sent = 0; n_sent < kShots;) {
        const auto some = std::span<const std::uint64_t>(rows).subspan(2 * n_sent);
        n_sent += sender.send_rows({5, n_sent, 0, 70}, some, kShots - n_sent, 1 + n_sent % 9);
    }
    check(sender.counters().stalls > 0, "stalls are counted");
    FakeSocket pull;
    std::size_t n_lost = 0;
    std::size_t n_bad = 0;
    for (std::size_t i = 1; i <= push.pushed.size(); ++i) {
        if (i % 50 == 0) {
            ++n_lost;
            continue;
        }
        const bool is_bad = i % 97 == 0;
        pull.inbox.emplace_back(push.pushed[i - 1], is_bad);
        if (is_bad) {
            ++n_bad;
            pull.inbox.emplace_back(Bytes(1), false);
        }
    }
    BulkReceiver receiver(ZmqSocket(kApi, &pull), 64);
    std::size_t n_got = 0;
    std::uint64_t next = 0;
    while (receiver.receive(0) == BulkReceiver::Got::kRows) {
        const auto& header = receiver.header();
        check(header.first_shot_id >= next, "shots keep their order");
        check(header.n_shots * 2 == receiver.joined().size(), "rows and header agree");
        const auto* wanted = rows.data() + 2 * header.first_shot_id;
        check(std::equal(receiver.joined().begin(), receiver.joined().end(), wanted), "rows are whole");
        next = header.first_shot_id + header.n_shots;
        n_got += header.n_shots;
    }
    const auto& counted = receiver.counters();
    check(counted.bad_frames == n_bad, "bad frames are counted");
    check(counted.frames + n_bad + n_lost == sender.counters().frames, "frames add up");
    check(counted.lost_frames == n_bad + n_lost, "every skipped number is seen");
    check(n_got < kShots, "what was lost did not come");
}

}  // namespace

int main() {
    serve(0, 0);
    serve(8, 4);
    serve(15, 0);
    stream();
    return 0;
}
