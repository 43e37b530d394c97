"""Which settings exist, which values they take, and which source wins."""

from __future__ import annotations

import json

import numpy as np
import pulser
import pytest
from pulser.register.special_layouts import TriangularLatticeLayout

from cudaq_target import options, route
from cudaq_target.errors import OptionError
from cudaq_target.options import Options, check, resolve
from cudaq_target.sites import Sites


@pytest.fixture(autouse=True)
def _no_user_file(tmp_path, monkeypatch):
    monkeypatch.setattr(options, "user_file", lambda: tmp_path / "user" / "config.toml")


def merged(tmp_path, given=None, **environ):
    return resolve(given or {}, environ, tmp_path)


def refusal(call, *args, **kwargs):
    with pytest.raises(OptionError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def test_defaults(tmp_path):
    assert merged(tmp_path) == Options()
    assert Options().machine == "local"


def test_an_empty_variable_is_not_set(tmp_path):
    assert merged(tmp_path, CUDAQ_TARGET_SEED="", CUDAQ_TARGET_MACHINE="") == merged(tmp_path)
    with pytest.raises(OptionError, match="CUDAQ_TARGET_SEDE: unknown option"):
        merged(tmp_path, CUDAQ_TARGET_SEDE="")


def test_precedence_argument_environment_nearest_file_default(tmp_path):
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "config.toml").write_text("shots = 1\nseed = 1\nthreads = 1\n")
    assert merged(tmp_path).shots == 1
    (tmp_path / "pyproject.toml").write_text("[tool.cudaq-target]\nshots = 2\nseed = 2\n")
    assert merged(tmp_path).shots == 2
    (tmp_path / "cudaq-target.toml").write_text("shots = 3\n")
    assert merged(tmp_path).shots == 3
    assert merged(tmp_path, CUDAQ_TARGET_SHOTS="4").shots == 4
    settings = merged(tmp_path, {"shots": 5, "seed": None}, CUDAQ_TARGET_SHOTS="4")
    assert (settings.shots, settings.seed, settings.threads) == (5, 2, 1)


@pytest.mark.parametrize("name", list(options.PARSERS))
def test_every_option_is_a_field_of_options_and_of_the_target(name):
    from cudaq_target import Pasqal

    assert name in Options.__dataclass_fields__
    assert name in Pasqal.__dataclass_fields__
    assert len(options.PARSERS) == len(Options.__dataclass_fields__)


def test_unknown_names_are_refused_with_the_nearest_known_one(tmp_path):
    known = (
        "Known: machine, device, noise, seed, layout, route, shots, threads, cache_dir, "
        "modulation, eom, machine_secret, machine_server_key, machine_timeout_s, machine_poll_s"
    )
    assert refusal(check, {"machne": "local"}) == (
        f"option 'machne': unknown option. Did you mean 'machine'? {known}"
    )
    assert refusal(merged, tmp_path, CUDAQ_TARGET_SHOT="3").startswith(
        "environment variable CUDAQ_TARGET_SHOT: unknown option. "
        "Did you mean 'CUDAQ_TARGET_SHOTS'? Known: CUDAQ_TARGET_MACHINE, "
    )
    own = tmp_path / "cudaq-target.toml"
    own.write_text("sed = 3\n")
    assert refusal(merged, tmp_path) == (
        f"{own}: 'sed': unknown option. Did you mean 'seed'? {known}"
    )


def test_refused_values_name_their_source(tmp_path):
    assert refusal(merged, tmp_path, CUDAQ_TARGET_SHOTS="many") == (
        "environment variable CUDAQ_TARGET_SHOTS: shots 'many': not allowed. "
        "Give a whole number of at least 1"
    )
    own = tmp_path / "cudaq-target.toml"
    own.write_text("route = 'around'\n")
    assert refusal(merged, tmp_path) == (
        f"{own}: 'route': route 'around': no such way to route. Known: swap, direct"
    )
    own.write_text("route = \n")
    assert refusal(merged, tmp_path).startswith(f"{own}: is no valid TOML (Invalid value")


def test_machines_of_later_versions_are_refused():
    assert refusal(check, {"machine": "emu"}) == (
        "machine 'emu': no such machine in this version. "
        "Did you mean 'emu-sv'? Known: local, qutip, emu-sv, emu-mps, auto-emulator, "
        "shm://name, ipc://path, tcp://host:port, udp://host:port, "
        "EMU_FREE, EMU_MPS, EMU_SV, EMU_FRESNEL, FRESNEL, FRESNEL_CAN1, qrmi, qrmi:NAME"
    )
    assert "Did you mean 'qutip'?" in refusal(check, {"machine": "qtip"})


@pytest.mark.parametrize("variable", options.QPU_RESOURCE_VARIABLES)
def test_a_qpu_of_the_job_is_never_ignored(tmp_path, variable):
    environ = {variable: "fresnel-1"}
    assert merged(tmp_path, **environ).machine == "qrmi"
    assert merged(tmp_path, **{variable: " "}).machine == "local"
    assert merged(tmp_path, {"machine": "local"}, **environ).machine == "local"
    assert merged(tmp_path, CUDAQ_TARGET_MACHINE="qutip", **environ).machine == "qutip"


def test_unknown_device_lists_the_known_ones():
    message = refusal(check, {"device": "Foo"})
    assert message.startswith("device 'Foo': no such device. Known: AnalogDevice, ")
    assert "DigitalAnalogDevice" in message
    assert "Did you mean DigitalAnalogDevice?" in refusal(check, {"device": "DigitalAnalog"})


def test_devices_by_name_object_and_file(tmp_path):
    device = pulser.devices.DigitalAnalogDevice
    path = tmp_path / "device.json"
    path.write_text(device.to_abstract_repr())
    for given in ("DigitalAnalogDevice", device, path, str(path)):
        assert check({"device": given})["device"] == device


