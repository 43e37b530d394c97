/// Clients of a ROUTER: their names, what is remembered of them, and answers that wait for them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "session.hpp"

namespace cudaq_target {

/// A routing id: up to 255 bytes that a client chose, or ZeroMQ for it.
struct ZmqIdentity {
    std::uint64_t hash = 0;
    std::uint8_t n_bytes = 0;
    std::array<std::byte, 255> name;

    ZmqIdentity() = default;
    explicit ZmqIdentity(std::span<const std::byte> from) noexcept
        : hash(0xCBF2'9CE4'8422'2325),
          n_bytes(static_cast<std::uint8_t>(std::min<std::size_t>(from.size(), name.size()))) {
        for (std::size_t i = 0; i < n_bytes; ++i) {  // FNV-1a: no secret is kept by it
            name[i] = from[i];
            hash = (hash ^ static_cast<std::uint8_t>(from[i])) * 0x100'0000'01B3;
        }
    }

    std::span<const std::byte> bytes() const noexcept { return {name.data(), n_bytes}; }
    bool operator==(const ZmqIdentity& other) const noexcept {
        return hash == other.hash && n_bytes == other.n_bytes &&
               std::memcmp(name.data(), other.name.data(), n_bytes) == 0;
    }
};

/// Sessions by identity; the one unused for longest makes room. Memory is bounded by `capacity`
/// sessions and taken when a client comes for the first time, never for a known one.
class ZmqSessions {
public:
    ZmqSessions(std::size_t capacity, std::uint32_t window, std::size_t frame_bytes,
                std::size_t state_bytes)
        : capacity_(capacity), window_(window), frame_bytes_(frame_bytes),
          state_bytes_(state_bytes) {
        peers_.reserve(capacity);
    }

    /// Null where the system has no memory for a new client. `was_evicted` is set, never cleared.
    Session* of(const ZmqIdentity& identity, bool& was_evicted) noexcept {
        ++clock_;
        if (newest_ < peers_.size() && peers_[newest_].identity == identity) {
            peers_[newest_].used_at = clock_;
            return peers_[newest_].session.get();
        }
        for (newest_ = 0; newest_ < peers_.size(); ++newest_) {
            if (peers_[newest_].identity == identity) {
                peers_[newest_].used_at = clock_;
                return peers_[newest_].session.get();
            }
        }
        return admit(identity, was_evicted);
    }

private:
    struct Peer {
        ZmqIdentity identity;
        std::unique_ptr<Session> session;
        std::uint64_t used_at;
    };

    Session* admit(const ZmqIdentity& identity, bool& was_evicted) noexcept {
        if (peers_.size() < capacity_) {
            try {
                auto session = std::make_unique<Session>(window_, frame_bytes_, state_bytes_);
                peers_.push_back(Peer{identity, std::move(session), clock_});
                newest_ = peers_.size() - 1;
                return peers_.back().session.get();
            } catch (const std::bad_alloc&) {
                if (peers_.empty()) {
                    return nullptr;
                }
                capacity_ = peers_.size();
            }
        }
        const auto oldest = std::min_element(
            peers_.begin(), peers_.end(),
            [](const Peer& a, const Peer& b) { return a.used_at < b.used_at; });
        was_evicted = true;
        oldest->identity = identity;
        oldest->used_at = clock_;
        oldest->session->reset();
        newest_ = static_cast<std::size_t>(oldest - peers_.begin());
        return oldest->session.get();
    }

    std::vector<Peer> peers_;
    std::size_t capacity_;
    std::uint32_t window_;
    std::size_t frame_bytes_;
    std::size_t state_bytes_;
    std::size_t newest_ = 0;
    std::uint64_t clock_ = 0;
};

/// Answers to slow peers: a bounded queue that keeps the order per peer. The oldest makes room.
class ZmqWaiting {
public:
    ZmqWaiting(std::size_t capacity, std::size_t frame_bytes)
        : entries_(capacity), frame_bytes_(frame_bytes),
          frames_(std::make_unique_for_overwrite<std::byte[]>(capacity * frame_bytes)) {
        order_.reserve(capacity);
        blocked_.reserve(capacity);
        for (std::size_t i = capacity; i > 0; --i) {
            free_.push_back(i - 1);
        }
    }

    std::size_t size() const noexcept { return order_.size(); }

    /// Whether an answer to this peer waits; a newer one must not overtake it.
    bool holds(const ZmqIdentity& peer) const noexcept {
        return std::any_of(order_.begin(), order_.end(),
                           [&](std::size_t at) { return entries_[at].peer.hash == peer.hash; });
    }

    /// True where the oldest answer had to go.
    bool push(const ZmqIdentity& peer, std::span<const std::byte> frame) noexcept {
        const bool is_full = free_.empty();
        if (is_full) {
            free_.push_back(order_.front());
            order_.erase(order_.begin());
        }
        const auto at = free_.back();
        free_.pop_back();
        entries_[at] = Entry{peer, std::min(frame.size(), frame_bytes_)};
        std::memcpy(frames_.get() + at * frame_bytes_, frame.data(), entries_[at].n_bytes);
        order_.push_back(at);
        return is_full;
    }

    /// Calls `send(peer, frame)` in order; those behind a refused one of the same peer stay, too.
    template <typename Send>
    void retry(Send send) noexcept {
        blocked_.clear();
        std::size_t n_kept = 0;
        for (const auto at : order_) {
            const auto& entry = entries_[at];
            const bool is_blocked =
                std::find(blocked_.begin(), blocked_.end(), entry.peer.hash) != blocked_.end();
            if (!is_blocked && send(entry.peer, std::span<const std::byte>(
                                                    frames_.get() + at * frame_bytes_,
                                                    entry.n_bytes))) {
                free_.push_back(at);
                continue;
            }
            if (!is_blocked) {
                blocked_.push_back(entry.peer.hash);
            }
            order_[n_kept++] = at;
        }
        order_.resize(n_kept);
    }

private:
    struct Entry {
        ZmqIdentity peer;
        std::size_t n_bytes = 0;
    };

    std::vector<Entry> entries_;
    std::size_t frame_bytes_;
    std::unique_ptr<std::byte[]> frames_;
    std::vector<std::size_t> order_;
    std::vector<std::size_t> free_;
    std::vector<std::uint64_t> blocked_;
};

}  // namespace cudaq_target
