// A dispatcher that stays on the device: one block serves one slot ring until it is told to stop.
//
// The ring lies in memory of the host that the device maps; `coupler/native/slot_ring.hpp` and
// `coupler/FORMAT.md` say what its two sides owe each other. Order of stores here, as there:
//
//   answer, magic last -> tx flag = stamp of the request -> n_answered -> rx flag = 0
#include "handlers.cuh"
#include "system.cuh"

constexpr u32 kThreads = 256;
constexpr u32 kHeaderBytes = 24;
constexpr u32 kRequestMagic = 0x43555152;
constexpr u32 kResponseMagic = 0x43555153;
constexpr u64 kTxInFlight = 0xEEEEEEEEEEEEEEEEull;
constexpr u64 kTxErrorTag = 0xDEAD;
constexpr u32 kMaxFunctions = 32;
// Bytes of a slot that every thread fetches at once, together with the header: one trip over the
// bus instead of two for requests up to this length.
constexpr u32 kFirstBytes = kThreads * 16;
// Looks at the flag per look at the mailbox, which is a trip over the bus of its own.
constexpr u32 kLooksPerCommand = 64;

// One ring, as the device sees it, in the order of `persistent.RING_FIELDS`.
struct Ring {
    u64* rx_flags;
    u64* tx_flags;
    u8* rx_data;
    u8* tx_data;
    u64* n_answered;
    u64* mailbox;
    u64 n_slots;
    u64 rx_stride;
    u64 tx_stride;
};

// Words of a mailbox, in the order of `persistent.MAILBOX_FIELDS`; each side writes its own line.
enum Command : u64 { kRun = 0, kDrain = 1, kCancel = 2 };
enum State : u64 { kStarting = 0, kServing = 1, kStopped = 2 };
constexpr u32 kStateWord = 16;
constexpr u32 kFirstCounter = 17;

enum Counter : u32 {
    kReceived,
    kDispatched,
    kAnswered,
    kBadMagic,
    kBadLengths,
    kUnknown,
    kBadRequests,
    kFailures,
    kCancels,
    kNCounters,
};

struct Header {
    u32 magic;
    u32 word;  // function of a request, status of an answer
    u32 n_bytes;
    u32 request_id;
    u64 timestamp_ns;
};
static_assert(sizeof(Header) == kHeaderBytes, "24 bytes on the wire");

// What the threads of a block tell each other.
struct Shared {
    Function functions[kMaxFunctions];
    double scratch[kThreads];
    u64 counters[kNCounters];
    u64 stamp;
    u64 command;
};

struct Position {
    u64 number;
    u64 slot;
};

CQT_DEVICE bool is_sentinel(u64 flag) { return flag == kTxInFlight || flag >> 48 == kTxErrorTag; }

// Copies 16 bytes per thread and turn; slots start at multiples of 128 bytes.
CQT_DEVICE void fetch(const u8* slot, u8* to, u32 first, u32 end) {
    for (u32 at = first + threadIdx.x * 16; at < end; at += blockDim.x * 16) {
        *reinterpret_cast<ulonglong2*>(to + at) = *reinterpret_cast<const ulonglong2*>(slot + at);
    }
}

// What to answer before any handler runs, in the order of `FORMAT.md`, "Who answers what".
CQT_DEVICE i32 refusal(const Header& header, const Function* function, u64 rx_stride, Counter& counter) {
    if (header.magic != kRequestMagic) return counter = kBadMagic, kBadFrame;
    if (kHeaderBytes + static_cast<u64>(header.n_bytes) > rx_stride) return counter = kBadLengths, kBadLength;
    if (function == nullptr) return counter = kUnknown, kUnknownFunction;
    if (header.n_bytes < function->min_arg_bytes || header.n_bytes > function->max_arg_bytes) {
        return counter = kBadRequests, kBadRequest;
    }
    return kOk;
}

// Hands the answer over and frees the request. By all threads; returns once all may go on.
CQT_DEVICE void publish(const Ring& ring, const Position& at, const Header& header, const u8* response, u64 stamp) {
    u8* slot = ring.tx_data + at.slot * ring.tx_stride;
    u64* words = reinterpret_cast<u64*>(slot);
    const u64* from = reinterpret_cast<const u64*>(response);
    const u32 n_words = (kHeaderBytes + header.n_bytes + 7) / 8;  // a slot is whole words
    for (u32 i = 3 + threadIdx.x; i < n_words; i += blockDim.x) words[i] = from[i];
    if (threadIdx.x == 0) {
        words[1] = header.n_bytes | static_cast<u64>(header.request_id) << 32;
        words[2] = header.timestamp_ns;
        reinterpret_cast<u32*>(slot)[1] = header.word;
    }
    // Every thread's part of the answer before the magic, and that before the flag.
    __threadfence_system();
    __syncthreads();
    if (threadIdx.x == 0) {
        store_relaxed(reinterpret_cast<u32*>(slot), kResponseMagic);
        // Release: pairs with the load in `SlotClient::has_answer`.
        store_release(ring.tx_flags + at.slot, is_sentinel(stamp) ? 1 : stamp);
        // Before the rx flag, so that a new client that finds all flags 0 reads the final number.
        store_relaxed(ring.n_answered, at.number + 1);
        // Release: pairs with the acquire loads in `SlotClient::has_room` and `is_quiet`.
        store_release(ring.rx_flags + at.slot, 0);
    }
}

