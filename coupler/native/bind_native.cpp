/// Python face of the shared-memory rings: `cudaq_target.coupler._native`.
#include <nanobind/nanobind.h>

#include "bind_client.hpp"
#include "bind_dispatcher.hpp"
#include "bind_link.hpp"
#include "bind_port.hpp"
#include "bind_segment.hpp"

NB_MODULE(_native, module) {
    // Links and servers that live until the interpreter ends are no defect; nothing is printed.
    nanobind::set_leak_warnings(false);
    module.doc() =
        "Rings in shared memory and the dispatcher; see `native/shm.hpp`, `slot_ring.hpp` and "
        "`dispatcher.hpp`.";
    cudaq_target::binding::watch_interpreter();
    cudaq_target::binding::bind_segments(module);
    cudaq_target::binding::bind_client(module);
    cudaq_target::binding::bind_link(module);
    cudaq_target::binding::bind_port(module);
    cudaq_target::binding::bind_dispatcher(module);
}
