"""The target over the coupler: the same results as on the machine behind the controller."""
# ruff: noqa: F821, F841 - gates are names of the kernel language, variables name registers

from __future__ import annotations

import secrets

import cudaq
import numpy as np
import pytest
from cudaq import spin
from scipy.stats import chi2_contingency

from cudaq_target import Pasqal, shots_of
from cudaq_target.cli import main
from cudaq_target.coupler import TransportOptions
from tests.target.controllers import Watched, controller_process, served

pytestmark = pytest.mark.usefixtures("stock_target")

MHZ = 2.0 * np.pi * 1e6  # rad/s
N_SHOTS = 1000
UNLIKELY = 1e-6
HAMILTONIAN = (
    0.5 * spin.z(0) * spin.z(2) + 0.3 * spin.x(0) * spin.x(2) - 0.4 * spin.y(0) * spin.y(2)
    + 0.2 * spin.z(1) + 0.1
)  # fmt: skip


@cudaq.kernel
def basis():
    q = cudaq.qvector(5)
    x(q[1])
    x(q[4])


@cudaq.kernel
def tilted(angles: list[float]):
    q = cudaq.qvector(3)
    x(q[0])
    ry(angles[0], q[1])
    x.ctrl(q[1], q[2])
    ry(angles[1], q[2])


@cudaq.kernel
def measured(angle: float):
    q = cudaq.qvector(4)
    x(q[0])
    ry(angle, q[2])
    x.ctrl(q[2], q[3])
    last = mz(q[3])
    first = mz(q[0])


@cudaq.kernel
def prepared(angle: float):
    q = cudaq.qvector(3)
    ry(angle, q[0])
    x.ctrl(q[0], q[2])
    x(q[1])


@cudaq.kernel
def number(angle: float) -> int:
    q = cudaq.qvector(3)
    x(q[1])
    ry(angle, q[2])
    value = 0
    if mz(q[0]):
        value += 1
    if mz(q[1]):
        value += 2
    if mz(q[2]):
        value += 4
    return value


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    place = f"ipc://{tmp_path_factory.mktemp('controller')}/qpu"
    with controller_process(place) as process:
        yield process.endpoint


@pytest.fixture
def watched(tmp_path):
    """A machine in this process, and where it is."""
    machine = Watched()
    with served(f"ipc://{tmp_path}/qpu", machine) as place:
        yield machine, place
        cudaq.set_target("qpp-cpu")


def alike(ours, theirs) -> bool:
    """Whether two tables of counts may come from one distribution."""
    keys = sorted({*ours, *theirs})
    table = np.array([[counts.get(key, 0) for key in keys] for counts in (ours, theirs)])
    return len(keys) == 1 or chi2_contingency(table).pvalue > UNLIKELY


def counts(result):
    return dict(result.items())


def both(endpoint, call):
    """The result of a call on a controller, and on the machine that is behind it."""
    cudaq.set_target("pasqal", machine=endpoint, seed=11)
    ours = call()
    cudaq.set_target("pasqal", machine="local", seed=12)
    return ours, call()


@pytest.mark.parametrize("scheme", ["shm", "tcp", "udp"])
def test_every_transport_brings_every_bit_to_its_place(scheme):
    name = secrets.token_hex(8) if scheme == "shm" else "127.0.0.1:0"
    with served(f"{scheme}://{name}") as place:
        cudaq.set_target("pasqal", machine=place)
        assert counts(cudaq.sample(basis, shots_count=700)) == {"01001": 700}
        assert counts(cudaq.sample_async(basis, shots_count=7).get()) == {"01001": 7}
        cudaq.set_target("qpp-cpu")


@pytest.mark.parametrize("scheme", ["shm", "ipc"])
def test_controllers_with_longer_frames(scheme, tmp_path):
    name = secrets.token_hex(8) if scheme == "shm" else f"{tmp_path}/qpu"
    with served(f"{scheme}://{name}", options=TransportOptions(slot_bytes=16384)) as place:
        cudaq.set_target("pasqal", machine=place)
        assert counts(cudaq.sample(basis, shots_count=3000)) == {"01001": 3000}
        cudaq.set_target("qpp-cpu")


def test_samples_are_those_of_the_machine(endpoint):
    for angles in ([0.7, 1.1], [2.0, 0.4]):
        ours, theirs = both(endpoint, lambda a=angles: cudaq.sample(tilted, a, shots_count=N_SHOTS))
        assert alike(counts(ours), counts(theirs))
        shots = shots_of(ours)
        assert (shots.n_shots, shots.n_bits) == (N_SHOTS, 3)
        assert shots.counts() == counts(ours)
    ours, _ = both(endpoint, lambda: cudaq.sample(basis, shots_count=5))
    assert shots_of(ours).bits().tolist() == [[0, 1, 0, 0, 1]] * 5