CQT_DEVICE void count(Shared& shared, Counter counter) {
    if (threadIdx.x == 0) ++shared.counters[counter];
}

// Answers the request in the slot: exactly once, whatever it holds.
CQT_DEVICE void serve(const Ring& ring, const Position& at, u32 n_functions, Shared& shared, u8* request, u8* response, bool is_cancelled) {
    const u8* slot = ring.rx_data + at.slot * ring.rx_stride;
    const u32 n_first = static_cast<u32>(smaller(kFirstBytes, static_cast<i64>(ring.rx_stride)));
    fetch(slot, request, 0, n_first);
    __syncthreads();
    // A private copy: what a faulty client writes later cannot change what is checked here.
    const Header header = *reinterpret_cast<const Header*>(request);
    const Function* function = nullptr;
    for (u32 i = 0; i < n_functions; ++i) {
        if (shared.functions[i].id == header.word) function = &shared.functions[i];
    }
    Counter counter = kDispatched;
    Outcome outcome{kCancelled, 0};
    if (is_cancelled) {
        counter = kCancels;
    } else {
        outcome.status = refusal(header, function, ring.rx_stride, counter);
    }
    count(shared, kReceived);
    count(shared, counter);
    if (outcome.status == kOk) {
        const u32 end = kHeaderBytes + header.n_bytes;
        if (end > n_first) {
            fetch(slot, request, n_first, (end + 15) / 16 * 16);
            __syncthreads();
        }
        const u32 capacity = static_cast<u32>(ring.tx_stride) - kHeaderBytes;
        outcome = call(*function, {request + kHeaderBytes, header.n_bytes, response + kHeaderBytes, capacity}, shared.scratch);
        if (outcome.status < 0 || outcome.result_len > capacity) {
            outcome = {kInternalError, 0};
            count(shared, kFailures);
        }
    }
    __syncthreads();  // the result is whole before other threads copy it
    const Header answer{kResponseMagic, static_cast<u32>(outcome.status), outcome.result_len, header.request_id, header.timestamp_ns};
    count(shared, kAnswered);
    publish(ring, at, answer, response, shared.stamp);
}

// Thread 0 waits for a request or a command; the others wait for thread 0.
CQT_DEVICE void await(const Ring& ring, const Position& at, u32& n_looks, u32 back_off_ns, Shared& shared) {
    if (threadIdx.x == 0) {
        for (shared.command = kRun;;) {
            // Acquire: pairs with the store of the flag in `SlotClient::publish`.
            shared.stamp = load_acquire(ring.rx_flags + at.slot);
            if (n_looks++ % kLooksPerCommand == 0) shared.command = load_acquire(ring.mailbox);
            if (shared.stamp != 0 || shared.command != kRun) break;
            if (back_off_ns != 0) __nanosleep(back_off_ns);
        }
    }
    __syncthreads();
}

CQT_DEVICE void advance(Position& at, u64 n_slots) {
    ++at.number;
    at.slot = at.slot + 1 == n_slots ? 0 : at.slot + 1;
}

// rings: Ring[gridDim.x]; functions: Function[n_functions], at most 32. The shared memory of a
// block holds a request and an answer: rx_stride + tx_stride bytes.
CQT_KERNEL(kThreads, 1) dispatch(const Ring* rings, const Function* functions, i64 n_functions, i64 back_off_ns) {
    CQT_DYNAMIC_SHARED(u8, memory);
    __shared__ Shared shared;
    const Ring ring = rings[blockIdx.x];
    u8* response = memory + ring.rx_stride;
    const u32 n_entries = static_cast<u32>(smaller(n_functions, kMaxFunctions));
    if (threadIdx.x < n_entries) shared.functions[threadIdx.x] = functions[threadIdx.x];
    if (threadIdx.x < kNCounters) shared.counters[threadIdx.x] = 0;
    Position at{load_relaxed(ring.n_answered), 0};
    at.slot = at.number % ring.n_slots;
    u32 n_looks = 0;
    __syncthreads();
    if (threadIdx.x == 0) store_release(ring.mailbox + kStateWord, kServing);
    for (;;) {
        await(ring, at, n_looks, static_cast<u32>(back_off_ns), shared);
        if (shared.command != kRun) break;
        serve(ring, at, n_entries, shared, memory, response, false);
        advance(at, ring.n_slots);
        __syncthreads();  // nobody reads the stamp or the request any more
    }
    // A client that never pauses must not keep us: one lap is all that can have been waiting.
    const bool is_cancelled = shared.command == kCancel;
    for (u64 i = 0; i < ring.n_slots; ++i) {
        __syncthreads();
        if (threadIdx.x == 0) shared.stamp = load_acquire(ring.rx_flags + at.slot);
        __syncthreads();
        if (shared.stamp == 0) break;
        serve(ring, at, n_entries, shared, memory, response, is_cancelled);
        advance(at, ring.n_slots);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (u32 i = 0; i < kNCounters; ++i) store_relaxed(ring.mailbox + kFirstCounter + i, shared.counters[i]);
        store_release(ring.mailbox + kStateWord, kStopped);
    }
}
