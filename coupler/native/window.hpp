/// A client's requests in flight: numbers, generations, deadlines. `sessions.RequestWindow` is the
/// reference in Python.
#pragma once

#include <cstdint>
#include <vector>

namespace cudaq_target {

/// What an answer is to a client.
enum class Match { kOurs, kDuplicate, kStale, kUnmatched };

/// Request i has place i mod n_places; a place is free when its request is answered or given up.
/// An answer of an earlier generation is told from the current one, up to 2^31 requests later.
class RequestWindow {
public:
    RequestWindow(std::uint32_t n_places, std::uint64_t first)
        : places_(n_places), next_(first), oldest_(first) {}

    std::uint32_t n_open() const noexcept { return n_open_; }
    /// Requests that `open` takes now: the oldest one in flight holds up those behind it.
    std::uint32_t n_free() const noexcept {
        return static_cast<std::uint32_t>(places_.size() - (next_ - oldest_));
    }
    std::uint32_t next_id() const noexcept { return static_cast<std::uint32_t>(next_); }
    std::size_t place_of(std::uint64_t number) const noexcept { return number % places_.size(); }
    std::size_t next_place() const noexcept { return place_of(next_); }

    /// Begins the request `next_id()`. Only while `n_free()`.
    void open(std::int64_t deadline_ns) noexcept {
        places_[next_place()] = {next_, deadline_ns, true, false};
        ++next_;
        ++n_open_;
    }

    /// What an answer is, which is used only where it is `kOurs`.
    Match match(std::uint32_t request_id) const noexcept {
        const auto age = age_of(request_id);
        if (age >= kHalfRange || age >= next_) {
            return Match::kUnmatched;
        }
        const auto number = next_ - 1 - age;
        const auto& place = places_[place_of(number)];
        if (place.number != number) {
            return Match::kStale;
        }
        if (place.is_open) {
            return Match::kOurs;
        }
        return place.is_answered ? Match::kDuplicate : Match::kStale;
    }

    /// Takes an answer.
    Match close(std::uint32_t request_id) noexcept {
        const auto found = match(request_id);
        if (found == Match::kOurs) {
            auto& place = places_[place_of_id(request_id)];
            place.is_answered = true;
            free(place);
        }
        return found;
    }

    /// Gives up what is due, oldest first: calls `given_up(number)`. Late answers will be `kStale`.
    template <typename GivenUp>
    void expire(std::int64_t now_ns, GivenUp given_up) {
        for (auto number = oldest_; number < next_; ++number) {
            auto& place = places_[place_of(number)];
            if (place.is_open && place.deadline_ns <= now_ns) {
                free(place);
                given_up(number);
            }
        }
    }

    /// Place of a request that was opened within the last 2^31; the latest in its place has it.
    std::size_t place_of_id(std::uint32_t request_id) const noexcept {
        return place_of(next_ - 1 - age_of(request_id));
    }

    std::int64_t deadline_ns(std::size_t place) const noexcept { return places_[place].deadline_ns; }

private:
    static constexpr std::uint32_t kHalfRange = 1U << 31;

    struct Place {
        std::uint64_t number = ~std::uint64_t{0};
        std::int64_t deadline_ns = 0;
        bool is_open = false;
        bool is_answered = false;
    };

    std::uint32_t age_of(std::uint32_t request_id) const noexcept {
        return static_cast<std::uint32_t>(next_ - 1) - request_id;
    }

    void free(Place& place) noexcept {
        place.is_open = false;
        --n_open_;
        if (place.number == oldest_) {
            do {
                ++oldest_;
            } while (oldest_ < next_ && !places_[place_of(oldest_)].is_open);
        }
    }

    std::vector<Place> places_;
    std::uint64_t next_;
    std::uint64_t oldest_;  ///< of those in flight; `next_` where there is none
    std::uint32_t n_open_ = 0;
};

}  // namespace cudaq_target
