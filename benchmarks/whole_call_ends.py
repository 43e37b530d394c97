"""The contenders of `whole_call`, each in a process of its own.

`python -m benchmarks.whole_call_ends NAME` loads, reads its account (variables of the environment,
as a line of JSON), and prints a line. Then it reads requests, one JSON object per line, and answers
each with the times of its calls and what they counted, or with the error that was raised.
`... controller ENDPOINT …` serves the embedded emulator.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
import warnings
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.whole_call_programs import DRIVES, GATE_ANGLE, GATE_QUBITS, Drive

if TYPE_CHECKING:
    from collections.abc import Callable

    # Shots to counts; and what makes one for a machine and a program.
    Call = Callable[[int], dict[str, int]]
    Prepare = Callable[[str, str], Call]

GATES = "gates"


def stock() -> Prepare:
    """CUDA-Q as it comes: none of its plug-ins is loaded."""
    found = importlib.metadata.entry_points

    def without_plugins(**wanted: Any) -> Any:  # noqa: ANN401 - its several types
        return () if wanted.get("group") == "cudaq.backends" else found(**wanted)

    importlib.metadata.entry_points = without_plugins
    cudaq = _cudaq()
    importlib.metadata.entry_points = found
    _read_account()
    cudaq.set_target("pasqal", machine="qrmi")
    return lambda _, what: _cudaq_call(what)


def ours() -> Prepare:
    """CUDA-Q with this package."""
    cudaq = _cudaq()
    from cudaq_target.launch import evolve, sample  # noqa: F401, PLC0415 - loaded while others are

    _read_account()
    chosen: dict[str, str] = {}

    def prepare(machine: str, what: str) -> Call:
        # A remote machine reports its device; the embedded emulator is to have the same.
        device = {"device": "MockDevice"} if machine == "local" and what != GATES else {}
        wanted = {"machine": machine, **device}
        if chosen != wanted:
            cudaq.set_target("pasqal", **wanted)
            chosen.clear()
            chosen.update(wanted)
        return _cudaq_call(what)

    return prepare


def _cudaq() -> Any:  # noqa: ANN401 - a module without types
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # CUDA-Q announces changes
        import cudaq  # noqa: PLC0415
    return cudaq


def _cudaq_call(what: str) -> Call:
    """What a user of CUDA-Q writes, which is the same with this package and without."""
    import cudaq  # noqa: PLC0415

    if what == GATES:
        from benchmarks.whole_call_kernel import leaning  # noqa: PLC0415

        return lambda n_shots: dict(
            cudaq.sample(leaning, GATE_QUBITS, GATE_ANGLE, shots_count=n_shots).items()
        )
    drive = DRIVES[what]()

    def evolve(n_shots: int) -> dict[str, int]:
        times_s = 1e-9 * np.array(drive.times_ns)

        def curve(values: tuple[float, ...]) -> Any:  # noqa: ANN401
            si = 1e6 * np.array(values)
            return cudaq.ScalarOperator(lambda t: float(np.interp(t.real, times_s, si)))

        hamiltonian = cudaq.RydbergHamiltonian(
            atom_sites=[(1e-6 * x, 1e-6 * y) for x, y in drive.atoms_um],
            amplitude=curve(drive.rabi),
            phase=cudaq.ScalarOperator(lambda t: 0.0),  # noqa: ARG005 - CUDA-Q asks for its name
            delta_global=curve(drive.detuning),
        )
        schedule = cudaq.Schedule(times_s, ["t"])
        result = cudaq.evolve(hamiltonian, schedule=schedule, shots_count=n_shots)
        return dict(result.items())

    return evolve


def qiskit() -> Prepare:
    """qiskit-pasqal-provider, with its own emulator and over the cloud."""
    import pulser  # noqa: PLC0415
    from qiskit_pasqal_provider.providers.provider import PasqalProvider  # noqa: PLC0415
    from qiskit_pasqal_provider.providers.sampler import SamplerV2  # noqa: PLC0415
    from qiskit_pasqal_provider.providers.target import PasqalTarget  # noqa: PLC0415
    from qiskit_pasqal_provider.utils import RemoteConfig  # noqa: PLC0415

    # The provider takes devices with limits alone; of these the atoms of all contenders are.
    level_70 = _renamed(pulser.AnalogDevice)
    target = PasqalTarget(device=level_70)
    _read_account()
    account = _account()
    _send_to_loopback()
    config = RemoteConfig(**account["login"], endpoints=account["endpoints"])
    backends: dict[str, Any] = {}

    def prepare(machine: str, what: str) -> Call:
        if machine not in backends:
            backends[machine] = PasqalProvider(config).get_backend(machine, target=target)
        build = _gate_circuit if what == GATES else _analog_circuit(DRIVES[what](), level_70)

        def call(n_shots: int) -> dict[str, int]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the provider uses an old emulator
                done = SamplerV2(backends[machine]).run([build()], shots=n_shots).result()
            return dict(done[0].data.counts)

        return call

    return prepare


def _renamed(device: Any) -> Any:  # noqa: ANN401 - a class of Pulser's
    import dataclasses  # noqa: PLC0415

    return dataclasses.replace(device, name="Level70", rydberg_level=70)


def _analog_circuit(drive: Drive, device: Any) -> Callable[[], Any]:  # noqa: ANN401
    """Points as the provider's curve needs them to be straight lines between ours."""
    from qiskit import QuantumCircuit  # noqa: PLC0415
    from qiskit_pasqal_provider.providers.gate import HamiltonianGate  # noqa: PLC0415
    from qiskit_pasqal_provider.providers.pulse_utils import InterpolatePoints  # noqa: PLC0415

    from cudaq_target.analog.model import AnalogSpec, Waveform  # noqa: PLC0415
    from cudaq_target.analog.program import build  # noqa: PLC0415
    from cudaq_target.analog.qiskit_gate import to_circuit  # noqa: PLC0415

    curves = (Waveform(drive.times_ns, values) for values in (drive.rabi, drive.detuning))
    written = to_circuit(build(AnalogSpec.of(drive.atoms_um, *curves), device)).data[0].operation

    def copied(points: Any) -> Any:  # noqa: ANN401
        return InterpolatePoints(points.values, duration=points.duration, times=points.times)

    def circuit() -> Any:  # noqa: ANN401
        made = QuantumCircuit(len(drive.atoms_um))
        gate = HamiltonianGate(
            amplitude=copied(written.amplitude),
            detuning=copied(written.detuning),
            phase=0.0,
            coords=[list(site) for site in drive.atoms_um],
        )
        made.append(gate, made.qubits)
        return made

    return circuit


