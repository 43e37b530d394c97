/// Answers requests by a table of functions, on any byte transport.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "aside.hpp"
#include "counters.hpp"
#include "frame.hpp"
#include "session.hpp"
#include "wait.hpp"

namespace cudaq_target {

/// CUDA-Q Realtime's DEVICE_CALL: returns a status, 0 or above; `in` may be unaligned.
using DeviceCall = int (*)(const void* in, void* out, std::uint32_t arg_len,
                           std::uint32_t max_result_len, std::uint32_t* result_len);
/// The same with memory that lasts from call to call: the function's own, or the session's.
using StatefulCall = int (*)(const void* in, void* out, std::uint32_t arg_len,
                             std::uint32_t max_result_len, std::uint32_t* result_len, void* state);

/// A function, and what its arguments and its answer must be.
struct Function {
    std::uint32_t id = 0;
    DeviceCall call = nullptr;
    StatefulCall stateful_call = nullptr;  ///< used when `call` is null
    void* state = nullptr;                 ///< null: the session's memory
    std::uint32_t min_arg_bytes = 0;
    std::uint32_t max_arg_bytes = 0xFFFF'FFFF;
    std::int64_t deadline_ns = 0;  ///< 0: none
    bool is_float64_result = false;  ///< whether a NaN or an infinity in the result is a failure
    bool may_refuse = false;         ///< whether statuses below 0 are its own to give
};

/// Function table and the obligations of `FORMAT.md`, "Who answers what".
///
/// `add` and `prepare` allocate; `handle` never does, takes no lock and throws nothing. One thread at
/// a time. Functions with a deadline run in a thread of their own, and while one that missed it runs
/// on, they and all that share its memory are answered BUSY.
class Dispatcher {
public:
    explicit Dispatcher(bool has_guard = false) : table_(kMinTable), has_guard_(has_guard) {}

    /// False when the id is taken.
    bool add(const Function& function) {
        if (find(function.id) != nullptr) {
            return false;
        }
        ++n_functions_;
        if (2 * n_functions_ > table_.size()) {
            std::vector<Function> old(2 * table_.size());
            old.swap(table_);
            for (const auto& entry : old) {
                if (is_used(entry)) {
                    *place(entry.id) = entry;
                }
            }
        }
        *place(function.id) = function;
        has_deadline_ |= function.deadline_ns > 0;
        if (frame_bytes_ > 0) {
            prepare(frame_bytes_);
        }
        return true;
    }

    /// Makes what `handle` needs for frames up to `frame_bytes`: memory, and a thread.
    void prepare(std::size_t frame_bytes) {
        frame_bytes_ = std::max(frame_bytes_, frame_bytes);
        if (has_guard_) {
            guarded_.assign(frame_bytes_ + kGuardBytes, kGuard);
        }
        if (has_deadline_ && (!aside_ || !aside_->takes(frame_bytes_))) {
            aside_ = std::make_unique<Aside<Invocation>>(frame_bytes_, kGuardBytes, kGuard, n_late_);
        }
    }

    /// Ends that thread; false where its function has not returned until then.
    bool end_aside(std::int64_t until_ns) noexcept {
        if (aside_ && !aside_->end(until_ns)) {
            return false;
        }
        aside_.reset();
        frame_bytes_ = 0;
        return true;
    }

    /// Answers one request.
    ///
    /// `request` is what arrived, `response` has room for at least a header and does not overlap.
    /// Returns the length of the answer; 0 where none is possible (frames below 24 bytes).
    std::size_t handle(std::span<const std::byte> request, std::span<std::byte> response,
                       Session& session, bool is_exact) noexcept {
        count(counters_.received);
        if (request.size() < kFrameHeaderBytes || response.size() < kFrameHeaderBytes) {
            count(counters_.truncated);
            return 0;
        }
        const auto header = load<RequestHeader>(request.data());
        switch (check_request(header, request.size(), request.size(), is_exact)) {
            case FrameFault::kMagic:
                count(counters_.bad_magic);
                return answer(response, header, Status::kBadFrame);
            case FrameFault::kLength:
                count(counters_.bad_length);
                return answer(response, header, Status::kBadLength);
            case FrameFault::kNone: break;
        }
        const auto* function = find(header.function_id);
        if (function == nullptr) {
            count(counters_.unknown_function);
            return answer(response, header, Status::kUnknownFunction);
        }
        if (header.arg_len < function->min_arg_bytes || header.arg_len > function->max_arg_bytes) {
            count(counters_.bad_request);
            return answer(response, header, Status::kBadRequest);
        }
        if (!session.has_window()) {
            return run(*function, header, request, response, session);
        }
        return handle_once(*function, header, request, response, session);
    }

    /// Answers CANCELLED instead of calling a handler.
    std::size_t cancel(std::span<const std::byte> request, std::span<std::byte> response) noexcept {
        count(counters_.received);
        count(counters_.cancelled);
        return answer(response, load<RequestHeader>(request.data()), Status::kCancelled);
    }

