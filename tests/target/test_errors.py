"""What users read when something cannot work: each message as text, by the public functions."""
# ruff: noqa: F821 - gates are names of the kernel language

from __future__ import annotations

import cudaq
import pytest

from cudaq_target import Pasqal, TargetError, compile, host  # noqa: A004
from cudaq_target.emulator import memory

SAMPLE_OPTIONS = (
    "Did you mean 'shots_count'? Known: shots_count, noise_model, explicit_measurements"
)
ASYNC_OPTIONS = (
    "Did you mean 'shots_count'? Known: shots_count, explicit_measurements, noise_model, qpu_id"
)

pytestmark = pytest.mark.usefixtures("stock_target")


@cudaq.kernel
def ghz(n: int):
    q = cudaq.qvector(n)
    h(q[0])
    for k in range(n - 1):
        x.ctrl(q[k], q[k + 1])
    mz(q)


@cudaq.kernel
def plain():
    q = cudaq.qvector(1)
    h(q)


@cudaq.kernel
def measured_too_early():
    q = cudaq.qvector(2)
    h(q[0])
    mz(q[0])
    x(q[0])


@cudaq.kernel
def feed_forward():
    q = cudaq.qvector(2)
    h(q[0])
    if mz(q[0]):
        x(q[1])


def line_of(kernel, offset):
    """Return the line of this file, counted from the kernel's `def`, as messages name it."""
    first = kernel.kernelFunction.__code__.co_firstlineno  # the decorator's line
    return first + 1 + offset


def message(call, kind):
    with pytest.raises(TargetError) as caught:
        call()
    assert type(caught.value).__name__ == kind
    return str(caught.value)


def test_unknown_keyword():
    assert message(lambda: cudaq.set_target("pasqal", sed=3), "OptionError") == (
        "option 'sed': unknown option. Did you mean 'seed'? "
        "Known: machine, device, noise, seed, layout, route, shots, threads, cache_dir, "
        "modulation, eom, machine_secret, machine_server_key, machine_timeout_s, machine_poll_s"
    )


def test_unknown_device():
    assert message(lambda: cudaq.set_target("pasqal", device="Fresnel"), "OptionError") == (
        "device 'Fresnel': no such device. Known: AnalogDevice, DigitalAnalogDevice, MockDevice, "
        "WeightedAnalogDevice; or give a device file or a pulser device object"
    )


def test_unknown_machine():
    assert message(lambda: Pasqal(machine="ORION"), "OptionError") == (
        "machine 'ORION': no such machine in this version. Known: local, qutip, emu-sv, "
        "emu-mps, auto-emulator, shm://name, ipc://path, tcp://host:port, udp://host:port, "
        "EMU_FREE, EMU_MPS, EMU_SV, EMU_FRESNEL, FRESNEL, FRESNEL_CAN1, qrmi, qrmi:NAME"
    )


def test_too_many_qubits():
    cudaq.set_target("pasqal")
    assert message(lambda: cudaq.sample(ghz, 200), "DeviceLimitError") == (
        "a kernel of 200 qubits: DigitalAnalogDevice allows at most 100 atoms. "
        "Use fewer qubits or a larger device (Pasqal(device=...))."
    )


def test_atoms_too_close():
    with Pasqal(layout=[[0, 0], [1, 0]]):
        text = message(lambda: cudaq.sample(ghz, 2), "DeviceLimitError")
    assert text == (
        "qubits 0 and 1 are 1.000 µm apart: DigitalAnalogDevice allows no less than 4 µm. "
        "Spread the sites of Pasqal(layout=...), or leave it out."
    )


def test_mid_circuit_measurement():
    cudaq.set_target("pasqal")
    text = message(lambda: cudaq.sample(measured_too_early), "UnsupportedKernelError")
    assert text == (
        f"measured_too_early, line {line_of(measured_too_early, 4)}: x after a measurement of "
        "qubit 0 (mid-circuit measurement) cannot run here: the machine measures all atoms at "
        "once, at the end of a shot. Measure at the end of the kernel, or split the program into "
        "kernels and decide in Python between them."
    )


def test_feed_forward():
    cudaq.set_target("pasqal")
    text = message(lambda: cudaq.sample(feed_forward), "UnsupportedKernelError")
    assert text == (
        f"feed_forward, line {line_of(feed_forward, 4)}: x in a branch that depends on a "
        "measurement cannot run here: the machine measures all atoms at once, at the end of a "
        "shot (no mid-circuit measurement with feed-forward). Measure at the end of the kernel, "
        "or split the program into kernels and decide in Python between them."
    )


def test_analog_only_device():
    cudaq.set_target("pasqal", device="AnalogDevice")
    assert message(lambda: cudaq.sample(ghz, 2), "UnsuitableDeviceError") == (
        "AnalogDevice cannot run gate kernels: it has no local Rydberg channel, which entangling "
        "gates need. It runs analog programs only; for gate kernels use DigitalAnalogDevice, "
        "MockDevice or a device of your own with a Rydberg.Local and a Raman.Local channel"
    )


def test_too_little_memory(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**30)
    cudaq.set_target("pasqal", device="MockDevice")
    assert message(lambda: cudaq.sample(ghz, 31), "MemoryLimitError") == (
        "emulating 31 qubits needs 48.0 GiB, 1.0 GiB are available. "
        "Use at most 25 qubits, or a machine with more memory"
    )


