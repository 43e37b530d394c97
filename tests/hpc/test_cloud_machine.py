"""Pasqal Cloud as a machine of the target, over its stand-in."""
# ruff: noqa: ARG001, ARG005, F821 - gates are words of the kernel language, fixtures have names

from __future__ import annotations

import re

import cudaq
import numpy as np
import pytest
from cudaq import spin
from scipy.stats import chi2_contingency

from cudaq_target import shots_of
from cudaq_target.errors import (
    DeviceLimitError,
    MachineUnavailableError,
    OptionError,
    UnsuitableDeviceError,
    UnsupportedKernelError,
)
from tests.hpc.cloud_account import submitted

MHZ = 2.0 * np.pi * 1e6  # rad/s
UNLIKELY = 1e-6


@cudaq.kernel
def basis():
    q = cudaq.qvector(5)
    x(q[1])
    x(q[4])


@cudaq.kernel
def tilted(angle: float):
    q = cudaq.qvector(3)
    x(q[0])
    ry(angle, q[1])
    x.ctrl(q[1], q[2])


@cudaq.kernel
def number() -> int:
    q = cudaq.qvector(3)
    x(q[1])
    value = 0
    if mz(q[0]):
        value += 1
    if mz(q[1]):
        value += 2
    return value


@pytest.fixture(autouse=True)
def stock_target():
    yield
    cudaq.set_target("qpp-cpu")


def rydberg(sites_m, peak=1.0):
    """A global pulse, constant but for its edges, on atoms that start in g."""
    steps = np.linspace(0.0, 1e-6, 101)
    on = cudaq.ScalarOperator(lambda t: peak * MHZ if 0.0 < t.real < 1e-6 else 0.0)
    off = cudaq.ScalarOperator(lambda t: 0.0)
    hamiltonian = cudaq.RydbergHamiltonian(
        atom_sites=sites_m, amplitude=on, phase=off, delta_global=off
    )
    return hamiltonian, cudaq.Schedule(steps, ["t"])


def alike(ours, theirs) -> bool:
    keys = sorted({*ours, *theirs})
    table = np.array([[counts.get(key, 0) for key in keys] for counts in (ours, theirs)])
    return len(keys) == 1 or chi2_contingency(table).pvalue > UNLIKELY


def test_every_bit_finds_its_place(account):
    cudaq.set_target("pasqal", machine="EMU_FREE")
    result = cudaq.sample(basis, shots_count=20)
    assert dict(result.items()) == {"01001": 20}
    assert shots_of(result).bits().tolist() == [[0, 1, 0, 0, 1]] * 20
    assert cudaq.run(number, shots_count=4) == [2] * 4
    assert dict(cudaq.sample_async(basis, shots_count=3).get().items()) == {"01001": 3}


def test_counts_are_those_of_the_local_machine(account):
    cudaq.set_target("pasqal", machine="EMU_FREE")
    ours = dict(cudaq.sample(tilted, 1.1, shots_count=500).items())
    cudaq.set_target("pasqal", machine="local", seed=3)
    assert alike(ours, dict(cudaq.sample(tilted, 1.1, shots_count=500).items()))


def test_analog_programs_keep_the_order_of_atoms(account):
    """The outer atom is inverted by what a pair under blockade answers to differently."""
    cudaq.set_target("pasqal", machine="FRESNEL")
    sites = [(0.0, 0.0), (4e-5, 0.0), (4e-5, 6e-6)]
    hamiltonian, schedule = rydberg(sites, 0.5)
    ours = cudaq.evolve(hamiltonian, schedule=schedule, shots_count=300)
    cudaq.set_target("pasqal", machine="local", seed=5)
    theirs = cudaq.evolve(hamiltonian, schedule=schedule, shots_count=300)
    assert alike(dict(ours.items()), dict(theirs.items()))
    assert ours.annotations["device"] == "FRESNEL"


def test_results_name_their_origin(account):
    cudaq.set_target("pasqal", machine="EMU_FREE")
    annotations = cudaq.sample(basis, shots_count=2).annotations
    (batch,) = account.batches
    assert annotations["machine"] == annotations["device"] == "EMU_FREE"
    assert annotations["job_id"] == batch.jobs[0].id
    assert annotations["batch_id"] == batch.id


