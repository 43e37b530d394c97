/// Python face of named segments: `SlotRing` and `FrameSegment`.
#pragma once

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "binding.hpp"
#include "slot_ring.hpp"

namespace cudaq_target::binding {

using namespace nb::literals;
using Bytes = nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<1>, nb::device::cpu>;

inline const char* field_name(SegmentFault fault) {
    switch (fault) {
        case SegmentFault::kName: return "length of the name";
        case SegmentFault::kOwner: return "owner (user id)";
        case SegmentFault::kMode: return "permissions";
        case SegmentFault::kSize: return "size (bytes)";
        case SegmentFault::kMagic: return "magic";
        case SegmentFault::kVersion: return "layout version";
        case SegmentFault::kKind: return "kind of ring";
        case SegmentFault::kSlotCount: return "n_slots";
        case SegmentFault::kRxStride: return "rx_stride_bytes";
        case SegmentFault::kTxStride: return "tx_stride_bytes";
        default: return "";
    }
}

inline std::string expectation(const SegmentFinding& finding, Kind kind) {
    const auto limit = std::to_string(finding.expected);
    switch (finding.fault) {
        case SegmentFault::kName: return "1 to " + limit + " letters, digits, '-', '_' and '.'";
        case SegmentFault::kMode: return "0o600: read and write for the owner alone";
        case SegmentFault::kSlotCount:
            return (kind == Kind::kFrameRing ? "a power of two up to " : "1 to ") + limit;
        case SegmentFault::kRxStride:
        case SegmentFault::kTxStride:
            return (kind == Kind::kFrameRing ? "1 to " : "a multiple of 128 up to ") + limit;
        case SegmentFault::kMagic: return limit + ", which `create` writes";
        default: return limit;
    }
}

inline std::string found_text(const SegmentFinding& finding) {
    if (finding.fault != SegmentFault::kMode) {
        return std::to_string(finding.found);
    }
    char octal[16];
    std::snprintf(octal, sizeof(octal), "0o%o", static_cast<unsigned>(finding.found));
    return octal;
}

inline void raise_if_wrong(const SegmentFinding& finding, const std::string& name, Kind kind) {
    switch (finding.fault) {
        case SegmentFault::kNone: return;
        case SegmentFault::kMissing: raise("SegmentMissingError", name);
        case SegmentFault::kInUse: raise("SegmentInUseError", name, finding.found);
        case SegmentFault::kStale: raise("SegmentStaleError", name, finding.found);
        case SegmentFault::kSystem:
            raise("SegmentSystemError", name, std::strerror(static_cast<int>(finding.found)));
        default:
            raise("SegmentFormatError", name, field_name(finding.fault), found_text(finding),
                  expectation(finding, kind));
    }
}

/// A segment of one kind; two kinds are two Python classes.
template <Kind kKind>
struct Mapped {
    std::string name;
    std::shared_ptr<Segment> segment;

