/// CUDA-Q Realtime's slot and flag ring: requests in one array of slots, answers in another.
///
/// `rx_flags[n]` and `tx_flags[n]` (u64) say which slots of `rx_data` and `tx_data` hold a frame.
/// Slot k is free iff both its flags are 0. Request number i uses slot i mod n on both sides; one
/// process writes requests, one answers. Order of stores:
///
///   client      request into rx slot        -> rx_flags[k] = stamp
///   dispatcher  answer, magic last, tx slot -> tx_flags[k] = stamp -> rx_flags[k] = 0
///   client      reads the answer            -> tx_flags[k] = 0
///
/// A stamp is session << 48 | number + 1: never 0 and never one of CUDA-Q's sentinels. An answer
/// repeats the stamp of its request, so that one of an earlier generation of the slot shows.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "frame.hpp"
#include "shm.hpp"
#include "wait.hpp"

namespace cudaq_target {

using Stamp = std::uint64_t;

inline constexpr Stamp kTxInFlight = 0xEEEE'EEEE'EEEE'EEEE;
inline constexpr Stamp kTxErrorTag = 0xDEAD;
inline constexpr std::uint32_t kMaxSession = 0x0FFF;
inline constexpr int kSessionShift = 48;

constexpr bool is_sentinel(Stamp flag) noexcept {
    return flag == kTxInFlight || flag >> kSessionShift == kTxErrorTag;
}
constexpr Stamp stamp_of_request(std::uint32_t session, std::uint64_t number) noexcept {
    return Stamp{session} << kSessionShift | ((number + 1) & ((Stamp{1} << kSessionShift) - 1));
}
/// Whether a stamp is that of request `number`, of whatever session.
constexpr bool is_of(Stamp stamp, std::uint64_t number) noexcept {
    return ((stamp ^ (number + 1)) & ((Stamp{1} << kSessionShift) - 1)) == 0;
}
constexpr std::uint32_t session_of(Stamp stamp) noexcept {
    return static_cast<std::uint32_t>(stamp >> kSessionShift);
}

/// Where flags and slots of a checked segment lie.
class SlotRing {
public:
    SlotRing(std::span<std::byte> segment, const Geometry& geometry) noexcept
        : control_(reinterpret_cast<ControlBlock*>(segment.data())), geometry_(geometry) {
        const auto n = std::size_t{geometry.n_slots};
        const auto flag_bytes = (n * sizeof(Stamp) + kLineBytes - 1) / kLineBytes * kLineBytes;
        auto* at = segment.data() + kControlBytes;
        rx_flags_ = reinterpret_cast<Stamp*>(at);
        tx_flags_ = reinterpret_cast<Stamp*>(at + flag_bytes);
        rx_data_ = at + 2 * flag_bytes;
        tx_data_ = rx_data_ + n * geometry.rx_stride_bytes;
    }

    std::uint32_t n_slots() const noexcept { return geometry_.n_slots; }
    std::size_t rx_stride() const noexcept { return geometry_.rx_stride_bytes; }
    std::size_t tx_stride() const noexcept { return geometry_.tx_stride_bytes; }
    ControlBlock& control() const noexcept { return *control_; }
    std::atomic_ref<Stamp> rx_flag(std::uint32_t k) const noexcept {
        return std::atomic_ref(rx_flags_[k]);
    }
    std::atomic_ref<Stamp> tx_flag(std::uint32_t k) const noexcept {
        return std::atomic_ref(tx_flags_[k]);
    }
    std::span<std::byte> rx_slot(std::uint32_t k) const noexcept {
        return {rx_data_ + k * rx_stride(), rx_stride()};
    }
    std::span<std::byte> tx_slot(std::uint32_t k) const noexcept {
        return {tx_data_ + k * tx_stride(), tx_stride()};
    }
    /// Rung by the client for the dispatcher, and the reverse.
    Doorbell consumer_bell() const noexcept {
        return {control_->consumer_asleep, control_->producer_wakes};
    }
    Doorbell producer_bell() const noexcept {
        return {control_->producer_asleep, control_->consumer_wakes};
    }

private:
    ControlBlock* control_;
    Geometry geometry_;
    Stamp* rx_flags_;
    Stamp* tx_flags_;
    std::byte* rx_data_;
    std::byte* tx_data_;
};

/// Position on the ring: the number of a request, and its slot without a division per step.
class Cursor {
public:
    Cursor(std::uint64_t number, std::uint32_t n_slots) noexcept
        : number_(number), slot_(static_cast<std::uint32_t>(number % n_slots)), n_slots_(n_slots) {}
    std::uint64_t number() const noexcept { return number_; }
    std::uint32_t slot() const noexcept { return slot_; }
    void advance() noexcept {
        ++number_;
        slot_ = slot_ + 1 == n_slots_ ? 0 : slot_ + 1;
    }

private:
    std::uint64_t number_;
    std::uint32_t slot_;
    std::uint32_t n_slots_;
};

/// An answer in its slot; `result` is valid until `SlotClient::release`.
struct Answer {
    ResponseHeader header;
    std::span<const std::byte> result;
};

struct ClientCounters {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::uint64_t stale = 0;       ///< answers of an earlier generation of their slot; dropped
    std::uint64_t unmatched = 0;   ///< answers whose header names another request
    std::uint64_t bad_frames = 0;  ///< answers that are no frames
    std::uint64_t late_results = 0;
    std::uint64_t busy = 0;  ///< requests not sent, as every slot stayed in use
    std::uint64_t backpressure_stalls = 0;
};

/// The requesting side; one per ring, used by one thread at a time.
class SlotClient {
public:
    /// Takes over from a dead client: only after `is_quiet` holds, with the role claimed.
    SlotClient(const SlotRing& ring, std::uint32_t session, Wakes wakes = best_wakes()) noexcept
        : ring_(ring),
          next_(std::atomic_ref(ring.control().n_answered).load(std::memory_order_relaxed),
                ring.n_slots()),
          oldest_(next_),
          session_(session),
          wakes_(wakes) {
        ring.consumer_bell().announce(wakes);
        for (std::uint32_t k = 0; k < ring.n_slots(); ++k) {
            ring.tx_flag(k).store(0, std::memory_order_relaxed);  // answers to the dead client
        }
    }

