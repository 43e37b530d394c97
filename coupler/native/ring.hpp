/// Single-producer single-consumer ring of fixed slots over a buffer that the caller provides.
///
/// The buffer may be private memory or memory shared by two processes. All positions are offsets
/// from its start, so the two sides may map it at different addresses. Layout, little endian:
///
///   offset  size  field
///        0     8  magic, "CQTRING\x01"; stored last when a ring is formatted
///        8     4  version of this layout
///       12     4  n_slots, a power of two
///       16     4  slot_bytes, the longest frame
///       20     4  stride_bytes, distance between slots, a multiple of 128
///       24   104  zero
///      128     8  head: frames published since the ring was formatted; the producer writes it
///      136   120  zero
///      256     8  tail: frames consumed since the ring was formatted; the consumer writes it
///      264   120  zero
///      384        n_slots slots: frame, padding to 8 bytes, frame length (u32), zero (u32)
///
/// The length comes last, so that frames start on cache lines: a copy that straddles them takes
/// half as long again.
///
/// Frame number i lives in slot i mod n_slots; head - tail is the number of frames waiting. The
/// counters never wrap in practice: 2^64 frames at 10^9 per second last 584 years.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace cudaq_target {

static_assert(std::endian::native == std::endian::little, "the layout is little endian");
static_assert(std::atomic_ref<std::uint64_t>::is_always_lock_free, "needs 64-bit atomics");

/// Two cache lines: x86-64 fetches lines in pairs, so a neighbour in the pair is shared too.
inline constexpr std::size_t kLineBytes = 128;
inline constexpr std::uint64_t kMagic = 0x01'47'4E'49'52'54'51'43;  // "CQTRING\x01"
inline constexpr std::uint32_t kVersion = 2;
inline constexpr std::uint32_t kMaxSlots = 1U << 24;
inline constexpr std::uint32_t kMaxSlotBytes = 1U << 28;
inline constexpr std::size_t kFrameLengthBytes = 8;

struct Header {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t n_slots;
    std::uint32_t slot_bytes;
    std::uint32_t stride_bytes;
    std::byte pad_geometry[kLineBytes - 24];
    std::uint64_t head;
    std::byte pad_head[kLineBytes - 8];
    std::uint64_t tail;
    std::byte pad_tail[kLineBytes - 8];
};
static_assert(sizeof(Header) == 3 * kLineBytes && std::is_trivially_copyable_v<Header>);
static_assert(offsetof(Header, head) == 128 && offsetof(Header, tail) == 256);
// Padding and not `alignas`: private buffers are aligned to 8 or 16 bytes only, and work too.
// Shared memory starts at a page, where each counter has its own pair of cache lines.
static_assert(alignof(Header) == alignof(std::uint64_t));

/// What is wrong with a buffer or a geometry; `kNone` where nothing is.
enum class Fault {
    kNone,
    kAlignment,
    kBufferBytes,
    kMagic,
    kVersion,
    kSlotCount,
    kSlotBytes,
    kStride,
    kCounters,
};

/// A fault with the value that was found and the bound that it violates.
struct Finding {
    Fault fault = Fault::kNone;
    std::uint64_t found = 0;
    std::uint64_t limit = 0;
};

enum class Push { kDone, kFull, kTooLong };

/// A frame in its slot, with the length as stored there; a faulty peer can store any.
struct Frame {
    const std::byte* start;
    std::uint32_t n_bytes;
};

/// Where in its slot the length of a frame lies.
constexpr std::size_t length_offset(std::uint32_t slot_bytes) noexcept {
    return (std::size_t{slot_bytes} + kFrameLengthBytes - 1) / kFrameLengthBytes * kFrameLengthBytes;
}

constexpr std::size_t stride_for(std::uint32_t slot_bytes) noexcept {
    const auto used = length_offset(slot_bytes) + kFrameLengthBytes;
    return (used + kLineBytes - 1) / kLineBytes * kLineBytes;
}

/// Size of the buffer that a ring of this geometry needs (bytes).
constexpr std::size_t required_bytes(std::uint32_t n_slots, std::uint32_t slot_bytes) noexcept {
    return sizeof(Header) + n_slots * stride_for(slot_bytes);
}

