/// A named segment of POSIX shared memory with a control block that says what it holds.
///
/// Layout, little endian; the ring of the segment's kind follows at offset 4096:
///
///   offset  size  field
///        0     8  magic, "CQTSHM\x00\x01"; stored last, so that nobody attaches to half a segment
///        8     4  version of this layout
///       12     4  kind: 1 slot and flag ring, 2 frame ring
///       16     4  n_slots
///       20     4  rx_stride_bytes: distance of request slots; slot_bytes of a frame ring
///       24     4  tx_stride_bytes: distance of answer slots; 0 in a frame ring
///       28     4  zero
///       32     8  size of the segment (bytes)
///       40     8  owner: stamp of the process that made the segment
///      128     8  producer: stamp of the process that writes requests or frames
///      136     4  session: raised by each new producer
///      140     4  how the producer wakes the consumer, a `Wakes`
///      256     8  consumer: stamp of the process that answers or reads
///      264     4  how the consumer wakes the producer
///      384     4  whether the consumer sleeps
///      512     4  whether the producer sleeps
///      640     8  requests that the consumer has answered
///
/// A name is taken by a live owner only: a segment whose owner died is replaced.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "process.hpp"
#include "ring.hpp"

namespace cudaq_target {

inline constexpr std::uint64_t kSegmentMagic = 0x01'00'4D'48'53'54'51'43;  // "CQTSHM\x00\x01"
inline constexpr std::uint32_t kSegmentVersion = 2;
inline constexpr std::size_t kControlBytes = 4096;
inline constexpr mode_t kSegmentMode = 0600;
inline constexpr std::string_view kSegmentPrefix = "/cudaq-target-";
inline constexpr std::size_t kLongestName = 128;

enum class Kind : std::uint32_t { kSlotRing = 1, kFrameRing = 2 };

struct ControlBlock {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t kind;
    std::uint32_t n_slots;
    std::uint32_t rx_stride_bytes;
    std::uint32_t tx_stride_bytes;
    std::uint32_t reserved;
    std::uint64_t total_bytes;
    ProcessStamp owner;
    std::byte pad_owner[kLineBytes - 48];
    ProcessStamp producer;
    std::uint32_t session;
    std::uint32_t producer_wakes;
    std::byte pad_producer[kLineBytes - 16];
    ProcessStamp consumer;
    std::uint32_t consumer_wakes;
    std::byte pad_consumer[kLineBytes - 12];
    std::uint32_t consumer_asleep;
    std::byte pad_consumer_asleep[kLineBytes - 4];
    std::uint32_t producer_asleep;
    std::byte pad_producer_asleep[kLineBytes - 4];
    std::uint64_t n_answered;
    std::byte pad_answered[kLineBytes - 8];
};
static_assert(offsetof(ControlBlock, producer) == 128 && offsetof(ControlBlock, consumer) == 256);
static_assert(offsetof(ControlBlock, n_answered) == 640 && sizeof(ControlBlock) <= kControlBytes);

struct Geometry {
    Kind kind;
    std::uint32_t n_slots;
    std::uint32_t rx_stride_bytes;
    std::uint32_t tx_stride_bytes;
};

/// Requires power-of-two or 128-byte strides to have been checked.
constexpr std::size_t data_bytes(const Geometry& g) noexcept {
    if (g.kind == Kind::kFrameRing) {
        return required_bytes(g.n_slots, g.rx_stride_bytes);
    }
    const auto flags = (g.n_slots * sizeof(std::uint64_t) + kLineBytes - 1) / kLineBytes * kLineBytes;
    return 2 * flags + std::size_t{g.n_slots} * (g.rx_stride_bytes + g.tx_stride_bytes);
}

enum class SegmentFault {
    kNone,
    kName,
    kMissing,
    kInUse,
    kStale,
    kOwner,
    kMode,
    kSize,
    kMagic,
    kVersion,
    kKind,
    kSlotCount,
    kRxStride,
    kTxStride,
    kSystem,
};

/// What is wrong with a segment: the value found and what it should be, or `errno`.
struct SegmentFinding {
    SegmentFault fault = SegmentFault::kNone;
    std::uint64_t found = 0;
    std::uint64_t expected = 0;
};

constexpr SegmentFinding check_stride(SegmentFault fault, std::uint32_t stride) noexcept {
    if (stride % kLineBytes != 0 || stride == 0 || stride > kMaxSlotBytes) {
        return {fault, stride, kMaxSlotBytes};
    }
    return {};
}

constexpr SegmentFinding check_geometry(const Geometry& g) noexcept {
    if (g.kind == Kind::kFrameRing) {
        const auto wrong = check_geometry(g.n_slots, g.rx_stride_bytes);
        if (wrong.fault != Fault::kNone) {
            const bool slots = wrong.fault == Fault::kSlotCount;
            return {slots ? SegmentFault::kSlotCount : SegmentFault::kRxStride, wrong.found,
                    wrong.limit};
        }
        return {};
    }
    if (g.kind != Kind::kSlotRing) {
        return {SegmentFault::kKind, static_cast<std::uint32_t>(g.kind), 1};
    }
    if (g.n_slots == 0 || g.n_slots > kMaxSlots) {
        return {SegmentFault::kSlotCount, g.n_slots, kMaxSlots};
    }
    const auto rx = check_stride(SegmentFault::kRxStride, g.rx_stride_bytes);
    return rx.fault != SegmentFault::kNone ? rx
                                           : check_stride(SegmentFault::kTxStride, g.tx_stride_bytes);
}

inline Geometry geometry_of(const ControlBlock& control) noexcept {
    return {static_cast<Kind>(control.kind), control.n_slots, control.rx_stride_bytes,
            control.tx_stride_bytes};
}

inline std::size_t segment_bytes(const Geometry& geometry) noexcept {
    return kControlBytes + data_bytes(geometry);
}

/// Makes an empty segment in zeroed memory of `segment_bytes`, aligned to a line.
inline void format_segment(std::span<std::byte> memory, const Geometry& g, ProcessStamp owner) noexcept {
    auto* control = new (memory.data()) ControlBlock{};
    control->version = kSegmentVersion;
    control->kind = static_cast<std::uint32_t>(g.kind);
    control->n_slots = g.n_slots;
    control->rx_stride_bytes = g.rx_stride_bytes;
    control->tx_stride_bytes = g.tx_stride_bytes;
    control->total_bytes = memory.size();
    control->owner = owner;
    if (g.kind == Kind::kFrameRing) {
        format(memory.subspan(kControlBytes), g.n_slots, g.rx_stride_bytes);
    }
    // Release: pairs with the acquire load of the magic in `check_segment`.
    std::atomic_ref(control->magic).store(kSegmentMagic, std::memory_order_release);
}

/// Checks a mapped segment; the geometry is copied first, a faulty peer could change it.
inline SegmentFinding check_segment(std::span<std::byte> memory, Kind kind, Geometry& copy) noexcept {
    if (memory.size() < kControlBytes) {
        return {SegmentFault::kSize, memory.size(), kControlBytes};
    }
    auto& control = *reinterpret_cast<ControlBlock*>(memory.data());
    // Acquire: pairs with the release store of the magic in `format_segment`.
    const auto magic = std::atomic_ref(control.magic).load(std::memory_order_acquire);
    if (magic != kSegmentMagic) {
        return {SegmentFault::kMagic, magic, kSegmentMagic};
    }
    if (control.version != kSegmentVersion) {
        return {SegmentFault::kVersion, control.version, kSegmentVersion};
    }
    copy = geometry_of(control);
    if (copy.kind != kind) {
        return {SegmentFault::kKind, control.kind, static_cast<std::uint32_t>(kind)};
    }
    if (const auto wrong = check_geometry(copy); wrong.fault != SegmentFault::kNone) {
        return wrong;
    }
    const auto expected = segment_bytes(copy);
    if (control.total_bytes != expected || memory.size() != expected) {
        return {SegmentFault::kSize, memory.size(), expected};
    }
    return {};
}

/// Takes a role for this process. 0 on success, else the live process that has it.
inline ProcessStamp claim(ProcessStamp& role, ProcessStamp self) noexcept {
    std::atomic_ref word(role);
    auto holder = word.load(std::memory_order_acquire);
    while (!is_alive(holder)) {
        // Acquire and release: what the last holder wrote before `release_role` is seen by us.
        if (word.compare_exchange_strong(holder, self, std::memory_order_acq_rel)) {
            return 0;
        }
    }
    return holder;
}

inline void release_role(ProcessStamp& role, ProcessStamp self) noexcept {
    // Pairs with the acquire loads in `claim` and of whoever asks for a dead peer.
    std::atomic_ref(role).compare_exchange_strong(self, 0, std::memory_order_acq_rel);
}

/// A mapping of a named segment.
class Segment {
public:
    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;
    ~Segment() {
        if (maker_ == getpid()) {
            unlink();
        }
        if (!memory_.empty()) {
            munmap(memory_.data(), memory_.size());
        }
    }

