"""Jobs of a service: what is to be run, and the threads that run it, one job per lane at a time."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from cudaq_target.errors import OptionError, TargetError
from cudaq_target.fakes import faults as kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from cudaq_target.fakes.faults import Fault, Faults

    Execute = Callable[["Order", np.random.Generator], str]

_LOG = logging.getLogger(__name__)
ENGINES: Final = ("local", "zeros")
EngineName = Literal["local", "zeros"]
_ENDED: Final = ("DONE", "ERROR", "CANCELED", "TIMED_OUT")
_RACE_S: Final = 30.0


class ExecutionError(TargetError):
    """A program that a service was sent cannot be run; the job ends with this text."""


@dataclass(slots=True, eq=False)
class Order:
    """A program to be run, and how far it is. All times are the service's (s since 1970).

    Attributes:
        text: A sequence in Pulser's abstract representation, or an AHS program.
        n_shots: Number of shots.
        lane: Orders of one lane run one after another.
        created_s: When it was accepted.
        variables: Values for the variables of the sequence, or None.
        is_ahs: The text is an AHS program.
        rydberg_only: The emulator knows no digital basis.
        status: PENDING, RUNNING, DONE, ERROR or CANCELED; as a fault also another.
        updated_s: When it changed last.
        started_s: When it began to run, or None.
        ended_s: When it ended, or None.
        errors: Why it failed, or None.
        result: JSON text `{"counter": …}`, atom 0 leftmost, or None.
    """

    text: str
    n_shots: int
    lane: str
    created_s: float
    variables: Mapping[str, Any] | None = None
    is_ahs: bool = False
    rydberg_only: bool = False
    status: str = "PENDING"
    updated_s: float = 0.0
    started_s: float | None = None
    ended_s: float | None = None
    errors: list[str] | None = None
    result: str | None = None
    held: str | None = None
    _released: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        self.updated_s = self.created_s

    @property
    def has_ended(self) -> bool:
        """Nothing changes any more."""
        return self.status in _ENDED


class Orders:
    """Runs orders in the background.

    Attributes:
        changed: Notified whenever an order changes; also the lock of all orders.
        service_s: How long the machine takes for each order, beside the emulation (s).
    """

    def __init__(
        self,
        engine: EngineName,
        faults: Faults,
        now: Callable[[], float],
        *,
        service_s: float = 0.0,
        seed: int | None = None,
        execute: Execute | None = None,
    ) -> None:
        """Prepare; nothing is loaded yet.

        Args:
            engine: "local" emulates, "zeros" answers that all atoms stayed in g.
            faults: Where faults of jobs come from.
            now: The service's clock (s since 1970).
            service_s: How long the machine takes for an order (s).
            seed: Makes equal orders in equal order give equal counts.
            execute: Runs orders in place of the engine; returns the text of the result, or raises
                `ExecutionError`.

        Raises:
            OptionError: No such engine, or a negative time.
        """
        if engine not in ENGINES:
            raise OptionError(
                f"engine {engine!r}", "no such engine", f"Give one of {', '.join(ENGINES)}"
            )
        if service_s < 0.0:
            raise OptionError(f"service_s {service_s}", "not allowed", "Give 0 s or more")
        self.changed = threading.Condition(threading.RLock())
        self.service_s = service_s
        self._engine = engine
        self._faults = faults
        self._now = now
        self._seed = seed
        self._lanes: dict[str, deque[Order]] = {}
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._n_run = 0
        self._given = execute
        self._execute: Execute | None = None

    def load(self) -> None:
        """Load the emulator now, in this thread, and not with the first job."""
        self._closed = False
        if self._given is not None:
            self._execute = self._given
            return
        from cudaq_target.fakes import engines  # noqa: PLC0415

        self._execute = engines.local() if self._engine == "local" else engines.zeros

    def submit(self, order: Order) -> None:
        """Run an order as soon as its lane is free."""
        with self.changed:
            waiting = self._lanes.get(order.lane)
            if waiting is not None:
                waiting.append(order)
                return
            self._lanes[order.lane] = deque([order])
            thread = threading.Thread(
                target=self._drain, args=(order.lane,), name="fake-machine", daemon=True
            )
            self._threads.add(thread)
            thread.start()

    def cancel(self, order: Order) -> bool:
        """Cancel an order.

        Returns:
            Whether it is canceled by this call; False where it had ended.
        """
        with self.changed:
            if order.held == kinds.DONE_AT_CANCEL:
                order._released = True
                self.changed.notify_all()
                self.changed.wait_for(lambda: order.has_ended, _RACE_S)
            if order.has_ended:
                return False
            self._end(order, "CANCELED")
            return True

    def set_status(self, order: Order, status: str, errors: list[str] | None = None) -> None:
        """Put an order into a state, whatever it does."""
        with self.changed:
            if status in _ENDED:
                self._end(order, status, errors)
            else:
                self._move(order, status)

    def release(self) -> None:
        """Let orders go on that a fault holds in a state."""
        with self.changed:
            for waiting in self._lanes.values():
                for order in waiting:
                    order._released |= order.held is not None
            self.changed.notify_all()

    def close(self) -> None:
        """End what runs; what is waiting stays as it is."""
        with self.changed:
            self._closed = True
            threads = list(self._threads)
            self.changed.notify_all()
        for thread in threads:
            thread.join()

    def _drain(self, lane: str) -> None:
        waiting = self._lanes[lane]
        while True:
            # The order stays in its lane while it runs, so that others queue behind it.
            self._perform(waiting[0])
            with self.changed:
                waiting.popleft()
                if not waiting or self._closed:
                    del self._lanes[lane]
                    self._threads.discard(threading.current_thread())
                    return

    def _perform(self, order: Order) -> None:
        planned = self._faults.take(kinds.JOB)
        fault = planned[0] if planned else None
        kind = None if fault is None else fault.kind
        with self.changed:
            if kind == "PENDING":
                self._hold(order, kind)
            if order.has_ended or self._closed:
                return
            order.started_s = self._now()
            self._move(order, "RUNNING")
            if kind in kinds.HELD_STATES and kind != "PENDING":
                self._move(order, str(kind))
                self._hold(order, str(kind))
                if not order.has_ended:
                    self._move(order, "RUNNING")
            elif kind == kinds.DONE_AT_CANCEL:
                self._hold(order, kinds.DONE_AT_CANCEL)
            self._wait(order, self.service_s)
            if order.has_ended or self._closed:
                return
            if fault is not None and kind in kinds.FAILED_STATES:
                text = fault.text or "planned fault: the job failed"
                self._end(order, str(kind), [text] if kind == "ERROR" else None)
                return
            self._n_run += 1
            number = self._n_run
        result, errors = self._outcome(order, number, fault)
        with self.changed:
            if order.has_ended:
                return
            order.result = result
            self._end(order, "DONE" if errors is None else "ERROR", errors)

    def _outcome(
        self, order: Order, number: int, fault: Fault | None
    ) -> tuple[str | None, list[str] | None]:
        import numpy as np  # noqa: PLC0415

        entropy = None if self._seed is None else [self._seed, number]
        kind = None if fault is None else fault.kind
        if kind == kinds.NO_RESULT:
            return None, None
        if kind == kinds.BAD_RESULT:
            return (fault.text if fault is not None and fault.text else "{'counter': {'0"), None
        try:
            if self._execute is None:
                self.load()
            assert self._execute is not None
            found = self._execute(order, np.random.default_rng(entropy))
        except ExecutionError as error:
            return None, [str(error)]
        except Exception as error:  # noqa: BLE001 - a bug of the stand-in must end the job, not the thread
            _LOG.exception("a job failed")
            return None, [f"{type(error).__name__}: {error}"]
        return _one_less(found) if kind == kinds.FEW_SHOTS else found, None

    def _hold(self, order: Order, kind: str) -> None:
        order.held = kind
        self.changed.notify_all()
        self.changed.wait_for(lambda: order._released or order.has_ended or self._closed)
        order.held = None

    def _wait(self, order: Order, seconds: float) -> None:
        if seconds > 0.0:
            self.changed.wait_for(lambda: order.has_ended or self._closed, seconds)

    def _move(self, order: Order, status: str) -> None:
        order.status = status
        order.updated_s = self._now()
        self.changed.notify_all()

    def _end(self, order: Order, status: str, errors: list[str] | None = None) -> None:
        order.ended_s = self._now()
        order.errors = errors
        self._move(order, status)


def _one_less(result: str) -> str:
    """Take a shot away."""
    counter = json.loads(result)["counter"]
    most = max(counter, key=lambda bits: counter[bits])
    return json.dumps({"counter": {**counter, most: counter[most] - 1}})