constexpr Finding check_geometry(std::uint32_t n_slots, std::uint32_t slot_bytes) noexcept {
    if (!std::has_single_bit(n_slots) || n_slots > kMaxSlots) {
        return {Fault::kSlotCount, n_slots, kMaxSlots};
    }
    if (slot_bytes == 0 || slot_bytes > kMaxSlotBytes) {
        return {Fault::kSlotBytes, slot_bytes, kMaxSlotBytes};
    }
    return {};
}

inline Finding check_buffer(std::span<std::byte> buffer, std::size_t needed_bytes) noexcept {
    if (buffer.size() < needed_bytes) {
        return {Fault::kBufferBytes, buffer.size(), needed_bytes};
    }
    const auto address = reinterpret_cast<std::uintptr_t>(buffer.data());
    if (address % alignof(std::uint64_t) != 0) {
        return {Fault::kAlignment, address % alignof(std::uint64_t), alignof(std::uint64_t)};
    }
    return {};
}

/// Writes an empty ring into `buffer`. No other side may be attached.
inline Finding format(std::span<std::byte> buffer, std::uint32_t n_slots,
                      std::uint32_t slot_bytes) noexcept {
    if (const auto wrong = check_geometry(n_slots, slot_bytes); wrong.fault != Fault::kNone) {
        return wrong;
    }
    const auto needed = required_bytes(n_slots, slot_bytes);
    if (const auto wrong = check_buffer(buffer, needed); wrong.fault != Fault::kNone) {
        return wrong;
    }
    auto* header = reinterpret_cast<Header*>(buffer.data());
    std::atomic_ref magic(header->magic);
    magic.store(0, std::memory_order_relaxed);
    // The zero must be seen before any field changes, so that nobody attaches to half a header.
    std::atomic_thread_fence(std::memory_order_release);
    std::memset(buffer.data() + sizeof(header->magic), 0, sizeof(Header) - sizeof(header->magic));
    header->version = kVersion;
    header->n_slots = n_slots;
    header->slot_bytes = slot_bytes;
    header->stride_bytes = static_cast<std::uint32_t>(stride_for(slot_bytes));
    // Release: pairs with the acquire load of the magic in `Ring::attach`.
    magic.store(kMagic, std::memory_order_release);
    return {};
}

/// A validated view of a formatted ring. The geometry is a private copy: a faulty peer that writes
/// into the header later cannot move our accesses out of the buffer.
class Ring {
public:
    /// Checks every field of the header before anything is trusted.
    static Finding attach(std::span<std::byte> buffer, std::optional<Ring>& ring) noexcept {
        if (const auto wrong = check_buffer(buffer, sizeof(Header)); wrong.fault != Fault::kNone) {
            return wrong;
        }
        auto* header = reinterpret_cast<Header*>(buffer.data());
        // Acquire: pairs with the release store of the magic in `format`.
        const auto magic = std::atomic_ref(header->magic).load(std::memory_order_acquire);
        if (magic != kMagic) {
            return {Fault::kMagic, magic, kMagic};
        }
        if (header->version != kVersion) {
            return {Fault::kVersion, header->version, kVersion};
        }
        const auto n_slots = header->n_slots;
        const auto slot_bytes = header->slot_bytes;
        if (const auto wrong = check_geometry(n_slots, slot_bytes); wrong.fault != Fault::kNone) {
            return wrong;
        }
        if (header->stride_bytes != stride_for(slot_bytes)) {
            return {Fault::kStride, header->stride_bytes, stride_for(slot_bytes)};
        }
        const auto needed = required_bytes(n_slots, slot_bytes);
        if (const auto wrong = check_buffer(buffer, needed); wrong.fault != Fault::kNone) {
            return wrong;
        }
        Ring candidate(buffer.data(), n_slots, slot_bytes);
        if (const auto waiting = candidate.n_waiting(); waiting > n_slots) {
            return {Fault::kCounters, waiting, n_slots};
        }
        ring = candidate;
        return {};
    }

    std::uint32_t n_slots() const noexcept { return mask_ + 1; }
    std::uint32_t slot_bytes() const noexcept { return slot_bytes_; }

    /// Frames published and not yet consumed. Exact for the two sides that hold still; for an
    /// observer a snapshot. Tail first: it can only grow up to the head that is read after it.
    std::uint64_t n_waiting() const noexcept {
        // Acquire both: pairs with the release stores in `Producer::publish`, `Consumer::release`.
        const auto consumed = std::atomic_ref(header_->tail).load(std::memory_order_acquire);
        const auto published = std::atomic_ref(header_->head).load(std::memory_order_acquire);
        return published - consumed;
    }

protected:
    std::byte* slot(std::uint64_t sequence) const noexcept {
        return slots_ + (sequence & mask_) * stride_;
    }

