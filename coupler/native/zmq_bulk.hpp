/// Batches of shots in one direction: PUSH cuts rows into frames, PULL joins frames into rows.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "frame.hpp"
#include "handlers.hpp"
#include "zmq_socket.hpp"

namespace cudaq_target {

inline constexpr std::uint32_t kShotBatchId = function_id("shot_batch");
inline constexpr std::size_t kBatchOffset = kFrameHeaderBytes;
inline constexpr std::size_t kRowsOffset = kFrameHeaderBytes + sizeof(ShotBatchHeader);

struct BulkCounters {
    std::uint64_t frames = 0;      ///< sent, or received and well-formed
    std::uint64_t stalls = 0;      ///< times that the queue was full, or nobody connected
    std::uint64_t lost_frames = 0; ///< numbers that were skipped
    std::uint64_t bad_frames = 0;  ///< dropped: several parts, or a length or bit that is wrong
};

/// Sends frames with consecutive numbers in `request_id`.
class BulkSender {
public:
    explicit BulkSender(ZmqSocket push) noexcept : push_(push) {}

    /// Shots handed over, in frames of at most `max_batch`; fewer than given when the queue is full.
    std::size_t send_rows(ShotBatchHeader header, std::span<const std::uint64_t> rows,
                          std::size_t n_shots, std::size_t max_batch) noexcept {
        const auto n_words = n_shots == 0 ? 0 : rows.size() / n_shots;
        std::size_t n_sent = 0;
        do {
            const auto n_now = std::min(max_batch, n_shots - n_sent);
            const auto body = rows.subspan(n_sent * n_words, n_now * n_words);
            header.n_shots = static_cast<std::uint32_t>(n_now);
            std::array<std::byte, sizeof(header)> head;
            store(head.data(), header);
            if (!send(kShotBatchId, head, std::as_bytes(body))) {
                return n_sent;
            }
            header.first_shot_id += n_now;
            n_sent += n_now;
        } while (n_sent < n_shots);
        return n_sent;
    }

    /// False where there is no room. The only copy is the one into libzmq's message.
    bool send(std::uint32_t function, std::span<const std::byte> head,
              std::span<const std::byte> body) noexcept {
        const auto& api = push_.api();
        const auto n_bytes = head.size() + body.size();
        ZmqMessage message;
        if (api.msg_init_size(&message, kFrameHeaderBytes + n_bytes) != 0) {
            count(counters_.stalls);
            return false;
        }
        auto* to = static_cast<std::byte*>(api.msg_data(&message));
        store(to, RequestHeader{kRequestMagic, function, static_cast<std::uint32_t>(n_bytes),
                                number_, 0});
        std::copy(head.begin(), head.end(), to + kFrameHeaderBytes);
        std::copy(body.begin(), body.end(), to + kFrameHeaderBytes + head.size());
        if (!push_.send(message)) {
            api.msg_close(&message);
            count(counters_.stalls);
            return false;
        }
        ++number_;
        count(counters_.frames);
        return true;
    }

    bool is_broken() const noexcept { return push_.error() != 0 && push_.is_broken(); }
    int error() const noexcept { return push_.error(); }
    const BulkCounters& counters() const noexcept { return counters_; }

private:
    ZmqSocket push_;
    std::uint32_t number_ = 0;
    BulkCounters counters_;
};

/// Receives frames; consecutive batches of one stream come as one.
class BulkReceiver {
public:
    enum class Got { kNothing, kRows, kMessage, kBroken };
    /// Longer frames keep libzmq's memory, shorter ones are joined. Measured on two cores over tcp,
    /// medians of five: kept frames came as fast at 64 KiB, 1.4 times as fast at 256 KiB and 1.5
    /// times at 1 MiB.
    static constexpr std::size_t kKeepBytes = std::size_t{256} << 10;

    BulkReceiver(ZmqSocket pull, std::size_t max_words) : pull_(pull), max_words_(max_words) {
        joined_.reserve(max_words);
        renew();
    }

    /// Waits for at most `timeout_ms`, then takes what is there.
    Got receive(int timeout_ms) noexcept {
        joined_.clear();
        is_kept_ = false;
        if (!is_ahead_ && !next(timeout_ms)) {
            return pull_.is_broken() ? Got::kBroken : Got::kNothing;
        }
        is_ahead_ = false;
        if (load<RequestHeader>(part_->bytes().data()).function_id != kShotBatchId) {
            return Got::kMessage;
        }
        header_ = load<ShotBatchHeader>(part_->bytes().data() + kBatchOffset);
        const auto rows = part_->bytes().subspan(kRowsOffset);
        if (rows.size() >= kKeepBytes || rows.size() > max_words_ * sizeof(std::uint64_t)) {
            is_kept_ = true;
            return Got::kRows;
        }
        append(rows);
        while (next(0)) {
            if (!continues()) {
                is_ahead_ = true;
                break;
            }
            append(part_->bytes().subspan(kRowsOffset));
            header_.n_shots += load<ShotBatchHeader>(part_->bytes().data() + kBatchOffset).n_shots;
        }
        return Got::kRows;
    }