def test_results_name_their_origin(endpoint):
    cudaq.set_target("pasqal", machine=endpoint)
    first, second = (cudaq.sample(basis, shots_count=5).annotations for _ in range(2))
    assert first["machine"] == endpoint
    assert first["device"] == "DigitalAnalogDevice"
    assert first["remote_machine"] == "local"
    assert len(first["job_id"]) == 16
    assert first["job_id"] != second["job_id"]


def test_registers_and_partial_measurements(endpoint):
    def call():
        return cudaq.sample(measured, 1.0, shots_count=N_SHOTS)

    ours, theirs = both(endpoint, call)
    assert alike(counts(ours), counts(theirs))
    assert sorted(ours.register_names) == sorted(theirs.register_names)
    for name in ("first", "last"):
        one, other = ours.get_register_counts(name), theirs.get_register_counts(name)
        assert alike(counts(one), counts(other))
    explicit, _ = both(
        endpoint, lambda: cudaq.sample(measured, 0.0, shots_count=9, explicit_measurements=True)
    )
    assert counts(explicit) == {"01": 9}


def test_broadcasting(endpoint):
    cudaq.set_target("pasqal", machine=endpoint)
    results = cudaq.sample(measured, [0.0, np.pi], shots_count=20)
    assert [counts(each) for each in results] == [{"10": 20}, {"11": 20}]
    found = cudaq.observe(prepared, spin.z(0), [0.0, np.pi], shots_count=20)
    assert [each.expectation() for each in found] == [1.0, -1.0]


def test_observe_samples_every_group(endpoint):
    cudaq.set_target("pasqal", machine="local")
    exact = cudaq.observe(prepared, HAMILTONIAN, 0.9).expectation()
    cudaq.set_target("pasqal", machine=endpoint, seed=5, shots=4000)
    found = cudaq.observe(prepared, HAMILTONIAN, 0.9)
    assert found.expectation() == pytest.approx(exact, abs=0.06)
    assert found.expectation() != exact
    assert found.expectation(spin.z(1)) == -1.0
    assert sum(counts(found.counts(spin.x(0) * spin.x(2))).values()) == 4000
    again = cudaq.observe_async(prepared, HAMILTONIAN, 0.9, shots_count=2000).get()
    assert again.expectation() == pytest.approx(exact, abs=0.08)


def test_observe_without_a_number_of_shots_takes_the_default(endpoint):
    cudaq.set_target("pasqal", machine=endpoint)
    found = cudaq.observe(prepared, spin.z(0), 0.9)
    assert sum(counts(found.counts(spin.z(0))).values()) == N_SHOTS


def test_run(endpoint):
    cudaq.set_target("pasqal", machine=endpoint)
    assert cudaq.run(number, np.pi, shots_count=9) == [6] * 9
    assert cudaq.run_async(number, 0.0, shots_count=4).get() == [2] * 4
    assert number(np.pi) == 6


def test_futures_and_threads_of_one_target(endpoint):
    cudaq.set_target("pasqal", machine=endpoint)
    futures = [cudaq.sample_async(measured, angle, shots_count=50) for angle in (0.0, np.pi) * 3]
    here = cudaq.sample(basis, shots_count=50)
    assert [counts(each.get()) for each in futures] == [{"10": 50}, {"11": 50}] * 3
    assert counts(here) == {"01001": 50}


def test_equal_seeds_give_equal_shots(endpoint):
    def shots(seed):
        cudaq.set_target("pasqal", machine=endpoint, seed=seed)
        first = cudaq.sample(tilted, [0.7, 1.1], shots_count=300)
        cudaq.observe(prepared, HAMILTONIAN, 0.9, shots_count=50)
        second = cudaq.sample(tilted, [0.7, 1.1], shots_count=300)
        return [shots_of(each).packed.tobytes() for each in (first, second)]

    one = shots(3)
    assert one[0] != one[1]
    assert shots(3) == one
    assert shots(4)[0] != one[0]


def test_the_seed_of_cudaq_reaches_the_machine(watched):
    machine, place = watched
    cudaq.set_target("pasqal", machine=place, seed=9)
    cudaq.sample(basis, shots_count=5)
    cudaq.set_target("pasqal", machine=place, seed=9)
    cudaq.sample(basis, shots_count=5)
    assert machine.requests[0] == machine.requests[1]
    assert machine.requests[0][1] != 0