def test_groups_of_an_observable_share_one_batch_and_one_request(account):
    cudaq.set_target("pasqal", machine="EMU_FREE")
    operator = spin.z(0) + 0.5 * spin.x(1) * spin.x(2) - 0.5 * spin.y(1) * spin.y(2)
    result = cudaq.observe(tilted, operator, np.pi / 2, shots_count=100)
    assert submitted(account) == 1
    (batch,) = account.batches
    assert len(batch.jobs) == 2  # Z goes with either
    assert not batch.is_open
    assert result.expectation() == pytest.approx(0.0, abs=1e-9)  # -1 + 0.5 + 0.5, all certain


def test_a_loop_shares_an_open_batch_that_ends_with_the_target(account):
    cudaq.set_target("pasqal", machine="EMU_FREE")
    for _ in range(4):
        cudaq.sample(basis, shots_count=2)
    alone, loop = account.batches
    assert (len(alone.jobs), len(loop.jobs)) == (1, 3)
    assert (alone.is_open, loop.is_open) == (False, True)
    assert len(account.asked("results")) == 4  # the result of each new job alone
    cudaq.set_target("qpp-cpu")
    assert not loop.is_open


def test_a_loop_goes_on_where_the_cloud_has_ended_its_batch(account):
    cudaq.set_target("pasqal", machine="EMU_FREE")
    for _ in range(2):
        cudaq.sample(basis, shots_count=2)
    account.force(account.batches[1].id, "TIMED_OUT")
    assert dict(cudaq.sample(basis, shots_count=2).items()) == {"01001": 2}
    assert [len(batch.jobs) for batch in account.batches] == [1, 1, 1]


@pytest.mark.parametrize("machine", ["FRESNEL", "EMU_FRESNEL", "EMU_MPS", "EMU_SV"])
def test_gate_kernels_are_refused_where_the_channels_are_missing(account, machine):
    cudaq.set_target("pasqal", machine=machine)
    with pytest.raises(UnsuitableDeviceError, match="gate kernels") as caught:
        cudaq.sample(basis)
    # What the cloud reports with local channels, and nothing else; then this process.
    advice = caught.value.remedy
    assert re.findall(r"machine='(\w+)'", advice) == ["EMU_FREE", "local"]
    assert "cudaq.evolve" in advice
    for name in re.findall(r"machine='(\w+)'", advice):
        cudaq.set_target("pasqal", machine=name)
        assert dict(cudaq.sample(basis, shots_count=2).items()) == {"01001": 2}
    assert submitted(account) == 1


def test_what_a_service_cannot_give_is_refused(account):
    cudaq.set_target("pasqal", machine="EMU_FREE")
    with pytest.raises(UnsupportedKernelError, match="shots, no states"):
        cudaq.get_state(basis)
    with pytest.raises(OptionError, match="threads"):
        cudaq.set_target("pasqal", machine="EMU_FREE", threads=2)
    assert submitted(account) == 0


def test_more_shots_than_a_qpu_takes_are_refused(account):
    cudaq.set_target("pasqal", machine="FRESNEL")
    hamiltonian, schedule = rydberg([(0.0, 0.0), (1e-5, 0.0)])
    with pytest.raises(DeviceLimitError, match="at most 2000 shots"):
        cudaq.evolve(hamiltonian, schedule=schedule, shots_count=2001)
    assert submitted(account) == 0


def test_another_device_than_the_reported_one_is_refused(account):
    cudaq.set_target("pasqal", machine="EMU_FREE", device="DigitalAnalogDevice")
    with pytest.raises(OptionError, match="reports the device"):
        cudaq.sample(basis)


def test_a_device_that_is_away_is_named(account):
    account.availability["EMU_FREE"] = "MAINTENANCE"
    cudaq.set_target("pasqal", machine="EMU_FREE")
    with pytest.raises(MachineUnavailableError, match="MAINTENANCE"):
        cudaq.sample(basis)
    del account.availability["EMU_FREE"]
    with pytest.raises(MachineUnavailableError, match="no such device"):
        cudaq.sample(basis)
    assert submitted(account) == 0
