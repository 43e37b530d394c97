"""Row 12 on every transport: DEADLINE comes at the deadline, whatever the function does then."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest

from cudaq_target.coupler.dispatch import RPC_INCREMENT, Function, Reply
from cudaq_target.coupler.errors import HandlerStuckError
from cudaq_target.coupler.frame import Status
from cudaq_target.coupler.handlers import handler, stateful_handler
from cudaq_target.coupler.link import connect
from cudaq_target.coupler.server import serve
from cudaq_target.coupler.shm import Dispatcher
from cudaq_target.coupler.transports.interface import TransportOptions
from tests.coupler.ends import OPTIONS, TRANSPORTS, await_counter, endpoint_of

DEADLINE_NS = 20_000_000


@pytest.fixture(params=TRANSPORTS)
def place(request, tmp_path):
    return endpoint_of(request.param, tmp_path)


class Held:
    """A handler that waits where its first argument is 1, and writes when it may go on."""

    def __init__(self):
        self.may_return = threading.Event()
        self.sessions = []

    def __call__(self, call):
        self.sessions.append(call.session)
        if bytes(call.arguments) == b"\1":
            assert self.may_return.wait(60.0)
        call.result[:] = b"\xee" * len(call.result)
        return Reply(Status.OK, 4)


@pytest.fixture
def held():
    made = Held()
    yield made
    made.may_return.set()


@pytest.mark.parametrize("zeromq", ["native", "python"])
def test_row_12_the_caller_does_not_wait_for_the_function(place, held, zeromq):
    options = TransportOptions(slot_bytes=512, n_slots=16, zeromq=zeromq)
    functions = [Function("held", held, deadline_ns=DEADLINE_NS), RPC_INCREMENT]
    with (
        serve(functions, place, options=options) as server,
        connect(server.endpoint, options=options) as link,
    ):
        assert link.call("held", b"\0", 30.0).result == b"\xee" * 4
        assert link.call("held", b"\1", 30.0).status == Status.DEADLINE
        assert link.call("held", b"\0", 30.0).status == Status.BUSY
        for k in range(200):  # others are served meanwhile, and nobody writes into their answers
            assert link.call("rpc_increment", bytes([k]) * 99, 30.0).result == bytes([k + 1]) * 99
            if k == 100:
                held.may_return.set()
        await_counter(server, "late_results", 1)
        answer = link.call("held", b"\0", 30.0)
        while answer.status == Status.BUSY:
            answer = link.call("held", b"\0", 30.0)
        assert (answer.status, answer.result) == (Status.OK, b"\xee" * 4)
        counted = server.counters()
        assert counted["deadline_misses"] == counted["late_results"] == 1
        assert counted["busy"] >= 1
        assert len(set(map(id, held.sessions))) == 1


def test_row_12_closing_names_the_function_that_is_late(place, held, monkeypatch):
    for module in ("server", "native_server"):
        monkeypatch.setattr(f"cudaq_target.coupler.{module}.PATIENCE_S", 0.2)
    functions = [Function("held", held, deadline_ns=DEADLINE_NS)]
    server = serve(functions, place, options=OPTIONS)
    with connect(server.endpoint, options=OPTIONS) as link:
        assert link.call("held", b"\1", 30.0).status == Status.DEADLINE
        with pytest.raises(HandlerStuckError, match="'held' has not returned"):
            server.close()
    assert not server.is_running
    with serve([RPC_INCREMENT], place, options=OPTIONS) as another:  # the place is free
        assert another.is_running
    held.may_return.set()


def spin(_arguments, _result, state):
    total = 0.0
    for i in range(300_000_000):
        total += math.sqrt(i)
    state[8] = 1 if total > 0.0 else 0
    return 0


def read(_arguments, result, state):
    result[0] = state[8]
    return 1


def plain(arguments, result):
    result[0] = arguments[0]
    return 1


def test_row_12_compiled_functions_share_no_memory_with_a_late_one(place):
    shared = np.zeros(64, dtype=np.uint8)
    dispatcher = Dispatcher()
    stateful_handler(spin, 64).add_to(dispatcher, "spin", state=shared, deadline_ns=DEADLINE_NS)
    stateful_handler(read, 64).add_to(dispatcher, "read", state=shared)
    handler(plain).add_to(dispatcher, "plain")
    with (
        serve(dispatcher, place, options=OPTIONS) as server,
        connect(server.endpoint, options=OPTIONS) as link,
    ):
        assert link.call("read", b"", 30.0).result == b"\0"
        assert link.call("spin", b"", 30.0).status == Status.DEADLINE
        assert link.call("read", b"", 30.0).status == Status.BUSY
        assert link.call("plain", b"\7", 30.0).result == b"\7"
        await_counter(server, "late_results", 1)
        until_s = time.monotonic() + 30.0
        while link.call("read", b"", 30.0).status == Status.BUSY:
            assert time.monotonic() < until_s
        assert link.call("read", b"", 30.0).result == b"\1"
