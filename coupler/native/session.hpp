/// What a dispatcher remembers of one client: its memory, and its last answers.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "answer_window.hpp"
#include "frame.hpp"

namespace cudaq_target {

/// One ring, one ZeroMQ identity or one UDP peer. All memory is taken at construction.
///
/// A request that repeats the id, the function and the arguments of one of the last `window`
/// requests gets the same answer again. Id, function and arguments are compared, not hashed.
class Session {
public:
    enum class Match { kNone, kSame, kReused };

    /// Keeps copies of requests and answers, for any transport.
    Session(std::uint32_t window, std::size_t frame_bytes, std::size_t state_bytes)
        : Session(window, frame_bytes, state_bytes, AnswerWindow(0)) {}

    /// Keeps answers where they lie, in the slots of a ring; see `AnswerWindow`.
    Session(AnswerWindow in_place, std::size_t state_bytes)
        : Session(0, 0, state_bytes, std::move(in_place)) {}

    /// Forgets everything: another client has taken the place.
    void reset() noexcept {
        id_ = next_id();
        in_place_.reset();
        n_kept_ = next_ = 0;
        if (state_.use_count() > 1) [[unlikely]] {  // of a function that is late, and stays its own
            state_ = std::make_shared<State>(state_->size());
        }
        std::fill(state_->begin(), state_->end(), StateBlock{});
    }

    /// Of this client; no other client of this process has, or had, the same.
    std::uint64_t id() const noexcept { return id_; }

    /// Begins the next request of a ring.
    void advance() noexcept { in_place_.advance(); }

    void* state() noexcept { return state_->data(); }
    /// What keeps `state()` where it is.
    std::shared_ptr<void> shared_state() const noexcept { return state_; }

    /// Looks for `frame` (header and arguments) among the last requests. On `kSame`, `response`
    /// is its answer; `kReused` says that the id is known, with another function or arguments.
    Match find(std::uint32_t request_id, std::span<const std::byte> frame,
               std::span<const std::byte>& response) noexcept {
        if (!in_place_.is_empty()) {
            mark_ = fingerprint(frame);
            bool is_reused = false;
            response = in_place_.find(request_id, mark_, is_reused);
            return !response.empty() ? Match::kSame : is_reused ? Match::kReused : Match::kNone;
        }
        auto match = Match::kNone;
        for (std::size_t i = 0; i < n_kept_; ++i) {
            if (ids_[i] != request_id) {
                continue;
            }
            // The time stamp, at offset 16, may differ: it is set anew when a client repeats itself.
            const auto* kept = request_at(i);
            const bool is_same = request_bytes_[i] == frame.size() &&
                                 std::memcmp(kept, frame.data(), 16) == 0 &&
                                 std::memcmp(kept + kFrameHeaderBytes, frame.data() + kFrameHeaderBytes,
                                             frame.size() - kFrameHeaderBytes) == 0;
            if (is_same) {
                response = {response_at(i), response_bytes_[i]};
                return Match::kSame;
            }
            match = Match::kReused;
        }
        return match;
    }

    /// Remembers a request and its answer in the place of the oldest. Longer frames are not kept.
    void keep(std::uint32_t request_id, std::span<const std::byte> frame,
              std::span<const std::byte> response) noexcept {
        if (!in_place_.is_empty()) {
            in_place_.keep(request_id, mark_, response);  // `find` came before
            return;
        }
        if (ids_.empty() || frame.size() > frame_bytes_ || response.size() > frame_bytes_) {
            return;
        }
        ids_[next_] = request_id;
        request_bytes_[next_] = frame.size();
        response_bytes_[next_] = response.size();
        std::memcpy(request_at(next_), frame.data(), frame.size());
        std::memcpy(response_at(next_), response.data(), response.size());
        n_kept_ = std::max(n_kept_, next_ + 1);
        next_ = next_ + 1 == ids_.size() ? 0 : next_ + 1;
    }

    bool has_window() const noexcept { return !ids_.empty() || !in_place_.is_empty(); }

private:
    /// Bytes, and not a `std::max_align_t`, of which zeroing leaves the padding as it was.
    struct alignas(std::max_align_t) StateBlock {
        std::byte bytes[sizeof(std::max_align_t)];
    };
    using State = std::vector<StateBlock>;

    Session(std::uint32_t window, std::size_t frame_bytes, std::size_t state_bytes,
            AnswerWindow in_place)
        : id_(next_id()),
          in_place_(std::move(in_place)),
          frame_bytes_(frame_bytes),
          ids_(window),
          request_bytes_(window),
          response_bytes_(window),
          frames_(2 * window * frame_bytes),
          state_(std::make_shared<State>((state_bytes + sizeof(StateBlock) - 1) /
                                         sizeof(StateBlock))) {}

    static std::uint64_t next_id() noexcept {
        static std::atomic<std::uint64_t> n_clients{0};
        return n_clients.fetch_add(1, std::memory_order_relaxed) + 1;
    }

    std::byte* request_at(std::size_t i) noexcept { return frames_.data() + 2 * i * frame_bytes_; }
    const std::byte* request_at(std::size_t i) const noexcept {
        return frames_.data() + 2 * i * frame_bytes_;
    }
    std::byte* response_at(std::size_t i) noexcept { return request_at(i) + frame_bytes_; }
    const std::byte* response_at(std::size_t i) const noexcept { return request_at(i) + frame_bytes_; }

    std::uint64_t id_;
    AnswerWindow in_place_;
    std::uint64_t mark_ = 0;
    std::size_t frame_bytes_;
    std::size_t n_kept_ = 0;
    std::size_t next_ = 0;
    std::vector<std::uint32_t> ids_;
    std::vector<std::size_t> request_bytes_;
    std::vector<std::size_t> response_bytes_;
    std::vector<std::byte> frames_;
    std::shared_ptr<State> state_;
};

}  // namespace cudaq_target
