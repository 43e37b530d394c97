/// Frames of the wire protocol: 24-byte headers, function ids, statuses. `FORMAT.md` specifies them.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace cudaq_target {

static_assert(std::endian::native == std::endian::little, "frames are little endian");

inline constexpr std::size_t kFrameHeaderBytes = 24;
inline constexpr std::uint32_t kRequestMagic = 0x43555152;
inline constexpr std::uint32_t kResponseMagic = 0x43555153;

/// First word of an answer. 0 to 6 and -1 are CUDA-Q Realtime's; `frame.py` holds the same.
enum class Status : std::int32_t {
    kOk = 0,
    kInvalidDecoder = 1,
    kBadRequest = 2,
    kInternalError = 3,
    kNotReady = 4,
    kBusy = 5,
    kSyndromesDropped = 6,
    kUnknownFunction = -1,
    kBadLength = -2,
    kBadFrame = -3,
    kDeadline = -4,
    kCancelled = -5,
};

struct RequestHeader {
    std::uint32_t magic;
    std::uint32_t function_id;
    std::uint32_t arg_len;
    std::uint32_t request_id;
    std::uint64_t timestamp_ns;
};
struct ResponseHeader {
    std::uint32_t magic;
    std::int32_t status;
    std::uint32_t result_len;
    std::uint32_t request_id;
    std::uint64_t timestamp_ns;
};
static_assert(sizeof(RequestHeader) == kFrameHeaderBytes && sizeof(ResponseHeader) == 24);
static_assert(std::is_trivially_copyable_v<RequestHeader>);

enum class FrameFault { kNone, kMagic, kLength };

/// Reads a value that may be unaligned: payloads start at offset 24 of any buffer.
template <typename Value>
Value load(const void* from) noexcept {
    static_assert(std::is_trivially_copyable_v<Value>);
    Value value;
    std::memcpy(&value, from, sizeof(value));
    return value;
}

template <typename Value>
void store(void* to, const Value& value) noexcept {
    static_assert(std::is_trivially_copyable_v<Value>);
    std::memcpy(to, &value, sizeof(value));
}

/// FNV-1a with 32 bits of the function's name.
constexpr std::uint32_t function_id(std::string_view name) noexcept {
    std::uint32_t hash = 0x811C9DC5;
    for (const char letter : name) {
        hash = (hash ^ static_cast<std::uint8_t>(letter)) * 0x01000193;
    }
    return hash;
}
static_assert(function_id("rpc_increment") == 0x191B6322 && function_id("") == 0x811C9DC5);
static_assert(function_id("enqueue_syndromes") == 0x7ED8BE82);

/// Whether `24 + body_bytes` fits `slot_bytes` and agrees with the `n_bytes` that arrived. Slots
/// and full-stride datagrams are longer than their frame (`is_exact` false), messages are not.
constexpr bool has_right_length(std::uint64_t body_bytes, std::size_t n_bytes,
                                std::size_t slot_bytes, bool is_exact) noexcept {
    const auto frame_bytes = kFrameHeaderBytes + body_bytes;
    return frame_bytes <= slot_bytes && (is_exact ? frame_bytes == n_bytes : frame_bytes <= n_bytes);
}

/// Checks a private copy of a header, so that a faulty peer cannot change what was checked.
constexpr FrameFault check_request(const RequestHeader& copy, std::size_t n_bytes,
                                   std::size_t slot_bytes, bool is_exact) noexcept {
    if (copy.magic != kRequestMagic) {
        return FrameFault::kMagic;
    }
    const bool is_right = has_right_length(copy.arg_len, n_bytes, slot_bytes, is_exact);
    return is_right ? FrameFault::kNone : FrameFault::kLength;
}

constexpr FrameFault check_response(const ResponseHeader& copy, std::size_t n_bytes,
                                    std::size_t slot_bytes, bool is_exact) noexcept {
    if (copy.magic != kResponseMagic) {
        return FrameFault::kMagic;
    }
    const bool is_right = has_right_length(copy.result_len, n_bytes, slot_bytes, is_exact);
    return is_right ? FrameFault::kNone : FrameFault::kLength;
}

/// Writes a header with its magic last, for peers that poll the magic.
template <typename Header>
void write_header(std::byte* to, const Header& header) noexcept {
    std::memcpy(to + sizeof(header.magic),
                reinterpret_cast<const std::byte*>(&header) + sizeof(header.magic),
                sizeof(Header) - sizeof(header.magic));
    std::atomic_signal_fence(std::memory_order_release);  // the compiler keeps the order, too
    store(to, header.magic);
}

}  // namespace cudaq_target