def test_noise_as_model_and_as_file(tmp_path):
    model = pulser.NoiseModel(p_false_pos=0.01)
    path = tmp_path / "noise.json"
    path.write_text(model.to_abstract_repr())
    for given in (model, path, str(path)):
        assert check({"noise": given})["noise"] == model
    assert refusal(check, {"noise": 0.1}) == (
        "noise: builtins.float is no noise model of atoms. Give a pulser.NoiseModel, or the path "
        "of a JSON file with its abstract representation"
    )
    path.write_text("{}")
    assert "holds no noise model" in refusal(check, {"noise": path})
    assert "cannot be read (No such file" in refusal(check, {"noise": tmp_path / "absent.json"})


def test_layouts_of_every_kind_mean_the_same(tmp_path):
    sites = [[-4.0, 0.0], [0.0, 0.0], [4.0, 0.0]]
    wanted = tuple(map(tuple, sites))
    path = tmp_path / "sites.json"
    path.write_text(json.dumps(sites))
    register = pulser.Register.from_coordinates(sites, center=False, prefix="q")
    for given in (sites, np.array(sites), register, path, str(path)):
        assert check({"layout": given})["layout"] == Sites(wanted)
    assert check({"layout": Sites(wanted)})["layout"] == Sites(wanted)


def test_trap_layouts_are_kept():
    traps = TriangularLatticeLayout(60, 5.0)
    found = check({"layout": traps})["layout"]
    assert found == Sites(tuple(map(tuple, traps.coords.tolist())), traps)
    register = traps.define_register(31, 30, 20)
    found = check({"layout": register})["layout"]
    assert found.traps is traps
    np.testing.assert_array_equal(found.as_array(), traps.coords[[31, 30, 20]])


@pytest.mark.parametrize(
    "given", [[1.0, 2.0], [[1.0, np.nan]], [[1.0] * 4], "absent.json", [["a"]]]
)
def test_unusable_layouts_are_refused(given):
    assert "Give coordinates (µm) of shape (n_sites, 2)" in refusal(check, {"layout": given})


@pytest.mark.parametrize("given", [0, -1, 1.5, True, "x", ""])
def test_numbers_of_shots_are_positive_whole_numbers(given):
    assert refusal(check, {"shots": given}) == (
        f"shots {given!r}: not allowed. Give a whole number of at least 1"
    )


def test_whole_numbers_of_numpy_and_of_text_are_accepted():
    assert check({"shots": np.int64(7), "seed": "0"}) == {"shots": 7, "seed": 0}


def test_routes_are_those_of_the_router():
    assert set(options.ROUTES) == set(route.ROUTES)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ipc://", "machine 'ipc://': the path of a socket file is missing. Give a path in"),
        ("shm://a/b", "machine 'shm://a/b': 'a/b' is no name of a shared segment. Use 1 to"),
        ("tcp://host", "machine 'tcp://host': no host with a port from 0 to 65535. Use tcp://"),
        ("tcp://host:0", "machine 'tcp://host:0': port 0 is for servers. Give the port"),
        ("http://x:1", "machine 'http://x:1': no known transport. Use shm://name, ipc://path"),
        ("ipc:/run/qpu", "machine 'ipc:/run/qpu': no such machine in this version. Known: local"),
    ],
)
def test_endpoints_written_wrong_are_refused(tmp_path, name, text):
    assert refusal(check, {"machine": name}).startswith(text)
    own = tmp_path / "cudaq-target.toml"
    own.write_text(f"machine = {name!r}\n")
    assert refusal(merged, tmp_path).startswith(f"{own}: 'machine': {text}")
    own.unlink()
    where = "environment variable CUDAQ_TARGET_MACHINE"
    assert refusal(merged, tmp_path, CUDAQ_TARGET_MACHINE=name).startswith(f"{where}: {text}")


def test_endpoints_come_from_every_source(tmp_path):
    assert merged(tmp_path, {"machine": "shm://qpu"}).machine == "shm://qpu"
    assert merged(tmp_path, CUDAQ_TARGET_MACHINE="tcp://[::1]:5").machine == "tcp://[::1]:5"
    (tmp_path / "cudaq-target.toml").write_text("machine = 'udp://localhost:7'\n")
    assert merged(tmp_path).machine == "udp://localhost:7"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"noise": pulser.NoiseModel(p_false_pos=0.1)},
            "noise: machine 'shm://qpu' has its own, which is not set here. "
            "Leave it out, or give it to the controller: cudaq-target serve",
        ),
        ({"modulation": True}, "modulation: machine 'shm://qpu' has its own"),
        ({"threads": 2}, "threads: machine 'shm://qpu' has its own"),
        (
            {"machine_secret": "a.key_secret"},
            "machine_server_key: it is missing, machine_secret is given. Give both files",
        ),
        (
            {"machine_server_key": "a.key"},
            "machine_secret: it is missing, machine_server_key is given. Give both files",
        ),
        (
            {"machine_secret": "a.key_secret", "machine_server_key": "b.key"},
            "machine_secret: machine 'shm://qpu' knows no keys. Leave the keys out, or use",
        ),
        ({"machine_secret": ""}, "machine_secret '': not allowed. Give the path of a key file"),
        ({"machine_timeout_s": 0}, "machine_timeout_s 0: not allowed. Give a time above 0 s"),
        ({"machine_timeout_s": "soon"}, "machine_timeout_s 'soon': not allowed"),
    ],
)
def test_options_that_a_controller_does_not_follow_are_refused(tmp_path, given, text):
    assert refusal(merged, tmp_path, {"machine": "shm://qpu", **given}).startswith(text)