    static SegmentFinding create(std::string_view name, const Geometry& geometry,
                                 std::unique_ptr<Segment>& out) {
        if (!is_name(name)) {
            return {SegmentFault::kName, name.size(), kLongestName};
        }
        if (const auto wrong = check_geometry(geometry); wrong.fault != SegmentFault::kNone) {
            return wrong;
        }
        const auto path = path_of(name);
        for (;;) {
            const File file(shm_open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, kSegmentMode));
            if (file.number >= 0) {
                if (!file.lock_if_current(path)) {
                    continue;  // somebody took the empty file for an abandoned one
                }
                return fill(file, path, geometry, out);
            }
            if (errno != EEXIST) {
                return system_finding();
            }
            const auto wrong = remove_stale(path);
            if (wrong.fault != SegmentFault::kNone && wrong.fault != SegmentFault::kMissing) {
                return wrong;
            }
        }
    }

    static SegmentFinding attach(std::string_view name, Kind kind, std::unique_ptr<Segment>& out) {
        if (!is_name(name)) {
            return {SegmentFault::kName, name.size(), kLongestName};
        }
        const auto path = path_of(name);
        const File file(shm_open(path.c_str(), O_RDWR, 0));
        if (const auto wrong = file.check_access(); wrong.fault != SegmentFault::kNone) {
            return wrong;
        }
        auto segment = map(file, path);
        if (!segment) {
            return system_finding();
        }
        Geometry geometry{};
        const auto wrong = check_segment(segment->memory_, kind, geometry);
        if (wrong.fault != SegmentFault::kNone) {
            return wrong;
        }
        const auto owner = segment->control().owner;
        if (!is_alive(owner)) {
            return {SegmentFault::kStale, static_cast<std::uint64_t>(pid_of(owner)), 0};
        }
        out = std::move(segment);
        return {};
    }

