/// Answers requests by a table of functions, on any byte transport.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

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
/// `add` allocates; `handle` never does, takes no lock and throws nothing. One thread at a time.
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
        return true;
    }

    /// Allocates what `handle` needs for frames up to `frame_bytes`.
    void prepare(std::size_t frame_bytes) {
        if (has_guard_) {
            guarded_.assign(frame_bytes + kGuardBytes, kGuard);
        }
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

    /// The function that runs right now, 0 for none; for other threads.
    std::uint32_t running() const noexcept {
        return std::atomic_ref(const_cast<std::uint32_t&>(running_)).load(std::memory_order_relaxed);
    }

    /// Whose request is being handled; only inside of a handler.
    const Session& client() const noexcept { return *client_; }

    /// What a handler leaves in `result_len` where it failed.
    static constexpr std::uint32_t kUnset = 0xFFFF'FFFF;

private:
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
        const auto late_at = function.deadline_ns > 0 ? monotonic_ns() + function.deadline_ns : 0;
        const auto max_result = static_cast<std::uint32_t>(response.size() - kFrameHeaderBytes);
        auto* out = response.data() + kFrameHeaderBytes;
        auto* target = has_guard_ && guarded_.size() >= max_result + kGuardBytes ? guarded_.data() : out;
        const auto arg_len = predicted(header.arg_len, usual_arg_len_);
        auto result_len = kUnset;  // a handler that dies before it stores the length is found out
        count(counters_.dispatched);
        client_ = &session;
        std::atomic_ref(running_).store(function.id, std::memory_order_relaxed);
        const auto status = invoke(function, request.data() + kFrameHeaderBytes, target,
                                   arg_len, max_result, result_len, session);
        std::atomic_ref(running_).store(0, std::memory_order_relaxed);
        if ((status < 0 && !function.may_refuse) || result_len > max_result ||
            (target != out && !is_guard_intact(max_result)) ||
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

    static int invoke(const Function& function, const std::byte* in, std::byte* out,
                      std::uint32_t arg_len, std::uint32_t max_result, std::uint32_t& result_len,
                      Session& session) noexcept {
        if (function.call != nullptr) {
            return function.call(in, out, arg_len, max_result, &result_len);
        }
        void* state = function.state != nullptr ? function.state : session.state();
        return function.stateful_call(in, out, arg_len, max_result, &result_len, state);
    }

    bool is_guard_intact(std::uint32_t max_result) noexcept {
        bool is_intact = true;
        for (std::size_t i = 0; i < kGuardBytes; ++i) {
            is_intact &= guarded_[max_result + i] == kGuard;
            guarded_[max_result + i] = kGuard;
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
    const Session* client_ = nullptr;
    bool has_guard_;
    std::vector<std::byte> guarded_;
};

}  // namespace cudaq_target