    /// Whether the dispatcher has answered all that a former client asked.
    static bool is_quiet(const SlotRing& ring) noexcept {
        for (std::uint32_t k = 0; k < ring.n_slots(); ++k) {
            // Acquire: pairs with the release store of 0 in `SlotServer::publish`.
            if (ring.rx_flag(k).load(std::memory_order_acquire) != 0) {
                return false;
            }
        }
        return true;
    }

    std::size_t max_arg_bytes() const noexcept { return ring_.rx_stride() - kFrameHeaderBytes; }
    std::uint64_t n_pending() const noexcept { return next_.number() - oldest_.number(); }
    std::uint64_t next_number() const noexcept { return next_.number(); }
    std::uint64_t oldest_number() const noexcept { return oldest_.number(); }
    const ClientCounters& counters() const noexcept { return counters_; }
    const SlotRing& ring() const noexcept { return ring_; }
    void count_stall() noexcept { ++counters_.backpressure_stalls; }
    void count_late() noexcept { ++counters_.late_results; }
    void count_busy() noexcept { ++counters_.busy; }

    /// Whether the next slot may be written: its last answer read, its last request cleared.
    bool has_room() const noexcept {
        // Acquire: pairs with the release store of 0 in `SlotServer::publish`; the dispatcher has
        // read the slot before we write it. The tx flag is 0, as we cleared it.
        return n_pending() < ring_.n_slots() &&
               ring_.rx_flag(next_.slot()).load(std::memory_order_acquire) == 0;
    }

    /// Room for the arguments of the next request, in place. Only while `has_room()`.
    std::span<std::byte> arguments() const noexcept {
        return ring_.rx_slot(next_.slot()).subspan(kFrameHeaderBytes);
    }

    /// The whole next slot, for `publish`. Only while `has_room()`.
    std::span<std::byte> slot() const noexcept { return ring_.rx_slot(next_.slot()); }
    /// The slot of the oldest answer, unchecked. Only after `has_answer()`.
    std::span<std::byte> answer_slot() const noexcept { return ring_.tx_slot(oldest_.slot()); }

    /// Sends a request whose `arg_len` arguments lie in `arguments()`. Returns its number.
    std::uint64_t send(std::uint32_t function, std::uint32_t arg_len,
                       std::uint64_t timestamp_ns) noexcept {
        const auto number = next_.number();
        write_header(ring_.rx_slot(next_.slot()).data(),
                     RequestHeader{kRequestMagic, function, arg_len,
                                   static_cast<std::uint32_t>(number), timestamp_ns});
        publish();
        return number;
    }

    /// Sends whole slots as they are, for tests of faulty peers.
    void publish() noexcept {
        // Release: pairs with the acquire load of the flag in `SlotServer::has_request`.
        ring_.rx_flag(next_.slot())
            .store(stamp_of_request(session_, next_.number()), std::memory_order_release);
        next_.advance();
        ++counters_.sent;
        ring_.consumer_bell().ring(wakes_);
    }

