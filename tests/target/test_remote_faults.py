"""Controllers that refuse, fail, vanish and come back: typed errors, every shot accounted for."""
# ruff: noqa: F821 - gates are names of the kernel language

from __future__ import annotations

import os
import signal
import threading
import time

import cudaq
import numpy as np
import pytest

import cudaq_target
from cudaq_target.circuit import Circuit
from cudaq_target.cli import main
from cudaq_target.coupler import (
    RPC_INCREMENT,
    ControlClient,
    client_security,
    connect,
    make_keys,
    server_security,
)
from cudaq_target.coupler.control_options import ControlOptions
from cudaq_target.coupler.server import serve
from cudaq_target.errors import (
    MachineRefusedError,
    MachineUnavailableError,
    OptionError,
    RunFailedError,
    UnsuitableDeviceError,
    UnsupportedKernelError,
)
from cudaq_target.shots import shots_of
from cudaq_target.template import CircuitTemplate
from tests.target.controllers import ControllerProcess, Watched, served

pytestmark = pytest.mark.usefixtures("stock_target")


@cudaq.kernel
def flip():
    q = cudaq.qvector(3)
    x(q[1])


@cudaq.kernel
def many(n_qubits: int):
    q = cudaq.qvector(n_qubits)
    h(q[0])


@pytest.fixture
def place(tmp_path):
    return f"ipc://{tmp_path}/qpu"


def choose(place, **options):
    cudaq.set_target("pasqal", machine=place, **options)


def test_nobody_there(place):
    choose(place, machine_timeout_s=0.2)
    with pytest.raises(MachineUnavailableError, match=r"no controller answers.*cudaq-target serve"):
        cudaq.sample(flip)
    with pytest.raises(MachineUnavailableError, match="no controller answers"):
        cudaq.sample_async(flip).get()


def test_another_server_there(place):
    with serve([RPC_INCREMENT], place):
        choose(place)
        with pytest.raises(MachineUnavailableError, match="is no controller of this package"):
            cudaq.sample(flip)


def test_a_controller_without_a_device(place):
    class Dice(Watched):
        def specs(self):
            return '{"name": "dice"}'

    with served(place, Dice()):
        choose(place)
        with pytest.raises(UnsuitableDeviceError, match=r"\(dice\) reports no device for them"):
            cudaq.sample(flip)


def test_another_device_than_the_machines_is_refused_by_name(place):
    with served(place):
        choose(place, device="MockDevice")
        text = f"device 'MockDevice': machine '{place}' has DigitalAnalogDevice. Leave device= out"
        with pytest.raises(OptionError) as caught:
            cudaq.sample(flip)
        assert str(caught.value).startswith(text)
        choose(place, device="DigitalAnalogDevice")
        assert dict(cudaq.sample(flip, shots_count=3).items()) == {"010": 3}


def test_programs_are_compiled_for_the_reported_device_or_any_other(place):
    with served(place, Watched(device="MockDevice")):
        choose(place)
        assert cudaq_target.compile(flip).rules.name == "MockDevice"
    other = cudaq_target.compile(flip, device="DigitalAnalogDevice")
    assert other.rules.name == "DigitalAnalogDevice"


def test_a_program_file_for_another_device_is_refused(place, tmp_path, capsys):
    file = tmp_path / "flip.json"
    file.write_text(cudaq_target.compile(flip, device="MockDevice").to_json())
    with served(place):
        assert main(["run", str(file), "--machine", place, "--shots", "3"]) == 2
    assert f"device 'MockDevice': machine '{place}' has Digital" in capsys.readouterr().err


def test_a_controller_without_room(place):
    machine = Watched(cadence_hz=100.0)
    options = ControlOptions(max_runs=1)
    with served(place, machine, control_options=options), connect(place) as link:
        client = ControlClient(link.caller(10.0))
        template, _ = CircuitTemplate.of(Circuit("other", 1, ()))
        run = client.run(client.load_program(template.to_json()), 100_000)
        choose(place, machine_timeout_s=0.3)
        with pytest.raises(MachineUnavailableError, match=r"1 runs are under way.*Try again"):
            cudaq.sample(flip, shots_count=3)
        choose(place)
        future = cudaq.sample_async(flip, shots_count=3)
        run.stop()
        assert dict(future.get().items()) == {"010": 3}


def test_states_are_refused_by_name(place):
    with served(place):
        choose(place)
        with pytest.raises(
            UnsupportedKernelError, match=r"gives shots, no states.*machine='local'"
        ):
            cudaq.get_state(flip)
        with pytest.raises(UnsupportedKernelError, match="gives shots, no states"):
            cudaq.get_state_async(flip).get()
        const = cudaq.ScalarOperator.const
        program = cudaq.RydbergHamiltonian([(0.0, 0.0)], const(6e6), const(0.0), const(0.0))
        schedule = cudaq.Schedule(np.linspace(0.0, 1e-6, 3), ["t"])
        for option, value in (
            ("initial_state", cudaq.InitialStateType.UNIFORM),
            ("store_intermediate_results", cudaq.IntermediateResultSave.ALL),
        ):
            with pytest.raises(OptionError, match=rf"^{option}: machine .*machine='local'"):
                cudaq.evolve(program, schedule=schedule, **{option: value})


