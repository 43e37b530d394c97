/// Python face of the native measurements: `cudaq_target.coupler._bench`.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <bit>
#include <memory>
#include <utility>

#include "bench.hpp"
#include "bind_client.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace cudaq_target;

namespace {

using Times = nb::ndarray<nb::numpy, std::int64_t, nb::ndim<1>, nb::device::cpu>;

constexpr std::size_t kMaxBytes = std::size_t{1} << 26;

void check(std::size_t n, std::size_t n_bytes) {
    if (n == 0) {
        throw nb::value_error("nothing to measure: the number of rounds or frames is 0");
    }
    if (n_bytes < 8 || n_bytes > kMaxBytes) {
        throw nb::value_error("n_bytes is 8 to 2**26");
    }
}

template <typename Measured>
Measured or_raise(std::optional<Measured> measured) {
    if (!measured) {
        throw nb::value_error("the system has no memory or no process left for this measurement");
    }
    return std::move(*measured);
}

std::pair<Times, std::uint64_t> to_numpy(bench::Result result) {
    auto owned = std::make_unique<std::vector<std::int64_t>>(std::move(result.times_ns));
    auto* times = owned.get();
    nb::capsule owner(owned.release(), [](void* memory) noexcept {
        delete static_cast<std::vector<std::int64_t>*>(memory);
    });
    return {Times(times->data(), {times->size()}, owner), result.n_wrong};
}

std::pair<Times, std::uint64_t> ping_pong(std::size_t n_rounds, std::size_t n_bytes, int client_core,
                                          int server_core) {
    check(n_rounds, n_bytes);
    auto result = [&] {
        const cudaq_target::binding::Unlocked unlocked;
        return bench::ping_pong(n_rounds, n_bytes, {client_core, server_core});
    }();
    return to_numpy(or_raise(std::move(result)));
}

std::pair<Times, std::uint64_t> rpc(std::size_t n_rounds, std::size_t n_bytes, std::uint32_t n_slots,
                                    const std::string& wait, int client_core, int server_core) {
    check(n_rounds, n_bytes);
    const auto strategy = binding::wait_from(wait);
    auto result = [&] {
        const cudaq_target::binding::Unlocked unlocked;
        return bench::rpc(n_rounds, n_bytes, n_slots, strategy, {client_core, server_core});
    }();
    return to_numpy(or_raise(std::move(result)));
}

template <auto kMeasure>
std::pair<std::int64_t, std::uint64_t> stream(std::size_t n_frames, std::size_t n_bytes,
                                              std::uint32_t n_slots, int client_core,
                                              int server_core) {
    check(n_frames, n_bytes);
    if (!std::has_single_bit(n_slots)) {
        throw nb::value_error("n_slots is a power of two");
    }
    auto result = [&] {
        const cudaq_target::binding::Unlocked unlocked;
        return kMeasure(n_frames, n_bytes, n_slots, {client_core, server_core});
    }();
    const auto measured = or_raise(std::move(result));
    return {measured.time_ns, measured.n_wrong};
}

}  // namespace

NB_MODULE(_bench, module) {
    // Links and servers that live until the interpreter ends are no defect; nothing is printed.
    nb::set_leak_warnings(false);
    module.doc() =
        "Round trips and streams between two processes with both ends native; see "
        "`native/bench.hpp`. Cores below 0 are the system's choice.";
    module.def("ping_pong", &ping_pong, "n_rounds"_a, "n_bytes"_a, nb::kw_only(), "client_core"_a = -1,
               "server_core"_a = -1,
               "Round trips over two flags and two buffers: the floor of shared memory.\n\n"
               "Args:\n    n_rounds: Measured rounds; a tenth more warms up.\n"
               "    n_bytes: Payload each way (bytes).\n    client_core: Of the timing side.\n"
               "    server_core: Of the answering side.\n\n"
               "Returns:\n    Times (ns), shape (n_rounds,), and the number of wrong answers.");
    module.def("rpc", &rpc, "n_rounds"_a, "n_bytes"_a, nb::kw_only(), "n_slots"_a = 8,
               "wait"_a = "adaptive", "client_core"_a = -1, "server_core"_a = -1,
               "Round trips of `echo` over the slot ring and the dispatcher.\n\n"
               "Args:\n    n_rounds: Measured rounds; a tenth more warms up.\n"
               "    n_bytes: Payload each way, without the header (bytes).\n"
               "    n_slots: Of the ring.\n    wait: As for `Client`.\n"
               "    client_core: Of the timing side.\n    server_core: Of the answering side.\n\n"
               "Returns:\n    Times (ns), shape (n_rounds,), and the number of wrong answers.");
    module.def("minimal_stream", &stream<bench::minimal_stream>, "n_frames"_a, "n_bytes"_a,
               nb::kw_only(), "n_slots"_a = 1024, "client_core"_a = -1, "server_core"_a = -1,
               "Frames one way through a minimal queue: the floor of `ring_stream`.\n\n"
               "Returns:\n    Time (ns), and the number of wrong frames.");
    module.def("ring_stream", &stream<bench::ring_stream>, "n_frames"_a, "n_bytes"_a, nb::kw_only(),
               "n_slots"_a = 1024, "client_core"_a = -1, "server_core"_a = -1,
               "Frames one way through the frame ring.\n\n"
               "Returns:\n    Time (ns), and the number of wrong frames.");
}