def test_too_many_shots(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**30)
    cudaq.set_target("pasqal")
    launch = lambda: cudaq.sample(ghz, 2, shots_count=10**12)  # noqa: E731
    assert message(launch, "MemoryLimitError") == (
        "emulating 1000000000000 shots of 2 qubits needs 42840.8 GiB, 1.0 GiB are available. "
        "Use at most 23342213 shots"
    )


def test_cudaq_is_missing(monkeypatch):
    monkeypatch.setattr(host, "installed", lambda: (None, None))
    assert message(lambda: cudaq.set_target("pasqal"), "HostError") == (
        "CUDA-Q is not installed. Install it: pip install 'cuda-quantum-cu12>=0.16,<0.17'"
    )


def test_cudaq_has_another_version(monkeypatch):
    monkeypatch.setattr(host, "installed", lambda: ("cuda-quantum-cu13", "0.15.1"))
    assert message(lambda: cudaq.set_target("pasqal"), "HostError") == (
        "CUDA-Q 0.15.1 is installed, cudaq-target works with >=0.16,<0.17. "
        "Install a supported version: pip install 'cuda-quantum-cu13>=0.16,<0.17'"
    )


@pytest.mark.parametrize(
    ("launch", "option", "rest"),
    [
        (cudaq.sample, "shot_count", SAMPLE_OPTIONS),
        (cudaq.sample_async, "shotscount", ASYNC_OPTIONS),
        (cudaq.run, "session", "Known: shots_count, noise_model, qpu_id"),
        (cudaq.get_state, "shots_count", "Leave it out: there are no options"),
    ],
)
def test_unknown_option_of_a_launch(launch, option, rest):
    cudaq.set_target("pasqal")
    assert message(lambda: launch(ghz, 2, **{option: 3}), "OptionError") == (
        f"option {option!r} of {launch.__name__}: unknown option. {rest}"
    )


def test_options_of_a_launch_may_be_named_after_the_kernel():
    cudaq.set_target("pasqal")
    assert cudaq.sample(kernel=plain, shots_count=3).get_total_shots() == 3


@pytest.mark.parametrize("name", ["sample", "sample_async"])
def test_noise_trajectories(name):
    cudaq.set_target("pasqal")
    launch = getattr(cudaq.ptsbe, name)
    assert message(lambda: launch(ghz, 2, shots_count=3), "UnsupportedKernelError") == (
        "cudaq.ptsbe: a sample of noise trajectories cannot run here: they come from noise models "
        "of gates, which become pulses on atoms here. Use cudaq.sample with the noise of the "
        "atoms: cudaq.set_target(Pasqal(noise=pulser.NoiseModel(...)))"
    )


def test_there_is_no_noise_model_to_unset():
    for target in ("pasqal", "qpp-cpu"):
        cudaq.set_target(target)
        cudaq.cudaq_runtime.unset_noise()
        assert cudaq.sample(plain, shots_count=3).get_total_shots() == 3


KNOWN = (
    "Known: machine, device, noise, seed, layout, route, shots, threads, cache_dir, modulation, "
    "eom, machine_secret, machine_server_key, machine_timeout_s, machine_poll_s"
)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: Pasqal(sede=3),
            f"option 'sede': unknown option. Did you mean 'seed'? {KNOWN}",
        ),
        (
            lambda: Pasqal("local"),
            f"Pasqal('local'): options are given by name. Write Pasqal(NAME=...). {KNOWN}",
        ),
        (
            lambda: cudaq.set_target(Pasqal),
            "target Pasqal: this is a class. Write cudaq.set_target(Pasqal())",
        ),
        (
            lambda: cudaq.set_target("PASQALL"),
            "target 'PASQALL': no such target. Did you mean 'pasqal'?",
        ),
        (
            lambda: compile(ghz, 2, devise="MockDevice"),
            "option 'devise' of compile: unknown option. Did you mean 'device'? "
            "Known: device, layout, route, schedule, eom",
        ),
    ],
)
def test_names_written_wrong(call, text):
    assert message(call, "OptionError") == text


@cudaq.kernel
def typed(n: int, angles: list[float], flag: bool):
    q = cudaq.qvector(n)
    if flag:
        rx(angles[0], q[0])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("a", [0.1], True),
            "a call with 'a' for argument 1 (n) cannot run here: it must be an int. "
            "Pass such a value.",
        ),
        (
            (2, 0.5, True),
            "a call with 0.5 for argument 2 (angles) cannot run here: it must be a list of float. "
            "Pass such a value.",
        ),
        (
            ([1, 2], [0.1], True),
            "a call with [1, 2] for argument 1 (n) cannot run here: it must be an int. Pass such "
            "a value. Only cudaq.sample and cudaq.observe broadcast over lists.",
        ),
        (
            (2,),
            "a call with 1 arguments cannot run here: the kernel takes 3. "
            "Pass an int (n), a list of float (angles), a bool (flag).",
        ),
    ],
)
def test_arguments_that_do_not_fit(arguments, text):
    cudaq.set_target("pasqal")
    assert message(lambda: cudaq.get_state(typed, *arguments), "UnsupportedKernelError") == (
        f"typed: {text}"
    )