def test_what_the_device_cannot_run_is_refused_in_its_words(place):
    with served(place):
        choose(place)
        with pytest.raises(MachineRefusedError, match=r"refuses many: .*DigitalAnalogDevice"):
            cudaq.sample(many, 500, shots_count=5)
        assert dict(cudaq.sample(flip, shots_count=3).items()) == {"010": 3}


def test_a_machine_that_fails_in_mid_run(place):
    watched = Watched(fail_after=1024)
    with served(place, watched):
        choose(place)
        with pytest.raises(RunFailedError, match="the laser went out") as caught:
            cudaq.sample(flip, shots_count=5000)
        assert 1024 <= watched.n_measured < 5000  # turns of the machine have lengths of their own
        assert (caught.value.n_received, caught.value.n_shots) == (watched.n_measured, 5000)
        assert len(caught.value.job_id) == 16


def test_ctrl_c_ends_the_run_on_the_controller(place):
    machine = Watched(cadence_hz=200.0)

    def interrupt():
        machine.measured.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    with served(place, machine):
        choose(place)
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            cudaq.sample(flip, shots_count=100_000)
        thread.join()
        until_s = time.monotonic() + 60
        while machine.n_closed == 0 and time.monotonic() < until_s:
            time.sleep(0.01)
        assert machine.n_closed == 1
        assert machine.n_measured < 100_000
        assert dict(cudaq.sample(flip, shots_count=3).items()) == {"010": 3}


def test_a_restarted_controller_measures_the_missing_shots(place):
    process = ControllerProcess(place, "--cadence-hz", "300")
    try:
        choose(place, seed=1)
        cudaq.sample(flip, shots_count=3)
        future = cudaq.sample_async(flip, shots_count=500)
        time.sleep(0.5)
        process.kill()
        process.start()
        result = future.get()
        assert dict(result.items()) == {"010": 500}
        assert shots_of(result).n_shots == 500
        assert len(result.annotations["job_id"].split("+")) == 2
        # Also between two runs, where the controller has forgotten the program alone.
        process.kill()
        process.start()
        assert dict(cudaq.sample(flip, shots_count=4).items()) == {"010": 4}
    finally:
        cudaq.set_target("qpp-cpu")
        process.end()


def test_a_controller_that_stays_away(place):
    with served(place, Watched(cadence_hz=100.0)) as where:
        choose(where, machine_timeout_s=1.0)
        future = cudaq.sample_async(flip, shots_count=100_000)
        time.sleep(0.5)
    with pytest.raises(MachineUnavailableError, match=r"of 100000 shots had come.*Start the"):
        future.get()


def test_a_controller_that_comes_back_with_another_device(place):
    with served(place):
        choose(place)
        cudaq.sample(flip, shots_count=3)
    with served(place, Watched(device="MockDevice")):
        with pytest.raises(MachineRefusedError, match="restarted with another device"):
            cudaq.sample(flip, shots_count=3)
        choose(place)
        assert cudaq.sample(flip, shots_count=3).annotations["device"] == "MockDevice"


def test_the_child_of_a_fork_has_links_of_its_own(place):
    with served(place):
        choose(place)
        cudaq.sample(flip, shots_count=3)
        child = os.fork()
        if child == 0:
            found = dict(cudaq.sample(flip, shots_count=4).items())
            os._exit(0 if found == {"010": 4} else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert dict(cudaq.sample(flip, shots_count=5).items()) == {"010": 5}


def test_keys(tmp_path):
    keys = tmp_path / "keys"
    for name in ("client", "controller", "stranger"):
        make_keys(keys, name)
    security = server_security(keys / "controller.key_secret", clients=[keys / "client.key"])
    with served("tcp://127.0.0.1:0", security=security) as where:
        server = keys / "controller.key"
        choose(where, machine_secret=keys / "client.key_secret", machine_server_key=server)
        assert dict(cudaq.sample(flip, shots_count=3).items()) == {"010": 3}
        stranger = keys / "stranger.key_secret"
        choose(where, machine_secret=stranger, machine_server_key=server, machine_timeout_s=1.0)
        with pytest.raises(MachineUnavailableError, match="no controller answers"):
            cudaq.sample(flip, shots_count=3)
        choose(where, machine_secret=keys / "none", machine_server_key=server)
        with pytest.raises(OptionError, match=r"key file .*none': it cannot be read"):
            cudaq.sample(flip, shots_count=3)
    assert client_security(keys / "client.key_secret", server).server_public


def test_a_place_that_is_open_to_others_is_not_called(tmp_path):
    tmp_path.chmod(0o777)
    cudaq.set_target("pasqal", machine=f"ipc://{tmp_path}/qpu.sock")
    with pytest.raises(MachineUnavailableError, match=r"it was not called: .*mode 0?777") as caught:
        cudaq.sample(flip, shots_count=1)
    assert "0700" in str(caught.value)
    assert "no controller answers" not in str(caught.value)
