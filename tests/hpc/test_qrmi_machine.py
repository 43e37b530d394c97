"""QPUs of a scheduler's job as machines of the target: results, devices, threads, jobs."""
# ruff: noqa: ARG001, ARG005 - fixtures are asked for by name

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cudaq
import numpy as np
import pytest
from cudaq import spin
from pulser.json.abstract_repr.validation import validate_abstract_repr
from scipy.stats import chi2_contingency

from cudaq_target import Job, shots_of, submit
from cudaq_target.analog.model import AnalogSpec, Waveform
from cudaq_target.analog.program import build
from cudaq_target.cloud.errors import JobEnvironmentError, JobTimeoutError
from cudaq_target.errors import (
    DeviceLimitError,
    MachineRefusedError,
    MachineUnavailableError,
    OptionError,
    UnsuitableDeviceError,
)
from cudaq_target.fakes import FakeCloud, FakeQpu, FakeWarden, munge
from cudaq_target.machines.remote import Task, close_all, machine_for
from cudaq_target.options import resolve
from tests.hpc.cloud_programs import waiting
from tests.hpc.fake_clients import PAIR_IN_G, until
from tests.hpc.qrmi_site import RESOURCE, USER, basis, become, enter_job, n_submitted, tilted

pytest.importorskip("qrmi")

UNLIKELY = 1e-6
WAIT_S = 60.0
_OFF = Waveform([0, 500], [0, 0])


@pytest.fixture(autouse=True)
def _stock_target():
    yield
    cudaq.set_target("qpp-cpu")
    close_all()


@pytest.fixture
def warden(monkeypatch, tmp_path):
    """A job that has a QPU on which gate kernels run."""
    with FakeWarden(device="DigitalAnalogDevice", credentials="stub", seed=3) as made:
        enter_job(monkeypatch, tmp_path, made.qrmi_environment(RESOURCE, USER, "7"))
        yield made


@pytest.fixture
def cloud(monkeypatch, tmp_path):
    """A job that has an emulator in the cloud."""
    with FakeCloud(seed=4) as made:
        enter_job(monkeypatch, tmp_path, made.qrmi_environment("EMU_FREE"))
        yield made


def counts(kernel, *arguments, n_shots=20):
    return dict(cudaq.sample(kernel, *arguments, shots_count=n_shots).items())


def the_machine(name="qrmi"):
    return machine_for(resolve({"machine": name}))


@pytest.mark.parametrize("service", ["warden", "cloud"])
def test_the_qpu_of_the_job_is_used_where_no_machine_is_named(request, service):
    made = request.getfixturevalue(service)
    cudaq.set_target("pasqal")
    result = cudaq.sample(basis, shots_count=20)
    assert dict(result.items()) == {"100": 20}
    assert shots_of(result).bits().tolist() == [[1, 0, 0]] * 20
    assert result.annotations["machine"] == "qrmi"
    name = RESOURCE if service == "warden" else "EMU_FREE"
    assert result.annotations["remote_machine"] == f"qrmi:{name}"
    assert n_submitted(made) == 1
    cudaq.set_target("pasqal", machine="local")
    assert counts(basis) == {"100": 20}
    assert n_submitted(made) == 1


def test_one_kernel_gives_the_same_counts_everywhere(warden, monkeypatch, tmp_path):
    """Local, cloud, QRMI to the cloud, QRMI to a QPU on site."""
    found = {}
    with FakeCloud(seed=5) as cloud:
        environment = warden.qrmi_environment(RESOURCE, USER, "7") | {
            f"EMU_FREE_{key}": value for key, value in cloud.qrmi_config().items()
        }
        environment["QRMI_JOB_QPU_RESOURCES"] = f"{RESOURCE},EMU_FREE"
        environment["QRMI_JOB_QPU_TYPES"] = "pasqal-local,pasqal-cloud"
        account = {
            "PASQAL_PROJECT_ID": cloud.project_id,
            "PASQAL_BASE_URL": cloud.url,
            "PASQAL_AUTH_TOKEN": cloud.token,
        }
        enter_job(monkeypatch, tmp_path, environment | account)
        for machine in ("local", "EMU_FREE", "qrmi:EMU_FREE", f"qrmi:{RESOURCE}"):
            cudaq.set_target("pasqal", machine=machine)
            found[machine] = counts(tilted, 1.1, n_shots=1000)
    table = np.array([[row.get(key, 0) for key in ("100", "111")] for row in found.values()])
    assert table.sum(axis=1).tolist() == [1000] * 4
    assert chi2_contingency(table).pvalue > UNLIKELY