def _gate_circuit() -> Any:  # noqa: ANN401 - a `QuantumCircuit`
    from qiskit import QuantumCircuit  # noqa: PLC0415

    made = QuantumCircuit(GATE_QUBITS)
    made.ry(GATE_ANGLE, 0)
    for k in range(GATE_QUBITS - 1):
        made.cx(k, k + 1)
    made.x(GATE_QUBITS - 1)
    made.measure_all()
    return made


def pasqal_cloud() -> Prepare:
    """Pulser's own way to the cloud: a sequence, `RemoteEmuFreeBackend`, `wait=True`."""
    import pulser  # noqa: PLC0415
    from pasqal_cloud import PasqalCloudConnection  # noqa: PLC0415
    from pasqal_cloud.backends import RemoteEmuFreeBackend  # noqa: PLC0415

    _read_account()
    account = _account()
    connection = PasqalCloudConnection(
        **account["login"], endpoints=account["endpoints"], auth_config=account["tokens"]
    )
    device = connection.fetch_available_devices()["EMU_FREE"]

    def prepare(_: str, what: str) -> Call:
        drive = DRIVES[what]()
        coordinates = np.array(drive.atoms_um)
        moments_ns = np.arange(drive.times_ns[-1]) + 0.5  # a sample stands for the ns that it is in

        def call(n_shots: int) -> dict[str, int]:
            register = pulser.Register.from_coordinates(coordinates, center=False, prefix="q")
            sequence = pulser.Sequence(register, device)
            sequence.declare_channel("drive", "rydberg_global")
            curves = (
                pulser.CustomWaveform(np.interp(moments_ns, drive.times_ns, values))
                for values in (drive.rabi, drive.detuning)
            )
            sequence.add(pulser.Pulse(*curves, 0.0), "drive")
            backend = RemoteEmuFreeBackend(sequence, connection)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it uses a class that Pulser gives up
                (result,) = backend.run(job_params=[{"runs": n_shots}], wait=True).results
            return dict(result.bitstring_counts)

        return call

    return prepare