    static Mapped create(const std::string& name, const Geometry& geometry) {
        std::unique_ptr<Segment> made;
        raise_if_wrong(Segment::create(name, geometry, made), name, kKind);
        return {name, std::move(made)};
    }
    static Mapped attach(const std::string& name) {
        std::unique_ptr<Segment> found;
        raise_if_wrong(Segment::attach(name, kKind, found), name, kKind);
        return {name, std::move(found)};
    }
    ControlBlock& control() const { return segment->control(); }
};
using MappedSlotRing = Mapped<Kind::kSlotRing>;
using MappedFrames = Mapped<Kind::kFrameRing>;

/// Takes a role or raises, naming the process that has it.
inline void claim_or_raise(ProcessStamp& role, const std::string& name, const char* what) {
    if (const auto holder = claim(role, own_stamp()); holder != 0) {
        raise("RoleTakenError", name, what, pid_of(holder));
    }
}

inline ProcessStamp& role_word(ControlBlock& control, const std::string& role) {
    if (role == "producer") {
        return control.producer;
    }
    if (role == "consumer") {
        return control.consumer;
    }
    throw nb::value_error("role is 'producer' or 'consumer'");
}

inline std::int32_t live_pid(ProcessStamp& role) {
    const auto stamp = std::atomic_ref(role).load(std::memory_order_acquire);
    return is_alive(stamp) ? pid_of(stamp) : 0;
}

template <Kind kKind>
nb::class_<Mapped<kKind>> bind_mapped(nb::module_& module, const char* name, const char* doc) {
    using Self = Mapped<kKind>;
    return nb::class_<Self>(module, name, doc)
        .def_static("attach", &Self::attach, "name"_a,
                    "Map the segment that another process, or this one, made.\n\n"
                    "Args:\n    name: As given to `create`.\n\n"
                    "Raises:\n    SegmentMissingError: Nobody made it.\n"
                    "    SegmentStaleError: Its maker is dead.\n"
                    "    SegmentFormatError: Wrong version, size, permissions or owner.")
        .def("unlink", [](Self& self) { return self.segment->unlink(); },
             "Remove the name; whoever is attached keeps the memory.\n\n"
             "Returns:\n    False when the name means another segment by now, or nothing.")
        .def_ro("name", &Self::name, "Name of the segment.")
        .def_prop_ro("n_slots", [](const Self& self) { return self.control().n_slots; },
                     "Number of slots.")
        .def_prop_ro("owner_pid", [](const Self& self) { return live_pid(self.control().owner); },
                     "Process that made the segment; 0 when it is dead.")
        .def_prop_ro("producer_pid",
                     [](const Self& self) { return live_pid(self.control().producer); },
                     "Live process that writes requests or frames; 0 for none.")
        .def_prop_ro("consumer_pid",
                     [](const Self& self) { return live_pid(self.control().consumer); },
                     "Live process that answers or reads; 0 for none.")
        .def("claim",
             [](Self& self, const std::string& role) {
                 claim_or_raise(role_word(self.control(), role), self.name, role.c_str());
             },
             "role"_a,
             "Take a role for this process; a dead process loses it.\n\n"
             "Args:\n    role: \"producer\" or \"consumer\".\n\n"
             "Raises:\n    RoleTakenError: A live process has it.")
        .def("release",
             [](Self& self, const std::string& role) {
                 release_role(role_word(self.control(), role), own_stamp());
             },
             "role"_a, "Give a role back, if this process has it.");
}

inline void bind_segments(nb::module_& module) {
    bind_mapped<Kind::kSlotRing>(
        module, "SlotRing",
        "CUDA-Q Realtime's slot and flag ring in shared memory; carries requests and answers.")
        .def_static(
            "create",
            [](const std::string& name, std::uint32_t n_slots, std::uint32_t rx_stride_bytes,
               std::uint32_t tx_stride_bytes) {
                const auto tx = tx_stride_bytes == 0 ? rx_stride_bytes : tx_stride_bytes;
                return MappedSlotRing::create(name,
                                              {Kind::kSlotRing, n_slots, rx_stride_bytes, tx});
            },
            "name"_a, "n_slots"_a, "rx_stride_bytes"_a, "tx_stride_bytes"_a = 0,
            "Make a segment, readable by this user alone. A stale one of a dead process is "
            "replaced.\n\n"
            "Args:\n    name: Letters, digits, '-', '_' and '.'.\n"
            "    n_slots: Requests that may be under way.\n"
            "    rx_stride_bytes: Longest request with its header, a multiple of 128.\n"
            "    tx_stride_bytes: The same for answers; 0 for `rx_stride_bytes`.\n\n"
            "Raises:\n    SegmentInUseError: A live process has a segment of this name.\n"
            "    SegmentFormatError: The geometry or the name is out of range.\n"
            "    SegmentSystemError: The system refuses, for example for want of memory.")
        .def_prop_ro("rx_stride_bytes",
                     [](const MappedSlotRing& self) { return self.control().rx_stride_bytes; },
                     "Longest request with its header (bytes).")
        .def_prop_ro("tx_stride_bytes",
                     [](const MappedSlotRing& self) { return self.control().tx_stride_bytes; },
                     "Longest answer with its header (bytes).")
        .def_prop_ro(
            "memory",
            [](nb::handle_t<MappedSlotRing> self) {
                const auto memory = nb::cast<MappedSlotRing&>(self).segment->memory();
                auto* start = reinterpret_cast<std::uint8_t*>(memory.data());
                return nb::cast(Bytes(start, {memory.size()}, self));
            },
            nb::sig("def memory(self) -> numpy.typing.NDArray[numpy.uint8]"),
            "The whole segment with its control block, shape (n_bytes,).");
    bind_mapped<Kind::kFrameRing>(module, "FrameSegment",
                                  "Shared memory with a one-way ring of frames in it.")
        .def_static(
            "create",
            [](const std::string& name, std::uint32_t n_slots, std::uint32_t slot_bytes) {
                return MappedFrames::create(name, {Kind::kFrameRing, n_slots, slot_bytes, 0});
            },
            "name"_a, "n_slots"_a, "slot_bytes"_a,
            "Make a segment, readable by this user alone. A stale one of a dead process is "
            "replaced.\n\n"
            "Args:\n    name: Letters, digits, '-', '_' and '.'.\n"
            "    n_slots: Frames that may wait, a power of two.\n"
            "    slot_bytes: Longest frame (bytes).\n\n"
            "Raises:\n    SegmentInUseError: A live process has a segment of this name.\n"
            "    SegmentFormatError: The geometry or the name is out of range.\n"
            "    SegmentSystemError: The system refuses, for example for want of memory.")
        .def_prop_ro(
            "memory",
            [](nb::handle_t<MappedFrames> self) {
                const auto ring =
                    nb::cast<MappedFrames&>(self).segment->memory().subspan(kControlBytes);
                auto* start = reinterpret_cast<std::uint8_t*>(ring.data());
                return nb::cast(Bytes(start, {ring.size()}, self));
            },
            nb::sig("def memory(self) -> numpy.typing.NDArray[numpy.uint8]"),
            "The ring, for `_ring.Producer` and `_ring.Consumer`, shape (n_bytes,).");
}

}  // namespace cudaq_target::binding