@pytest.mark.parametrize("service", ["warden", "cloud"])
def test_atom_0_is_the_first_bit(request, service):
    """It is alone and inverted; the pair answers as blockaded atoms do."""
    request.getfixturevalue(service)
    machine = the_machine()
    sites = [(-20.0, 0.0), (10.0, 0.0), (15.0, 0.0)]
    program = _for(machine.device("analog"), sites, Waveform([0, 1000], [3.1416, 3.1416]))
    measured = machine.measure(Task.of(program), 500, seed=0)
    bits = (measured.packed[:, :1] >> np.arange(3, dtype=np.uint64)) & np.uint64(1)
    assert bits[:, 0].mean() > 0.95
    assert (bits[:, 1:].sum(axis=1) == 2).mean() < 0.05
    assert (bits[:, 1:].sum(axis=1) == 0).mean() == pytest.approx(PAIR_IN_G, abs=0.12)


def test_what_is_sent_follows_pulsers_schema(warden):
    cudaq.set_target("pasqal")
    counts(tilted, 0.3)
    (sent,) = warden.asked("jobs.create")
    validate_abstract_repr(sent.json()["sequence"], "sequence")


def test_groups_of_an_observable_are_in_flight_together(warden):
    warden.fault("job", "RUNNING")
    cudaq.set_target("pasqal")
    operator = spin.z(0) + 0.5 * spin.x(1) * spin.x(2) - 0.5 * spin.y(1) * spin.y(2)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(until, lambda: n_submitted(warden) == 2)
        waits.add_done_callback(lambda done: warden.release())
        result = cudaq.observe(tilted, operator, np.pi / 2, shots_count=100)
        waits.result()
    assert result.expectation() == pytest.approx(0.0, abs=1e-9)


def test_devices_without_the_channels_are_refused_before_anything_is_sent(monkeypatch, tmp_path):
    with FakeWarden(device="FRESNEL", engine="zeros", credentials="stub") as analog:
        enter_job(monkeypatch, tmp_path, analog.qrmi_environment(RESOURCE, USER))
        cudaq.set_target("pasqal")
        with pytest.raises(UnsuitableDeviceError, match="no local Rydberg channel"):
            cudaq.sample(basis)
        task = Task.of(waiting())  # lowered for Pulser's AnalogDevice
        with pytest.raises(OptionError, match="machine 'qrmi:fresnel1' has FRESNEL"):
            the_machine().measure(task, 5, seed=0)
        assert n_submitted(analog) == 0


def test_emulators_of_the_rydberg_levels_take_no_gate_kernels(cloud, monkeypatch):
    for name, value in cloud.qrmi_environment("EMU_MPS").items():
        monkeypatch.setenv(name, value)
    cudaq.set_target("pasqal")
    with pytest.raises(UnsuitableDeviceError, match=r"machine='local' for gate kernels"):
        cudaq.sample(basis)


def test_more_shots_than_the_qpu_allows_are_refused(cloud, monkeypatch):
    for name, value in cloud.qrmi_environment("FRESNEL").items():
        monkeypatch.setenv(name, value)
    machine = the_machine()
    device = machine.device("analog")
    assert device.max_runs == 2000
    program = _for(device)
    with pytest.raises(DeviceLimitError, match="at most 2000 shots"):
        machine.measure(Task.of(program), 2001, seed=0)
    assert n_submitted(cloud) == 0


def _for(device, sites=((0, 0), (8, 0)), amplitude=_OFF):
    return build(AnalogSpec.of(sites, amplitude), device)


def test_a_qpu_that_takes_no_jobs_is_sent_none(warden):
    cudaq.set_target("pasqal")
    warden._accessibility = (False, "maintenance")
    with pytest.raises(MachineUnavailableError, match="takes no jobs"):
        cudaq.sample(basis)
    assert n_submitted(warden) == 0


def test_unsuitable_resources_and_failed_hooks_are_named(warden, monkeypatch):
    monkeypatch.setenv("QRMI_JOB_QPU_TYPES", "qiskit-runtime-service")
    cudaq.set_target("pasqal")
    with pytest.raises(JobEnvironmentError, match="'fresnel1' is of type 'qiskit-runtime-serv"):
        cudaq.sample(basis)
    monkeypatch.setenv("QRMI_PLUGIN_ERROR", "fresnel1 is in maintenance until noon")
    with pytest.raises(JobEnvironmentError, match="maintenance until noon"):
        cudaq.sample(basis)
    assert not warden.requests


def test_threads_share_a_machine(warden):
    machine = the_machine()
    task = Task.of(_for(machine.device("analog")))
    barrier = threading.Barrier(6)

    def measure(_):
        barrier.wait(WAIT_S)
        return machine.measure(task, 5, seed=0)

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(measure, range(6)))
    assert len({measured.job_id for measured in found}) == 6
    assert all(measured.packed.tolist() == [[0]] * 5 for measured in found)