    const Counters& counters() const noexcept { return counters_; }
    /// A request with the stamp of an earlier generation of its slot; answered like any other.
    void count_stale() noexcept { count(counters_.stale); }

    /// Results that came after their caller had been answered DEADLINE.
    std::uint64_t n_late() const noexcept { return n_late_->load(std::memory_order_relaxed); }

    /// The function that runs right now, 0 for none; for other threads.
    std::uint32_t running() const noexcept {
        if (const auto late = aside_ ? aside_->function_id() : 0; late != 0) {
            return late;
        }
        return std::atomic_ref(const_cast<std::uint32_t&>(running_)).load(std::memory_order_relaxed);
    }

    /// Inside of a handler: whether it runs beside the serving thread.
    bool is_aside() const noexcept { return aside_ && aside_->is_mine(); }
    /// Inside of a handler: `Session::id` of whose request it is.
    std::uint64_t client_id() const noexcept { return is_aside() ? aside_->client() : client_id_; }

    /// What a handler leaves in `result_len` where it failed.
    static constexpr std::uint32_t kUnset = 0xFFFF'FFFF;

private:
    /// A function and the memory that it works on.
    struct Invocation {
        DeviceCall call = nullptr;
        StatefulCall stateful_call = nullptr;
        void* state = nullptr;

        int operator()(const std::byte* in, std::byte* out, std::uint32_t arg_len,
                       std::uint32_t max_result, std::uint32_t& result_len) const {
            result_len = kUnset;  // a handler that dies before it stores the length is found out
            return call != nullptr
                       ? call(in, out, arg_len, max_result, &result_len)
                       : stateful_call(in, out, arg_len, max_result, &result_len, state);
        }
    };

    static constexpr std::size_t kMinTable = 16;
    static constexpr std::size_t kGuardBytes = 128;
    static constexpr std::byte kGuard{0xA5};

    /// `value`, which is mostly `usual`: as a branch that the processor foresees instead of data that
    /// it waits for. Loops and copies of a handler start before the header's line has arrived.
    static std::uint32_t predicted(std::uint32_t value, std::uint32_t& usual) noexcept {
        auto copy = usual;
        asm("" : "+r"(copy));  // else the compiler sees that both are one, and takes `value`
        if (value == usual) [[likely]] {
            return copy;
        }
        usual = value;
        return value;
    }

    static bool is_used(const Function& entry) noexcept {
        return entry.call != nullptr || entry.stateful_call != nullptr;
    }

    /// The entry of `id`, or the free one where it belongs. The table is at most half full.
    Function* place(std::uint32_t id) noexcept {
        auto i = id & (table_.size() - 1);
        while (is_used(table_[i]) && table_[i].id != id) {
            i = (i + 1) & (table_.size() - 1);
        }
        return &table_[i];
    }
    const Function* find(std::uint32_t id) noexcept {
        const auto* entry = place(id);
        return is_used(*entry) ? entry : nullptr;
    }

    std::size_t handle_once(const Function& function, const RequestHeader& header,
                            std::span<const std::byte> request, std::span<std::byte> response,
                            Session& session) noexcept {
        const auto frame = request.first(kFrameHeaderBytes + header.arg_len);
        std::span<const std::byte> kept;
        switch (session.find(header.request_id, frame, kept)) {
            case Session::Match::kSame: {
                count(counters_.duplicates);
                count(counters_.answered);
                // The length is that of an earlier answer into a buffer of the same size.
                const auto n_bytes = std::min(kept.size(), response.size());
                std::memcpy(response.data(), kept.data(), n_bytes);
                store(response.data() + offsetof(ResponseHeader, timestamp_ns), header.timestamp_ns);
                return n_bytes;
            }
            case Session::Match::kReused: count(counters_.reused_ids); break;
            case Session::Match::kNone: break;
        }
        const auto n_bytes = run(function, header, request, response, session);
        if (load<ResponseHeader>(response.data()).status != static_cast<std::int32_t>(Status::kBusy)) {
            session.keep(header.request_id, frame, response.first(n_bytes));  // BUSY is tried again
        }
        return n_bytes;
    }

    std::size_t run(const Function& function, const RequestHeader& header,
                    std::span<const std::byte> request, std::span<std::byte> response,
                    Session& session) noexcept {
        if (aside_) [[unlikely]] {
            const auto call = invocation(function, session);
            if (call.call == nullptr && aside_->holds(call.state)) {
                count(counters_.busy);
                return answer(response, header, Status::kBusy);
            }
            if (function.deadline_ns > 0 && aside_->is_here() &&
                aside_->takes(std::max(kFrameHeaderBytes + header.arg_len, response.size()))) {
                return run_aside(function, call, header, request, response, session);
            }
        }
        const auto late_at = function.deadline_ns > 0 ? monotonic_ns() + function.deadline_ns : 0;
        const auto max_result = max_result_of(response);
        auto* out = response.data() + kFrameHeaderBytes;
        auto* target = has_guard_ && guarded_.size() >= max_result + kGuardBytes ? guarded_.data() : out;
        const auto arg_len = predicted(header.arg_len, usual_arg_len_);
        auto result_len = kUnset;
        count(counters_.dispatched);
        client_id_ = session.id();
        std::atomic_ref(running_).store(function.id, std::memory_order_relaxed);
        const auto* in = request.data() + kFrameHeaderBytes;
        const auto status = function.call != nullptr
                                ? function.call(in, target, arg_len, max_result, &result_len)
                                : invocation(function, session)(in, target, arg_len, max_result,
                                                                result_len);
        std::atomic_ref(running_).store(0, std::memory_order_relaxed);
        return conclude(function, header, response, status, result_len, target, late_at);
    }