    /// After `kRows`: what is common to all rows.
    const ShotBatchHeader& header() const noexcept { return header_; }
    bool is_kept() const noexcept { return is_kept_; }
    std::span<const std::uint64_t> joined() const noexcept { return joined_; }
    /// After `kMessage`, or where the rows stay in their message.
    std::span<const std::byte> frame() const noexcept { return part_->bytes(); }
    /// Gives the message away.
    std::unique_ptr<ZmqPart> take() {
        auto taken = std::move(part_);
        renew();
        return taken;
    }
    int error() const noexcept { return pull_.error(); }
    const BulkCounters& counters() const noexcept { return counters_; }

private:
    static constexpr std::size_t kMaxStreams = 64;
    struct Stream {
        std::uint64_t session;
        std::uint32_t expected;
    };

    void renew() { part_ = std::make_unique<ZmqPart>(pull_.api()); }

    /// The next well-formed frame is in `part_`; false where none is there.
    bool next(int timeout_ms) noexcept {
        while (pull_.receive(*part_, timeout_ms)) {
            if (!part_->has_more() && is_well_formed(part_->bytes())) {
                count(counters_.frames);
                follow();
                return true;
            }
            pull_.drop_rest(*part_);
            count(counters_.bad_frames);
        }
        return false;
    }

    static bool is_well_formed(std::span<const std::byte> frame) noexcept {
        if (frame.size() < kFrameHeaderBytes + sizeof(std::uint64_t)) {
            return false;
        }
        const auto header = load<RequestHeader>(frame.data());
        if (check_request(header, frame.size(), frame.size(), true) != FrameFault::kNone) {
            return false;
        }
        return header.function_id != kShotBatchId || is_batch(frame.subspan(kBatchOffset));
    }

    static bool is_batch(std::span<const std::byte> payload) noexcept {
        if (payload.size() < sizeof(ShotBatchHeader)) {
            return false;
        }
        const auto batch = load<ShotBatchHeader>(payload.data());
        const auto n_words = (std::uint64_t{batch.n_qubits} + 63) / 64;
        if (batch.n_qubits == 0 || batch.first_shot_id + batch.n_shots < batch.first_shot_id ||
            payload.size() != sizeof(ShotBatchHeader) + 8 * n_words * batch.n_shots) {
            return false;
        }
        const auto n_spare = 64 * n_words - batch.n_qubits;
        std::uint64_t spare_bits = 0;
        const auto* last = payload.data() + sizeof(ShotBatchHeader) + 8 * (n_words - 1);
        for (std::uint32_t shot = 0; n_spare > 0 && shot < batch.n_shots; ++shot) {
            spare_bits |= load<std::uint64_t>(last + 8 * n_words * shot);
        }
        return n_spare == 0 || spare_bits >> (64 - n_spare) == 0;
    }

    /// Counts the frames that are missing in front of this one. Every payload starts with its stream.
    void follow() noexcept {
        const auto number = load<RequestHeader>(part_->bytes().data()).request_id;
        const auto session = load<std::uint64_t>(part_->bytes().data() + kFrameHeaderBytes);
        auto stream = std::find_if(streams_.begin(), streams_.begin() + n_streams_,
                                   [&](const Stream& one) { return one.session == session; });
        if (stream == streams_.begin() + n_streams_) {
            // The first frame that is heard of a stream need not be its first.
            stream = n_streams_ < kMaxStreams ? streams_.begin() + n_streams_++
                                              : streams_.begin() + next_stream_++ % kMaxStreams;
            *stream = Stream{session, number};
        }
        const auto n_ahead = number - stream->expected;
        if (n_ahead < 0x8000'0000U) {  // else its sender started anew, and counts from 0
            counters_.lost_frames += n_ahead;
        }
        stream->expected = number + 1;
    }

    bool continues() const noexcept {
        const auto frame = part_->bytes();
        if (load<RequestHeader>(frame.data()).function_id != kShotBatchId) {
            return false;
        }
        const auto batch = load<ShotBatchHeader>(frame.data() + kBatchOffset);
        return batch.session == header_.session && batch.n_qubits == header_.n_qubits &&
               batch.first_shot_id == header_.first_shot_id + header_.n_shots &&
               (frame.size() - kRowsOffset) / 8 <= max_words_ - std::min(max_words_, joined_.size());
    }

    void append(std::span<const std::byte> rows) noexcept {
        const auto at = joined_.size();
        joined_.resize(at + rows.size() / sizeof(std::uint64_t));
        if (!rows.empty()) {
            std::memcpy(joined_.data() + at, rows.data(), rows.size());
        }
    }

    ZmqSocket pull_;
    std::size_t max_words_;
    std::unique_ptr<ZmqPart> part_;
    bool is_ahead_ = false;
    bool is_kept_ = false;
    ShotBatchHeader header_{};
    std::vector<std::uint64_t> joined_;
    std::array<Stream, kMaxStreams> streams_;
    std::size_t n_streams_ = 0;
    std::size_t next_stream_ = 0;
    BulkCounters counters_;
};

}  // namespace cudaq_target
