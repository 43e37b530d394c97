/// The answering side of a slot ring whose answers come in any order.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "slot_ring.hpp"

namespace cudaq_target {

/// As `SlotServer`, for handlers that may answer later; one per ring, used by one thread at a time.
class UnorderedServer {
public:
    explicit UnorderedServer(const SlotRing& ring)
        : ring_(ring),
          taken_(ring.n_slots(), 0),
          oldest_(std::atomic_ref(ring.control().n_answered).load(std::memory_order_relaxed),
                  ring.n_slots()),
          next_(oldest_) {}

    const SlotRing& ring() const noexcept { return ring_; }

    /// How this process wakes the client.
    void announce(Wakes wakes) noexcept {
        wakes_ = wakes;
        ring_.producer_bell().announce(wakes);
    }

    bool has_request() const noexcept {
        // Acquire: pairs with the release store in `SlotClient::publish`.
        return taken_[next_.slot()] == 0 &&
               ring_.rx_flag(next_.slot()).load(std::memory_order_acquire) != 0;
    }

    /// The slot of the next request, which waits for its answer from now on. Only after
    /// `has_request()`.
    std::uint32_t take() noexcept {
        const auto k = next_.slot();
        taken_[k] = ring_.rx_flag(k).load(std::memory_order_relaxed);
        n_stale_ += !is_of(taken_[k], next_.number());
        next_.advance();
        return k;
    }
    bool is_taken(std::uint32_t k) const noexcept { return k < taken_.size() && taken_[k] != 0; }
    std::uint32_t session(std::uint32_t k) const noexcept { return session_of(taken_[k]); }
    std::uint64_t n_stale() const noexcept { return n_stale_; }

    /// Answers the request of a slot and frees the slot. Only while `is_taken(k)`; the frame fits.
    void answer(std::uint32_t k, std::span<const std::byte> frame) noexcept {
        auto* slot = ring_.tx_slot(k).data();
        constexpr std::size_t kMagicBytes = 4;
        std::memcpy(slot + kMagicBytes, frame.data() + kMagicBytes, frame.size() - kMagicBytes);
        std::atomic_signal_fence(std::memory_order_release);  // the compiler keeps the order, too
        std::memcpy(slot, frame.data(), kMagicBytes);  // the magic last
        publish(k);
    }

private:
    /// As `SlotServer::publish`, for a slot that need not be the oldest.
    void publish(std::uint32_t k) noexcept {
        const auto stamp = taken_[k];
        taken_[k] = 0;
        // Release: pairs with the acquire load in `SlotClient::has_answer`.
        ring_.tx_flag(k).store(is_sentinel(stamp) ? 1 : stamp, std::memory_order_release);
        while (oldest_.number() < next_.number() && taken_[oldest_.slot()] == 0) {
            oldest_.advance();
        }
        // Before the rx flag, so that a new client that finds all flags 0 reads the final number.
        std::atomic_ref(ring_.control().n_answered)
            .store(oldest_.number(), std::memory_order_relaxed);
        // Release: pairs with the acquire loads in `SlotClient::has_room` and `is_quiet`.
        ring_.rx_flag(k).store(0, std::memory_order_release);
        ring_.producer_bell().ring(wakes_);
    }

    SlotRing ring_;
    Wakes wakes_ = Wakes::kFenced;
    std::vector<Stamp> taken_;
    Cursor oldest_;
    Cursor next_;
    std::uint64_t n_stale_ = 0;
};

}  // namespace cudaq_target