    /// Whether the oldest request has its answer. Answers of an earlier generation are dropped.
    bool has_answer() noexcept {
        if (n_pending() == 0) {
            return false;
        }
        // Acquire: pairs with the release store of the flag in `SlotServer::publish`.
        const auto flag = ring_.tx_flag(oldest_.slot()).load(std::memory_order_acquire);
        if (flag == 0 || flag == kTxInFlight) {
            return false;
        }
        if (flag == stamp_of_request(session_, oldest_.number()) || is_sentinel(flag)) {
            return true;
        }
        ++counters_.stale;
        ring_.tx_flag(oldest_.slot()).store(0, std::memory_order_release);
        return false;
    }

    /// The answer to the oldest request, checked. Only after `has_answer()`.
    Answer answer() noexcept {
        const auto slot = ring_.tx_slot(oldest_.slot());
        auto header = load<ResponseHeader>(slot.data());
        const auto flag = ring_.tx_flag(oldest_.slot()).load(std::memory_order_relaxed);
        const auto id = static_cast<std::uint32_t>(oldest_.number());
        const auto fault = check_response(header, slot.size(), slot.size(), false);
        const bool is_frame = !is_sentinel(flag) && fault == FrameFault::kNone;
        if (!is_frame || header.request_id != id) {
            ++(is_frame ? counters_.unmatched : counters_.bad_frames);
            const auto status = is_sentinel(flag) ? Status::kInternalError : Status::kBadFrame;
            header = {kResponseMagic, static_cast<std::int32_t>(status), 0, id, 0};
        }
        return {header, slot.subspan(kFrameHeaderBytes, header.result_len)};
    }

    /// Gives the slot of the oldest answer back. Only after `has_answer()`.
    void release() noexcept {
        // Relaxed: nobody but us reads or writes the slot until our next request, whose own
        // release store in `publish` comes after.
        ring_.tx_flag(oldest_.slot()).store(0, std::memory_order_relaxed);
        oldest_.advance();
        ++counters_.received;
    }

private:
    SlotRing ring_;
    Cursor next_;
    Cursor oldest_;
    std::uint32_t session_;
    Wakes wakes_;
    ClientCounters counters_;
};

/// The answering side; one per ring, used by one thread at a time.
class SlotServer {
public:
    explicit SlotServer(const SlotRing& ring) noexcept
        : ring_(ring),
          cursor_(std::atomic_ref(ring.control().n_answered).load(std::memory_order_relaxed),
                  ring.n_slots()) {}

    const SlotRing& ring() const noexcept { return ring_; }

    /// How this process wakes the client: once in the process that serves, which need not be the
    /// one that made this object.
    void announce(Wakes wakes) noexcept {
        wakes_ = wakes;
        ring_.producer_bell().announce(wakes);
    }

    bool has_request() const noexcept {
        // Acquire: pairs with the release store of the flag in `SlotClient::publish`.
        return ring_.rx_flag(cursor_.slot()).load(std::memory_order_acquire) != 0;
    }
    /// The session of the oldest request. Only after `has_request()`.
    std::uint32_t session() const noexcept {
        return session_of(ring_.rx_flag(cursor_.slot()).load(std::memory_order_relaxed));
    }
    /// Whether the oldest request is the one that its slot is due for, and no earlier one.
    bool is_current() const noexcept {
        return is_of(ring_.rx_flag(cursor_.slot()).load(std::memory_order_relaxed), cursor_.number());
    }
    std::span<const std::byte> request() const noexcept { return ring_.rx_slot(cursor_.slot()); }
    std::span<std::byte> response() const noexcept { return ring_.tx_slot(cursor_.slot()); }

    /// Hands the written response over and frees the request. Only after `has_request()`.
    void publish() noexcept {
        const auto k = cursor_.slot();
        const auto stamp = ring_.rx_flag(k).load(std::memory_order_relaxed);
        // Release: pairs with the acquire load in `SlotClient::has_answer`; the answer is visible
        // before its flag.
        ring_.tx_flag(k).store(is_sentinel(stamp) ? 1 : stamp, std::memory_order_release);
        cursor_.advance();
        // Before the rx flag, so that a new client that finds all flags 0 reads the final number.
        std::atomic_ref(ring_.control().n_answered)
            .store(cursor_.number(), std::memory_order_relaxed);
        // Release: pairs with the acquire loads in `SlotClient::has_room` and `is_quiet`. After the
        // tx flag: with both flags 0 the slot would look free before its answer shows.
        ring_.rx_flag(k).store(0, std::memory_order_release);
        ring_.producer_bell().ring(wakes_);
    }

private:
    SlotRing ring_;
    Cursor cursor_;
    Wakes wakes_ = Wakes::kFenced;
};

}  // namespace cudaq_target