    static Invocation invocation(const Function& function, Session& session) noexcept {
        return {function.call, function.stateful_call,
                function.state != nullptr ? function.state : session.state()};
    }

    [[gnu::noinline]] std::size_t run_aside(const Function& function, const Invocation& call,
                          const RequestHeader& header, std::span<const std::byte> request,
                          std::span<std::byte> response, const Session& session) noexcept {
        using End = Aside<Invocation>::End;
        const auto late_at = monotonic_ns() + function.deadline_ns;
        const bool is_of_session = function.call == nullptr && function.state == nullptr;
        Aside<Invocation>::Outcome outcome;
        const auto end = aside_->run(
            call, function.id, request.first(kFrameHeaderBytes + header.arg_len), header.arg_len,
            max_result_of(response), call.state,
            is_of_session ? session.shared_state() : std::shared_ptr<void>(), session.id(), late_at,
            outcome);
        if (end == End::kBusy) {
            count(counters_.busy);
            return answer(response, header, Status::kBusy);
        }
        if (end != End::kUnbegun) {
            count(counters_.dispatched);
        }
        if (end != End::kDone) {  // the result of one that runs is counted when it comes
            count(counters_.deadline_misses);
            return answer(response, header, Status::kDeadline);
        }
        return conclude(function, header, response, outcome.status, outcome.result_len,
                        outcome.result, late_at);
    }

    /// Judges what a function left in `target`, and answers. Part of every call: a call of its own
    /// would cost a hundredth of a round trip.
    [[gnu::always_inline]] std::size_t conclude(const Function& function, const RequestHeader& header,
                         std::span<std::byte> response, int status, std::uint32_t result_len,
                         std::byte* target, std::int64_t late_at) noexcept {
        const auto max_result = max_result_of(response);
        auto* out = response.data() + kFrameHeaderBytes;
        if ((status < 0 && !function.may_refuse) || result_len > max_result ||
            (has_guard_ && target != out && !is_guard_intact(target + max_result)) ||
            (function.is_float64_result && !is_finite(target, result_len))) {
            count(counters_.handler_failures);
            return answer(response, header, Status::kInternalError);
        }
        if (late_at != 0 && monotonic_ns() > late_at) {
            count(counters_.deadline_misses);
            count(counters_.late_results);
            return answer(response, header, Status::kDeadline);
        }
        if (target != out) {
            std::memcpy(out, target, result_len);
        }
        return answer(response, header, static_cast<Status>(status), result_len);
    }

    static std::uint32_t max_result_of(std::span<std::byte> response) noexcept {
        return static_cast<std::uint32_t>(response.size() - kFrameHeaderBytes);
    }

    static bool is_guard_intact(std::byte* guard) noexcept {
        bool is_intact = true;
        for (std::size_t i = 0; i < kGuardBytes; ++i) {
            is_intact &= guard[i] == kGuard;
            guard[i] = kGuard;
        }
        return is_intact;
    }

    static bool is_finite(const std::byte* result, std::uint32_t n_bytes) noexcept {
        bool is_finite = n_bytes % sizeof(double) == 0;
        for (std::uint32_t at = 0; at + sizeof(double) <= n_bytes; at += sizeof(double)) {
            is_finite &= std::isfinite(load<double>(result + at));
        }
        return is_finite;
    }

    std::size_t answer(std::span<std::byte> response, const RequestHeader& header, Status status,
                       std::uint32_t result_len = 0) noexcept {
        count(counters_.answered);
        write_header(response.data(),
                     ResponseHeader{kResponseMagic, static_cast<std::int32_t>(status), result_len,
                                    header.request_id, header.timestamp_ns});
        return kFrameHeaderBytes + result_len;
    }

    std::vector<Function> table_;
    std::size_t n_functions_ = 0;
    std::uint32_t usual_arg_len_ = 0;
    std::uint32_t running_ = 0;
    Counters counters_;
    std::uint64_t client_id_ = 0;
    bool has_guard_;
    bool has_deadline_ = false;
    std::size_t frame_bytes_ = 0;
    std::vector<std::byte> guarded_;
    std::shared_ptr<std::atomic<std::uint64_t>> n_late_ =
        std::make_shared<std::atomic<std::uint64_t>>(0);
    std::unique_ptr<Aside<Invocation>> aside_;
};

}  // namespace cudaq_target
