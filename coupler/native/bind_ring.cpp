/// Python face of the ring: `cudaq_target.coupler._ring`.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <chrono>
#include <span>
#include <string>
#include <thread>

#include "binding.hpp"
#include "ring.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using cudaq_target::Fault;
using cudaq_target::Finding;
using cudaq_target::Frame;
using cudaq_target::Push;
using cudaq_target::binding::BytesLike;
using cudaq_target::binding::raise;
using Clock = std::chrono::steady_clock;
using Buffer = nb::ndarray<std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using FrameView = nb::ndarray<nb::numpy, const std::uint8_t, nb::ndim<1>, nb::device::cpu>;

constexpr int kSpinsBeforeYield = 2000;
constexpr int kYieldsBeforeSleep = 2000;
/// How long a wait may ignore Ctrl-C; the lock is taken this often to look for signals.
constexpr auto kSignalPeriod = std::chrono::milliseconds(50);
/// 31 years: infinite for the user, and far from the end of the clock's 64-bit nanoseconds.
constexpr double kLongestWaitS = 1e9;

std::span<std::byte> bytes_of(const Buffer& buffer) {
    return {reinterpret_cast<std::byte*>(buffer.data()), buffer.size()};
}

const char* field_name(Fault fault) {
    switch (fault) {
        case Fault::kAlignment: return "buffer address modulo 8";
        case Fault::kBufferBytes: return "buffer size (bytes)";
        case Fault::kMagic: return "magic";
        case Fault::kVersion: return "layout version";
        case Fault::kSlotCount: return "n_slots";
        case Fault::kSlotBytes: return "slot_bytes";
        case Fault::kStride: return "stride (bytes)";
        case Fault::kCounters: return "number of waiting frames";
        case Fault::kNone: break;
    }
    return "";
}

std::string expectation(const Finding& finding) {
    const auto limit = std::to_string(finding.limit);
    switch (finding.fault) {
        case Fault::kAlignment: return "0";
        case Fault::kBufferBytes: return "at least " + limit;
        case Fault::kSlotCount: return "a power of two up to " + limit;
        case Fault::kSlotBytes: return "1 to " + limit;
        case Fault::kCounters: return "at most " + limit;
        case Fault::kMagic: return limit + ", which `format` writes";
        case Fault::kVersion:
        case Fault::kStride:
        case Fault::kNone: break;
    }
    return limit;
}

void raise_if_wrong(const Finding& finding) {
    if (finding.fault != Fault::kNone) {
        raise("RingFormatError", field_name(finding.fault), finding.found, expectation(finding));
    }
}

/// Waits without the interpreter lock until `ready()` holds. False when `timeout_s` has passed.
template <typename Ready>
bool wait_until(Ready ready, double timeout_s) {
    if (!(timeout_s > 0)) {  // so that NaN does not wait either
        return ready();
    }
    const std::chrono::duration<double> timeout(std::min(timeout_s, kLongestWaitS));
    const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(timeout);
    for (int n_tries = 0;;) {
        if (PyErr_CheckSignals() != 0) {
            throw nb::python_error();
        }
        const cudaq_target::binding::Unlocked unlocked;
        const auto pause = std::min(deadline, Clock::now() + kSignalPeriod);
        do {
            if (ready()) {
                return true;
            }
            if (++n_tries > kSpinsBeforeYield + kYieldsBeforeSleep) {
                std::this_thread::sleep_for(std::chrono::microseconds(20));
            } else if (n_tries > kSpinsBeforeYield) {
                std::this_thread::yield();
            }
        } while (Clock::now() < pause);
        if (pause == deadline) {
            return ready();
        }
    }
}

cudaq_target::Ring attach(const Buffer& buffer) {
    std::optional<cudaq_target::Ring> ring;
    raise_if_wrong(cudaq_target::Ring::attach(bytes_of(buffer), ring));
    return *ring;
}

/// One side of a ring together with the buffer that it keeps alive.
template <typename Side>
struct Owned {
    explicit Owned(Buffer memory) : buffer(std::move(memory)), side(attach(buffer)) {}
    Buffer buffer;
    Side side;
};
using Producer = Owned<cudaq_target::Producer>;
using Consumer = Owned<cudaq_target::Consumer>;

bool push(Producer& self, nb::handle frame, double timeout_s) {
    const BytesLike data(frame);
    for (;;) {
        switch (self.side.push(data.bytes())) {
            case Push::kDone: return true;
            case Push::kTooLong:
                raise("FrameTooLongError", data.bytes().size(), self.side.slot_bytes());
            case Push::kFull: break;
        }
        if (!wait_until([&] { return !self.side.is_full(); }, timeout_s)) {
            return false;
        }
    }
}

/// The oldest frame, or nothing after `timeout_s`.
std::optional<Frame> front(Consumer& self, double timeout_s) {
    if (self.side.is_empty() &&
        !wait_until([&] { return !self.side.is_empty(); }, timeout_s)) {
        return std::nullopt;
    }
    const auto frame = self.side.front();
    if (frame.n_bytes > self.side.slot_bytes()) {
        self.side.release();  // the cursor moves on, or one bad frame would block the link
        raise("RingFormatError", "stored frame length (bytes)", frame.n_bytes,
              "at most " + std::to_string(self.side.slot_bytes()));
    }
    return frame;
}