    /// Removes the name, if it still means this segment. Whoever is attached keeps the memory.
    bool unlink() noexcept {
        const File file(shm_open(path_.c_str(), O_RDWR, 0));
        if (file.number < 0 || file.inode() != inode_ || !file.lock_if_current(path_)) {
            return false;
        }
        return shm_unlink(path_.c_str()) == 0;
    }

    ControlBlock& control() noexcept { return *reinterpret_cast<ControlBlock*>(memory_.data()); }
    std::span<std::byte> memory() noexcept { return memory_; }

private:
    /// A file descriptor that closes itself.
    struct File {
        explicit File(int descriptor) noexcept : number(descriptor) {}
        File(const File&) = delete;
        File& operator=(const File&) = delete;
        ~File() {
            if (number >= 0) {
                flock(number, LOCK_UN);  // a mapping keeps the lock of a closed file
                close(number);
            }
        }
        std::uint64_t inode() const noexcept {
            struct stat facts{};
            return fstat(number, &facts) == 0 ? facts.st_ino : 0;
        }
        /// Locks the file, for as long as it is open, if `path` still names it then. Names are
        /// removed under this lock only, so that nobody removes another's new segment.
        bool lock_if_current(const std::string& path) const noexcept {
            flock(number, LOCK_EX);
            const File current(shm_open(path.c_str(), O_RDWR, 0));
            return current.number >= 0 && current.inode() == inode();
        }
        SegmentFinding check_access() const noexcept {
            if (number < 0) {
                return errno == ENOENT ? SegmentFinding{SegmentFault::kMissing} : system_finding();
            }
            struct stat facts{};
            if (fstat(number, &facts) != 0) {
                return system_finding();
            }
            if (facts.st_uid != geteuid()) {
                return {SegmentFault::kOwner, facts.st_uid, geteuid()};
            }
            if ((facts.st_mode & 0777) != kSegmentMode) {
                return {SegmentFault::kMode, facts.st_mode & 0777, kSegmentMode};
            }
            return {};
        }
        int number;
    };