def test_a_loop_loads_its_kernel_once(watched):
    machine, place = watched
    cudaq.set_target("pasqal", machine=place)
    for angle in (0.1, 0.2, 0.3):
        cudaq.sample(prepared, angle, shots_count=10)
    assert machine.n_loaded == 1
    assert machine.parameters == [[0.1], [0.2], [0.3]]
    for angle in (0.1, 0.2):
        cudaq.observe(prepared, HAMILTONIAN, angle, shots_count=10)
    assert machine.n_loaded == 3  # two more bases; the one of z is the kernel itself


def hamiltonian(duration_s=250e-9):
    """Atom 0 alone, atoms 1 and 2 blockaded; a π pulse for one atom."""
    const = cudaq.ScalarOperator.const
    sites = [(-30e-6, 0.0), (5e-6, 0.0), (10e-6, 0.0)]
    schedule = cudaq.Schedule(np.linspace(0.0, duration_s, 2), ["t"])
    return cudaq.RydbergHamiltonian(sites, const(2 * MHZ), const(0.0), const(0.0)), schedule


def test_evolve_measures_atoms_in_their_order(endpoint):
    program, schedule = hamiltonian()

    def call():
        return cudaq.evolve(program, schedule=schedule, shots_count=N_SHOTS)

    ours, theirs = both(endpoint, call)
    assert alike(counts(ours), counts(theirs))
    alone, pair = shots_of(ours).bits()[:, 0].mean(), shots_of(ours).bits()[:, 1:].max(1).mean()
    assert alone > 0.97
    assert pair < 0.9  # the blockade makes it faster by √2
    assert ours.annotations["device"] == "AnalogDevice"
    assert ours.annotations["machine"] == endpoint
    futures = [cudaq.evolve_async(program, schedule=schedule, shots_count=100) for _ in range(2)]
    assert all(shots_of(each.get()).n_shots == 100 for each in futures)


def test_evolve_estimates_diagonal_observables(endpoint):
    from cudaq import operators as ops

    program, schedule = hamiltonian()
    cudaq.set_target("pasqal", machine=endpoint, shots=500)
    result = cudaq.evolve(program, schedule=schedule, observables=[ops.number(0)])
    (value,) = (each.expectation() for each in result.final_expectation_values())
    assert value > 0.95


def test_more_angles_than_a_frame_holds(watched):
    machine, place = watched
    kernel = cudaq.make_kernel()
    qubits = kernel.qalloc(2)
    kernel.x(qubits[1])
    for _ in range(300):
        for angle in (0.1, -0.1):
            kernel.rx(angle, qubits[0])
    cudaq.set_target("pasqal", machine=place)
    assert counts(cudaq.sample(kernel, shots_count=10)) == {"01": 10}
    assert machine.parameters == [[]]


def test_switching_targets(endpoint):
    cudaq.set_target("pasqal", machine=endpoint)
    assert counts(cudaq.sample(basis, shots_count=3)) == {"01001": 3}
    with Pasqal(machine="local"):
        assert cudaq.observe(prepared, spin.z(1), 0.1).expectation() == pytest.approx(-1.0)
    assert counts(cudaq.sample(basis, shots_count=4)) == {"01001": 4}
    cudaq.set_target("qpp-cpu")
    assert counts(cudaq.sample(basis, shots_count=5)) == {"01001": 5}
    assert "machine" not in (cudaq.sample(basis, shots_count=5).annotations or {})
    cudaq.set_target("pasqal", machine=endpoint)
    assert cudaq.sample(basis, shots_count=6).annotations["machine"] == endpoint


def test_the_environment_names_the_machine(endpoint, monkeypatch):
    monkeypatch.setenv("CUDAQ_TARGET_MACHINE", endpoint)
    cudaq.set_target("pasqal")
    assert cudaq.sample(basis, shots_count=6).annotations["machine"] == endpoint


def test_the_command_runs_kernels_and_program_files_on_a_controller(endpoint, tmp_path, capsys):
    source = tmp_path / "kernels.py"
    source.write_text(
        "import cudaq\n\n@cudaq.kernel\ndef flip():\n    q = cudaq.qvector(3)\n    x(q[1])\n"
    )
    program = tmp_path / "flip.json"
    assert main(["compile", str(source), "--output", str(program)]) == 0
    capsys.readouterr()
    for given in (source, program):
        assert main(["run", str(given), "--machine", endpoint, "--shots", "8", "--json"]) == 0
        assert '"010": 8' in capsys.readouterr().out
