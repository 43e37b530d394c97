"""A controller at the other end of the coupler as a machine: `machine="ipc://…"`.

A kernel goes there as a template, once, and as a vector of angles from then on: the controller
lowers it, with plans that it keeps. An analog program goes as a whole, under a number that is made
of its text, so that a known one is not sent again.

A run survives a lost link, and a controller that was restarted: shots that came stay, and the
missing ones are measured in a run of their own.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from cudaq_target import telemetry
from cudaq_target.coupler.control_messages import program_id_of
from cudaq_target.coupler.errors import CouplerError, RemoteCallError
from cudaq_target.coupler.link_errors import (
    EndpointError,
    InsecureEndpointError,
    KeyFileError,
    LinkBusyError,
)
from cudaq_target.device import device_from_json
from cudaq_target.errors import (
    MachineRefusedError,
    MachineUnavailableError,
    OptionError,
    UnsuitableDeviceError,
)
from cudaq_target.locks import ForkSafeLock
from cudaq_target.machines.remote import Measured
from cudaq_target.machines.remote_links import LinkPool
from cudaq_target.machines.remote_runs import ABSENT, Measuring, Order, Patience
from cudaq_target.template import CircuitTemplate, angles_of, structure_key

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from cudaq_target.circuit import Circuit
    from cudaq_target.coupler.security import ClientSecurity
    from cudaq_target.device import PulserDevice
    from cudaq_target.machines.remote import Kind, Task
    from cudaq_target.machines.remote_links import ControlLink
    from cudaq_target.options import Options

_FIRST_CONTACT_S: Final = 5.0
_CALL_S: Final = 5.0
_MAX_TEMPLATES: Final = 64
_START = "Start one (cudaq-target serve --bind ENDPOINT), or give another machine="
_DEVICE_KEYS: Final = {"gate": "device", "analog": "analog_device"}


def open_controller(options: Options) -> ControllerMachine:
    """Make the machine that the options name; see `options.REMOTE_FORMS`.

    Raises:
        OptionError: A key file cannot be used.
    """
    security = None
    if options.machine_secret is not None and options.machine_server_key is not None:
        from cudaq_target.coupler.security import client_security  # noqa: PLC0415

        try:
            security = client_security(options.machine_secret, options.machine_server_key)
        except KeyFileError as error:
            raise OptionError(f"key file {error.path!r}", error.reason, error.remedy) from error
    return ControllerMachine(
        options.machine, security=security, timeout_s=options.machine_timeout_s
    )


@dataclass(frozen=True, slots=True)
class Specs:
    """What a controller says of itself.

    Attributes:
        name: The machine behind it.
        devices: Pulser's abstract representation of its device, by kind of program.
        is_paced: It measures at a cadence, so that shots are worth waiting for one by one.
    """

    name: str
    devices: dict[str, str]
    is_paced: bool

    @staticmethod
    def of(text: str) -> Specs | None:
        """Read the answer to `specs`; None where it is none."""
        try:
            content = json.loads(text)
            found = {kind: content.get(key) for kind, key in _DEVICE_KEYS.items()}
            devices = {kind: json.dumps(device) for kind, device in found.items() if device}
            return Specs(str(content["name"]), devices, content.get("cadence_hz") is not None)
        except (ValueError, KeyError, AttributeError):
            return None


@dataclass(frozen=True, slots=True)
class Loadable:
    """A program's text with its number.

    Attributes:
        program_id: As controllers number programs.
        text: The text.
    """

    program_id: int
    text: str

    @staticmethod
    def of(text: str) -> Loadable:
        """Number a text."""
        return Loadable(program_id_of(text), text)


class ControllerMachine:
    """Runs programs on a controller; see `machines.remote.RemoteMachine`."""

    default_shots: int | None = None

    def __init__(
        self, endpoint: str, *, security: ClientSecurity | None = None, timeout_s: float = 30.0
    ) -> None:
        """Send nothing yet.

        Args:
            endpoint: Where it is.
            security: Keys, where it wants them.
            timeout_s: How long it may be silent (s).
        """
        self.endpoint = endpoint
        self._security, self._timeout_s = security, timeout_s
        self._lock = ForkSafeLock()
        self._links: LinkPool | None = None
        self._pid = 0
        self._specs: Specs | None = None
        self._devices: dict[str, PulserDevice] = {}
        self._templates: OrderedDict[Hashable, Loadable] = OrderedDict()

    def device(self, kind: Kind) -> PulserDevice:
        """Report the device; see `machines.remote.RemoteMachine`."""
        known = self._devices.get(kind)
        if known is not None:
            return known
        specs = self.specs()
        if kind not in specs.devices:
            purpose = "gate kernels" if kind == "gate" else "analog programs"
            raise UnsuitableDeviceError(
                self.endpoint,
                f"the machine behind it ({specs.name}) reports no device for them",
                "Use a controller whose machine runs them, or machine='local'",
                purpose,
            )
        device = device_from_json(specs.devices[kind], f"device of machine {self.endpoint}")
        return self._devices.setdefault(kind, device)

    def specs(self) -> Specs:
        """What the controller says of itself, asked for once.

        Raises:
            MachineUnavailableError: Nobody answers.
        """
        if self._specs is None:
            with self._reached() as link:
                self._specs = self._asked(link)
        return self._specs

    def measure(self, task: Task, n_shots: int, *, seed: int) -> Measured:
        """Run a task; see `machines.remote.RemoteMachine`."""
        specs = self.specs()
        with self._reached() as link:
            loaded, parameters = self._request(task, link)
            measuring = Measuring(
                link,
                Order(
                    program=task.name,
                    n_bits=task.n_bits,
                    program_id=loaded.program_id,
                    text=loaded.text,
                    parameters=parameters,
                    seed=seed,
                    is_paced=specs.is_paced,
                ),
                Patience(self.endpoint, self._timeout_s, n_shots),
                partial(self._check_same, link, task.name),
            )
            with telemetry.phase("run"):
                packed = measuring.shots()
        return Measured(packed, "+".join(measuring.job_ids), {"remote_machine": specs.name})

    def close(self) -> None:
        """Give idle links back; see `machines.remote.RemoteMachine`."""
        with self._lock:
            links = self._links if self._pid == os.getpid() else None
            self._links = None
        if links is not None:
            links.close()

    def _check_same(self, link: ControlLink, program: str) -> None:
        """Refuse to go on with a controller that has come back as another machine."""
        specs = self._asked(link)
        if self._specs is not None and specs.devices != self._specs.devices:
            raise MachineRefusedError(
                self.endpoint,
                program,
                "the controller was restarted with another device. Call cudaq.set_target again",
            )

    def _asked(self, link: ControlLink) -> Specs:
        patience = Patience(self.endpoint, self._timeout_s, 0)
        specs: Specs | None = None
        while specs is None:
            try:
                specs = Specs.of(link.client.specs())
            except RemoteCallError:
                break
            except ABSENT as error:
                patience.wait(error)
            else:
                break
        if specs is None:
            raise MachineUnavailableError(
                self.endpoint, "what answers is no controller of this package", _START
            )
        return specs

    @contextmanager
    def _reached(self) -> Iterator[ControlLink]:
        """Lend a link, and say in the user's words why there is none."""
        with ExitStack() as stack:
            try:
                link = stack.enter_context(self._pool().taken())
            except LinkBusyError as error:
                raise MachineUnavailableError(
                    self.endpoint,
                    f"no room for another client ({error.reason})",
                    "Wait for the other client, or serve at ipc:// or tcp:// for many",
                ) from error
            except (EndpointError, InsecureEndpointError) as error:
                reason = f"it was not called: {error.reason}"
                raise MachineUnavailableError(self.endpoint, reason, error.remedy) from error
            except CouplerError as error:
                raise MachineUnavailableError(
                    self.endpoint, f"no controller answers ({error})", _START
                ) from error
            try:
                yield link
            except CouplerError as error:
                raise MachineUnavailableError(
                    self.endpoint, f"the controller does not answer ({error})", _START
                ) from error

    def _pool(self) -> LinkPool:
        """The links of this process; those of a parent belong to it."""
        with self._lock:
            if self._links is None or self._pid != os.getpid():
                wait_s = min(_FIRST_CONTACT_S, self._timeout_s)
                call_s = min(_CALL_S, self._timeout_s)
                self._links = LinkPool(
                    self.endpoint, self._security, connect_s=wait_s, call_s=call_s
                )
                self._pid = os.getpid()
            return self._links

    def _request(self, task: Task, link: ControlLink) -> tuple[Loadable, list[float]]:
        """What to load, and the parameters to run it with."""
        if task.circuit is not None:
            angles = angles_of(task.circuit)
            if len(angles) <= link.max_parameters:
                return self._template(task, task.circuit), angles.tolist()
        # So many angles do not fit into the frame that starts a run: they go with the program.
        return Loadable.of(task.lowered().to_json()), []

    def _template(self, task: Task, circuit: Circuit) -> Loadable:
        key = (structure_key(circuit), task.layout, task.route)
        with self._lock:
            known = self._templates.get(key)
        if known is None:
            template, _ = CircuitTemplate.of(circuit, layout=task.layout, route=task.route)
            known = Loadable.of(template.to_json())
        with self._lock:
            self._templates[key] = known
            self._templates.move_to_end(key)
            while len(self._templates) > _MAX_TEMPLATES:
                self._templates.popitem(last=False)
        return known
