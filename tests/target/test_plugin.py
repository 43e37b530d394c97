"""The plug-in's way into CUDA-Q, with and without a suitable CUDA-Q."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib.metadata import PackageNotFoundError, entry_points

import cudaq
import numpy as np
import pytest

from cudaq_target import Pasqal, host, plugin, target
from cudaq_target.errors import HostError
from cudaq_target.launch import redirect

pytestmark = pytest.mark.usefixtures("stock_target")


def run_python(code):
    return subprocess.run(
        [sys.executable, "-W", "ignore::FutureWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def wrapped(function):
    return getattr(function, redirect._MARK)


def test_installed_as_a_backend_of_cudaq():
    (found,) = [point for point in entry_points(group="cudaq.backends") if point.name == "pasqal"]
    assert found.load() is plugin.register


def test_every_public_launch_function_is_ours_and_looks_like_the_original():
    names = [name for name, *_ in redirect.LAUNCHES]
    for name in (*names, *redirect.INSPECTIONS, "set_target"):
        function = getattr(cudaq, name)
        assert wrapped(function).__name__ == name
        assert function.__doc__ == wrapped(function).__doc__
        assert function.__module__.startswith("cudaq")


def test_registering_twice_wraps_once():
    before = wrapped(cudaq.sample)
    plugin.register()
    assert wrapped(cudaq.sample) is before
    assert not hasattr(before, redirect._MARK)
    assert not hasattr(wrapped(cudaq.set_target), redirect._MARK)


@pytest.mark.parametrize("version", ["0.16.0", "0.16.0.post1", "0.16.3"])
def test_supported_versions(version):
    assert host.is_supported(version)


@pytest.mark.parametrize("version", ["0.15.9", "0.17.0", "0.17.0rc1", "1.0", "unknown"])
def test_unsupported_versions(version):
    assert not host.is_supported(version)


def test_another_version_warns_once_and_is_refused(monkeypatch):
    monkeypatch.setattr(host, "installed", lambda: ("cuda-quantum-cu13", "0.17.0"))
    text = (
        "CUDA-Q 0.17.0 is installed, cudaq-target works with >=0.16,<0.17. "
        "Install a supported version: pip install 'cuda-quantum-cu13>=0.16,<0.17'"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plugin.register()
    assert [str(warning.message) for warning in caught] == [f"cudaq-target: {text}"]
    for select in (lambda: cudaq.set_target("pasqal"), lambda: cudaq.set_target(Pasqal())):
        with pytest.raises(HostError) as refused:
            select()
        assert str(refused.value) == text
    assert target.active() is None
    assert cudaq.get_target().name != "pasqal"


def test_without_cudaq_the_command_is_named(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(host.metadata, "version", missing)
    monkeypatch.setattr(host, "find_spec", lambda _: None)
    with pytest.raises(HostError) as refused, Pasqal():
        pass
    assert str(refused.value) == (
        "CUDA-Q is not installed. Install it: pip install 'cuda-quantum-cu12>=0.16,<0.17'"
    )


def test_a_build_from_source_tells_its_own_version(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(host.metadata, "version", missing)
    flavour, version = host.installed()
    assert flavour is None
    assert host.is_supported(version)


def test_the_package_imports_without_cudaq():
    code = """
import sys
sys.modules["cudaq"] = None
import cudaq_target
cudaq_target.Pasqal(machine="local", shots=3)
assert not {"pulser", "scipy", "numba"} & set(sys.modules), "heavy imports"
print("fine")
"""
    done = run_python(code)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


def test_the_command_line_of_cudaq_selects_the_target():
    code = """
import sys
sys.argv = ["program", "--target", "pasqal"]
import cudaq
from cudaq_target import target
print(cudaq.get_target().name, target.active().options.machine)
"""
    done = run_python(code)
    assert done.stdout.split() == ["pasqal", "local"], done.stderr


def test_names_imported_directly_are_ours():
    code = """
from cudaq import sample, set_target, evolve
from cudaq.runtime.sample import sample_async
for function in (sample, set_target, evolve, sample_async):
    assert hasattr(function, "__cudaq_target_original__"), function
print("fine")
"""
    done = run_python(code)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


def test_analog_programs_run():
    cudaq.set_target("pasqal", seed=1)
    rabi, zero = (cudaq.ScalarOperator.const(value) for value in (2e6 * np.pi, 0.0))
    hamiltonian = cudaq.RydbergHamiltonian([(0.0, 0.0)], rabi, zero, zero)
    schedule = cudaq.Schedule([0.0, 5e-7], ["t"])
    result = cudaq.evolve(hamiltonian, schedule=schedule, shots_count=10)
    assert dict(result.items()) == {"1": 10}
    assert cudaq.evolve_async(hamiltonian, schedule=schedule).get().get_total_shots() == 100


def test_analog_programs_run_on_other_targets():
    cudaq.set_target("qpp-cpu")
    schedule = cudaq.Schedule([0.0, 0.1, 0.2], ["t"])
    hamiltonian = 0.5 * np.pi * cudaq.spin.x(0)
    start = cudaq.State.from_data(np.array([1, 0], dtype=complex))
    result = cudaq.evolve(hamiltonian, {0: 2}, schedule, start)
    assert result.final_state().num_qubits() == 1