nb::object pop(Consumer& self, double timeout_s) {
    const auto frame = front(self, timeout_s);
    if (!frame) {
        return nb::none();
    }
    nb::bytes copy(frame->start, frame->n_bytes);
    self.side.release();
    return copy;
}

nb::object peek(nb::handle_t<Consumer> self, double timeout_s) {
    const auto frame = front(nb::cast<Consumer&>(self), timeout_s);
    if (!frame) {
        return nb::none();
    }
    const auto* start = reinterpret_cast<const std::uint8_t*>(frame->start);
    return nb::cast(FrameView(start, {frame->n_bytes}, self));
}

void release(Consumer& self) {
    if (self.side.is_empty()) {
        throw nb::value_error("no frame to release; peek() returned None or was not called");
    }
    self.side.release();
}

template <typename Side>
nb::class_<Owned<Side>> bind_side(nb::module_& module, const char* name, const char* doc) {
    return nb::class_<Owned<Side>>(module, name, doc)
        .def(nb::init<Buffer>(), "buffer"_a,
             nb::sig("def __init__(self, buffer: typing_extensions.Buffer) -> None"),
             "Attach to a formatted ring.\n\n"
             "Args:\n    buffer: Writable, contiguous, uint8; kept alive by this object.\n\n"
             "Raises:\n    RingFormatError: The buffer holds no valid ring.")
        .def_prop_ro("n_slots", [](const Owned<Side>& self) { return self.side.n_slots(); },
                     "Number of slots.")
        .def_prop_ro("slot_bytes", [](const Owned<Side>& self) { return self.side.slot_bytes(); },
                     "Longest frame (bytes).")
        .def_prop_ro("n_waiting", [](const Owned<Side>& self) { return self.side.n_waiting(); },
                     "Frames published and not yet consumed.");
}

}  // namespace

NB_MODULE(_ring, module) {
    // Links and servers that live until the interpreter ends are no defect; nothing is printed.
    nb::set_leak_warnings(false);
    module.doc() = "Single-producer single-consumer ring of fixed slots; see `native/ring.hpp`.";
    module.attr("VERSION") = cudaq_target::kVersion;

    module.def(
        "required_bytes",
        [](std::uint32_t n_slots, std::uint32_t slot_bytes) {
            raise_if_wrong(cudaq_target::check_geometry(n_slots, slot_bytes));
            return cudaq_target::required_bytes(n_slots, slot_bytes);
        },
        "n_slots"_a, "slot_bytes"_a,
        "Size of the buffer that a ring of this geometry needs (bytes).\n\n"
        "Raises:\n    RingFormatError: `n_slots` is no power of two, or a value is out of range.");
    module.def(
        "format",
        [](const Buffer& buffer, std::uint32_t n_slots, std::uint32_t slot_bytes) {
            raise_if_wrong(cudaq_target::format(bytes_of(buffer), n_slots, slot_bytes));
        },
        "buffer"_a, "n_slots"_a, "slot_bytes"_a,
        nb::sig("def format(buffer: typing_extensions.Buffer, n_slots: int, slot_bytes: int) "
                "-> None"),
        "Write an empty ring into `buffer`, which nobody else may be using.\n\n"
        "Raises:\n    RingFormatError: The geometry is out of range or the buffer too small.");

    bind_side<cudaq_target::Producer>(
        module, "Producer", "The writing side; one per ring, used by one thread at a time.")
        .def("push", &push, "frame"_a, nb::kw_only(), "timeout_s"_a = 0.0,
             nb::sig("def push(self, frame: typing_extensions.Buffer, *, "
                     "timeout_s: float = 0.0) -> bool"),
             "Copy one frame into the ring.\n\n"
             "Args:\n    frame: Any contiguous bytes-like object, at most `slot_bytes` long.\n"
             "    timeout_s: How long to wait for a free slot (s), without the interpreter lock.\n\n"
             "Returns:\n    False when the ring stayed full; nothing is ever overwritten.\n\n"
             "Raises:\n    FrameTooLongError: The frame is longer than a slot.");

    bind_side<cudaq_target::Consumer>(
        module, "Consumer", "The reading side; one per ring, used by one thread at a time.")
        .def("pop", &pop, nb::kw_only(), "timeout_s"_a = 0.0,
             nb::sig("def pop(self, *, timeout_s: float = 0.0) -> bytes | None"),
             "Copy the oldest frame out of the ring.\n\n"
             "Args:\n    timeout_s: How long to wait for a frame (s), without the interpreter "
             "lock.\n\n"
             "Returns:\n    The frame, or None when none came.\n\n"
             "Raises:\n    RingFormatError: The peer stored an impossible length; the frame is "
             "dropped.")
        .def("peek", &peek, nb::kw_only(), "timeout_s"_a = 0.0,
             nb::sig("def peek(self, *, timeout_s: float = 0.0) -> "
                     "numpy.typing.NDArray[numpy.uint8] | None"),
             "View the oldest frame in place, without a copy.\n\n"
             "The view is read-only and valid until `release`; afterwards the producer may "
             "overwrite it.\n\n"
             "Args:\n    timeout_s: How long to wait for a frame (s), without the interpreter "
             "lock.\n\n"
             "Returns:\n    Array of shape (n_bytes,), or None when no frame came.\n\n"
             "Raises:\n    RingFormatError: The peer stored an impossible length; the frame is "
             "dropped.")
        .def("release", &release,
             "Give the slot of the oldest frame back to the producer.\n\n"
             "Raises:\n    ValueError: No frame waits.");
}