    Segment(std::span<std::byte> memory, std::string path, std::uint64_t inode)
        : memory_(memory), path_(std::move(path)), inode_(inode) {}

    static SegmentFinding system_finding() noexcept {
        return {SegmentFault::kSystem, static_cast<std::uint64_t>(errno), 0};
    }

    static bool is_name(std::string_view name) noexcept {
        constexpr auto is_plain = [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                   c == '-' || c == '_' || c == '.';
        };
        return !name.empty() && name.size() <= kLongestName && std::ranges::all_of(name, is_plain);
    }

    static std::string path_of(std::string_view name) {
        return std::string(kSegmentPrefix) + std::string(name);
    }

    static std::unique_ptr<Segment> map(const File& file, const std::string& path) {
        struct stat facts{};
        if (fstat(file.number, &facts) != 0) {
            return nullptr;
        }
        const auto n_bytes = static_cast<std::size_t>(facts.st_size);
        if (n_bytes < kControlBytes) {
            return std::unique_ptr<Segment>(new Segment({}, path, file.inode()));
        }
        void* start = mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.number, 0);
        if (start == MAP_FAILED) {
            return nullptr;
        }
        return std::unique_ptr<Segment>(
            new Segment({static_cast<std::byte*>(start), n_bytes}, path, file.inode()));
    }

    static SegmentFinding fill(const File& file, const std::string& path, const Geometry& geometry,
                               std::unique_ptr<Segment>& out) {
        const auto n_bytes = static_cast<off_t>(segment_bytes(geometry));
#if defined(__linux__)
        errno = posix_fallocate(file.number, 0, n_bytes);  // a full disk shows here, not as SIGBUS
        const bool is_sized = errno == 0;
#else
        const bool is_sized = ftruncate(file.number, n_bytes) == 0;
#endif
        auto segment = is_sized ? map(file, path) : nullptr;
        if (!segment) {
            const auto finding = system_finding();
            shm_unlink(path.c_str());
            return finding;
        }
        format_segment(segment->memory_, geometry, own_stamp());
        segment->maker_ = getpid();
        out = std::move(segment);
        return {};
    }

    static SegmentFinding remove_stale(const std::string& path) {
        const File file(shm_open(path.c_str(), O_RDWR, 0));
        if (const auto wrong = file.check_access(); wrong.fault != SegmentFault::kNone) {
            return wrong;
        }
        if (!file.lock_if_current(path)) {
            return {};
        }
        auto segment = map(file, path);
        if (!segment) {
            return system_finding();
        }
        // Under the lock a segment without a magic is no longer being made: its maker died.
        if (segment->memory_.size() >= kControlBytes) {
            const auto& control = segment->control();
            if (control.magic != 0 && control.magic != kSegmentMagic) {
                return {SegmentFault::kMagic, control.magic, kSegmentMagic};
            }
            if (control.magic != 0 && is_alive(control.owner)) {
                return {SegmentFault::kInUse, static_cast<std::uint64_t>(pid_of(control.owner)), 0};
            }
        }
        return shm_unlink(path.c_str()) == 0 ? SegmentFinding{} : system_finding();
    }

    std::span<std::byte> memory_;
    std::string path_;
    std::uint64_t inode_;
    pid_t maker_ = 0;  ///< the process that removes the name at the end; 0 in others
};

}  // namespace cudaq_target