    Header* header_;
    std::size_t length_at_;

private:
    Ring(std::byte* start, std::uint32_t n_slots, std::uint32_t slot_bytes) noexcept
        : header_(reinterpret_cast<Header*>(start)),
          length_at_(length_offset(slot_bytes)),
          slots_(start + sizeof(Header)),
          stride_(stride_for(slot_bytes)),
          mask_(n_slots - 1),
          slot_bytes_(slot_bytes) {}

    std::byte* slots_;
    std::size_t stride_;
    std::uint32_t mask_;
    std::uint32_t slot_bytes_;
};

/// The writing side; exactly one per ring, used by one thread at a time.
class Producer : public Ring {
public:
    explicit Producer(const Ring& ring) noexcept
        : Ring(ring),
          head_(std::atomic_ref(header_->head).load(std::memory_order_relaxed)),
          // Acquire: pairs with the release store of the tail in `Consumer::release`.
          known_tail_(std::atomic_ref(header_->tail).load(std::memory_order_acquire)) {}

    /// Copies one frame into the next slot; nothing is overwritten when the ring is full.
    Push push(std::span<const std::byte> frame) noexcept {
        if (frame.size() > slot_bytes()) {
            return Push::kTooLong;
        }
        if (is_full()) {
            return Push::kFull;
        }
        auto* place = slot(head_);
        const auto length = static_cast<std::uint32_t>(frame.size());
        std::memcpy(place + length_at_, &length, sizeof(length));
        if (!frame.empty()) {
            std::memcpy(place, frame.data(), frame.size());
        }
        publish();
        return Push::kDone;
    }

    /// Whether every slot holds a frame. Reads the shared tail only when the private copy says so.
    bool is_full() noexcept {
        if (head_ - known_tail_ < n_slots()) {
            return false;
        }
        // Acquire: pairs with the release store of the tail in `Consumer::release`, so that our
        // next write into the slot comes after the consumer's last read of it.
        known_tail_ = std::atomic_ref(header_->tail).load(std::memory_order_acquire);
        return head_ - known_tail_ >= n_slots();
    }

private:
    void publish() noexcept {
        ++head_;
        // Release: pairs with the acquire load of the head in `Consumer::is_empty`; the frame is
        // visible before the count that announces it.
        std::atomic_ref(header_->head).store(head_, std::memory_order_release);
    }

    std::uint64_t head_;
    std::uint64_t known_tail_;
};

/// The reading side; exactly one per ring, used by one thread at a time.
class Consumer : public Ring {
public:
    explicit Consumer(const Ring& ring) noexcept
        : Ring(ring),
          // Acquire: pairs with the release store of the head in `Producer::publish`.
          known_head_(std::atomic_ref(header_->head).load(std::memory_order_acquire)),
          tail_(std::atomic_ref(header_->tail).load(std::memory_order_relaxed)) {}

    /// Whether no frame waits. Reads the shared head only when the private copy says so.
    bool is_empty() noexcept {
        if (tail_ != known_head_) {
            return false;
        }
        // Acquire: pairs with the release store of the head in `Producer::publish`.
        known_head_ = std::atomic_ref(header_->head).load(std::memory_order_acquire);
        return tail_ == known_head_;
    }

    /// The oldest frame, in place; valid until `release`. Only after `is_empty()` was false.
    /// The length is read once; the caller compares it with `slot_bytes()` before any access.
    Frame front() const noexcept {
        const auto* place = slot(tail_);
        Frame frame{place, 0};
        std::memcpy(&frame.n_bytes, place + length_at_, sizeof(frame.n_bytes));
        return frame;
    }

    /// Gives the oldest slot back. Only after `is_empty()` was false.
    void release() noexcept {
        ++tail_;
        // Release: pairs with the acquire load of the tail in `Producer::is_full`; our reads of
        // the slot are over before the producer may write it again.
        std::atomic_ref(header_->tail).store(tail_, std::memory_order_release);
    }

private:
    std::uint64_t known_head_;
    std::uint64_t tail_;
};

}  // namespace cudaq_target
