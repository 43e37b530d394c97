/// The last answers on a ring, told apart without a copy of request or answer.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "frame.hpp"

namespace cudaq_target {

/// What tells a request from another one with the same id: 64 bits of everything but its stamp.
///
/// Four lanes of multiply and fold, so that long frames cost a fraction of their copy.
inline std::uint64_t fingerprint(std::span<const std::byte> frame) noexcept {
    constexpr std::uint64_t kOdd = 0x9E37'79B9'7F4A'7C15;
    std::array<std::uint64_t, 4> lanes{load<std::uint64_t>(frame.data()),
                                       load<std::uint64_t>(frame.data() + 8), frame.size(), kOdd};
    auto body = frame.subspan(kFrameHeaderBytes);
    const auto mix = [](std::uint64_t lane, std::uint64_t word) {
        lane = (lane ^ word) * kOdd;
        return lane ^ lane >> 32;
    };
    for (; body.size() >= 32; body = body.subspan(32)) {
        for (std::size_t i = 0; i < 4; ++i) {
            lanes[i] = mix(lanes[i], load<std::uint64_t>(body.data() + 8 * i));
        }
    }
    std::array<std::byte, 32> rest{};
    std::copy(body.begin(), body.end(), rest.begin());
    std::uint64_t mark = kOdd;
    for (std::size_t i = 0; i < 4; ++i) {
        mark = mix(mix(mark, lanes[i]), load<std::uint64_t>(rest.data() + 8 * i));
    }
    return mark;
}

/// Answers stay in their slots until the ring comes round: the last n_slots - 1 are there, and no
/// other. A client writes no answers, so that they are what the server said.
class AnswerWindow {
public:
    explicit AnswerWindow(std::uint32_t n_slots) : entries_(n_slots) {}

    bool is_empty() const noexcept { return entries_.empty(); }
    void reset() noexcept { std::fill(entries_.begin(), entries_.end(), Entry{}); }

    /// Begins the next request of the ring; the oldest answer is about to be written over.
    void advance() noexcept {
        next_ = next_ + 1 >= entries_.size() ? 0 : next_ + 1;
        if (!entries_.empty()) {
            entries_[next_] = Entry{};
        }
    }

    /// The answer to the same request; empty where there is none. `is_reused`: the id is known, of
    /// another request.
    std::span<const std::byte> find(std::uint32_t request_id, std::uint64_t mark,
                                    bool& is_reused) const noexcept {
        for (const auto& entry : entries_) {
            if (entry.id == request_id && !entry.answer.empty()) {
                if (entry.mark == mark) {
                    return entry.answer;
                }
                is_reused = true;
            }
        }
        return {};
    }

    /// Remembers the answer to the request of `advance`, in its slot.
    void keep(std::uint32_t request_id, std::uint64_t mark,
              std::span<const std::byte> answer) noexcept {
        entries_[next_] = {mark, answer, request_id};
    }

private:
    struct Entry {
        std::uint64_t mark = 0;
        std::span<const std::byte> answer;
        std::uint32_t id = 0;
    };

    std::vector<Entry> entries_;
    std::size_t next_ = 0;
};

}  // namespace cudaq_target