def test_the_child_of_a_fork_has_links_of_its_own(warden):
    machine = the_machine()
    task = Task.of(_for(machine.device("analog")))
    machine.measure(task, 5, seed=0)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, machine.measure(task, 5, seed=0).job_id.encode())
        finally:
            os._exit(0)
    os.close(write)
    assert os.read(read, 20) == b"2"
    os.close(read)
    os.waitpid(child, 0)
    assert machine.measure(task, 5, seed=0).job_id == "3"


def test_root_opens_a_session_and_ends_it(warden, monkeypatch):
    monkeypatch.delenv(f"{RESOURCE}_QRMI_JOB_ACQUISITION_TOKEN")
    become(monkeypatch, 0)
    monkeypatch.setenv("QRMI_JOB_UID", "0")
    cudaq.set_target("pasqal")
    assert counts(basis) == {"100": 20}
    *_, session = warden.sessions.values()
    assert (session.user_id, session.slurm_job_id, session.revoked_s) == ("0", "7", None)
    cudaq.set_target("qpp-cpu")
    assert session.revoked_s is not None


def test_jobs_are_fetched_by_another_process(warden, monkeypatch):
    monkeypatch.setenv("QRMI_JOB_QPU_RESOURCES", f"{RESOURCE},EMU_FREE")
    monkeypatch.setenv("QRMI_JOB_QPU_TYPES", "pasqal-local,pasqal-cloud")
    with FakeCloud(engine="zeros") as cloud:
        for key, value in cloud.qrmi_config().items():
            monkeypatch.setenv(f"EMU_FREE_{key}", value)
        jobs = [
            submit(_for(the_machine(name).device("analog")), 7, machine=name)
            for name in ("qrmi", "qrmi:EMU_FREE")
        ]
        code = "import sys; from cudaq_target import Job; " + (
            f"print([Job.load(name).result({WAIT_S}).counts() for name in sys.argv[1:]])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *(job.id for job in jobs)],
            env=os.environ | munge.stub_environment(USER),
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert done.stdout.strip() == "[{'00': 7}, {'00': 7}]", done.stderr
        for job, name, made in zip(jobs, (RESOURCE, "EMU_FREE"), (warden, cloud), strict=True):
            place = job.record.note.place
            assert place == {"resource": name, "service": made.url, "job": job.machine_id}
            assert n_submitted(made) == 1


def test_a_job_of_another_resource_is_asked_for_there(warden, monkeypatch):
    job = submit(_for(the_machine().device("analog")), 7)
    monkeypatch.setenv("QRMI_JOB_QPU_RESOURCES", f"EMU_FREE,{RESOURCE}")
    monkeypatch.setenv("QRMI_JOB_QPU_TYPES", "pasqal-cloud,pasqal-local")
    with FakeCloud(engine="zeros") as cloud:
        for key, value in cloud.qrmi_config().items():
            monkeypatch.setenv(f"EMU_FREE_{key}", value)
        close_all()
        assert the_machine().name == "qrmi:EMU_FREE"
        assert Job.load(job.id).result(WAIT_S).counts() == {"00": 7}
        monkeypatch.setenv(f"{RESOURCE}_QRMI_WARDEN_URL", "http://127.0.0.1:9")
        close_all()
        with pytest.raises(OptionError, match="Ask for it where it was sent from"):
            the_machine().seen(job.record.note)


def test_jobs_are_canceled_where_the_service_can(monkeypatch, tmp_path):
    for can_cancel in (False, True):
        with FakeWarden(engine="zeros", credentials="stub", can_cancel=can_cancel) as made:
            enter_job(monkeypatch, tmp_path, made.qrmi_environment(RESOURCE, USER))
            close_all()
            made.fault("job", "RUNNING")
            job = submit(_for(the_machine().device("analog")), 7)
            if can_cancel:
                assert job.cancel() == "CANCELED"
                continue
            with pytest.raises(MachineRefusedError, match=r"cannot cancel jobs \(HTTP 404\)"):
                job.cancel()
            with pytest.raises(JobTimeoutError, match="goes on"):
                job.result(0.05)
            made.release()
            assert job.result(WAIT_S).counts() == {"00": 7}


def test_a_qpu_behind_warden(fake_qpu: FakeQpu, monkeypatch, tmp_path):
    with FakeWarden(qpu_url=fake_qpu.url, credentials="stub") as made:
        enter_job(monkeypatch, tmp_path, made.qrmi_environment(RESOURCE, USER))
        machine = the_machine()
        task = Task.of(_for(machine.device("analog")))
        assert machine.measure(task, 5, seed=0).packed.tolist() == [[0]] * 5
    assert fake_qpu.jobs[0].order.n_shots == 5