def _read_account() -> None:
    """Take what the cloud wants to know, which is there once the cloud is."""
    os.environ.update(json.loads(sys.stdin.readline()))


def _account() -> dict[str, Any]:
    """Who we are, from the environment, as pasqal-cloud wants it."""
    from pasqal_cloud.endpoints import Endpoints, TokenProviderConf  # noqa: PLC0415

    tokens = TokenProviderConf.from_region("fr")
    tokens.token_endpoint = os.environ["PASQAL_AUTH_ENDPOINT"]
    base = os.environ["PASQAL_BASE_URL"]
    names = ("username", "password", "project_id")
    return {
        "login": {name: os.environ[f"PASQAL_{name.upper()}"] for name in names},
        "endpoints": Endpoints(core=f"{base}/core-fast", account=f"{base}/account"),
        "tokens": tokens,
    }


def _send_to_loopback() -> None:
    """Make pasqal-cloud's default address ours: the provider drops the one that it is given."""
    from pasqal_cloud.endpoints import Endpoints, TokenProviderConf  # noqa: PLC0415

    account = _account()
    for kind, known in ((Endpoints, account["endpoints"]), (TokenProviderConf, account["tokens"])):
        setattr(kind, "from_region", lambda *_, known=known: known)  # noqa: B010 - not typed so


ENDS: dict[str, Callable[[], Prepare]] = {
    one.__name__: one for one in (stock, ours, qiskit, pasqal_cloud)
}


def controller(*places: str) -> None:
    """Serve the embedded emulator at endpoints, until the input ends."""
    from cudaq_target.controller import controller as machine  # noqa: PLC0415
    from cudaq_target.coupler.server import serve  # noqa: PLC0415

    with ExitStack() as servers:
        for place in places:
            servers.enter_context(serve(machine(device="MockDevice", seed=1), place))
        _say({"ready": True})
        sys.stdin.read()


def answer(prepare: Prepare, request: dict[str, Any]) -> dict[str, Any]:
    """Run calls and time them.

    Args:
        prepare: The contender.
        request: `machine`, `what`, `n_shots`, `warm_ups`, `repeats`.

    Returns:
        `spans_ns` (begin and end of each call, `time.monotonic_ns`) and `counts`, or `error`.
    """
    spans_ns, counts = [], Counter[str]()
    try:
        call = prepare(request["machine"], request["what"])
        for _ in range(request["warm_ups"]):
            call(request["n_shots"])
        for _ in range(request["repeats"]):
            begin_ns = time.monotonic_ns()
            found = call(request["n_shots"])
            spans_ns.append((begin_ns, time.monotonic_ns()))
            counts.update(found)
    except Exception as error:  # noqa: BLE001 - whatever a contender raises is its answer
        return {"error": f"{type(error).__name__}: {str(error).strip()}"}
    return {"spans_ns": spans_ns, "counts": counts}


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def main(name: str, *arguments: str) -> None:
    if name == "controller":
        controller(*arguments)
        return
    try:
        prepare = ENDS[name]()
    except Exception as error:  # noqa: BLE001 - a contender that is not installed says so
        _say({"error": f"{type(error).__name__}: {error}"})
        return
    _say({"ready": True})
    for line in sys.stdin:
        _say(answer(prepare, json.loads(line)))


if __name__ == "__main__":
    main(*sys.argv[1:])
