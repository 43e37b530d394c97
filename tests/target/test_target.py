"""Selecting the target: typed and by name, nested, refused, and away again."""
# ruff: noqa: F821 - gates are names of the kernel language

from __future__ import annotations

import threading

import cudaq
import pytest

from cudaq_target import Pasqal, target
from cudaq_target.errors import OptionError
from cudaq_target.launch import redirect

pytestmark = pytest.mark.usefixtures("stock_target")

STOCK_SET_TARGET = getattr(cudaq.set_target, redirect._MARK)


@cudaq.kernel
def plus():
    q = cudaq.qvector(2)
    h(q)


def options():
    return target.active().options


def counts(n_shots=50):
    return dict(cudaq.sample(plus, shots_count=n_shots).items())


def test_by_name_and_typed_take_the_same_options():
    assert cudaq.set_target("pasqal", seed=3, shots=7) is None
    by_name = options()
    typed = Pasqal(seed=3, shots=7)
    assert cudaq.set_target(typed) is typed
    assert options() == by_name
    assert cudaq.get_target().name == "pasqal"
    cudaq.set_target(cudaq.get_target())
    assert options().seed is None


def test_repr_shows_what_was_given():
    assert repr(Pasqal()) == "Pasqal()"
    assert repr(Pasqal(machine="local", seed=0)) == "Pasqal(machine='local', seed=0)"


def test_a_refused_option_changes_nothing():
    cudaq.set_target("pasqal", seed=3)
    before = target.active()
    for refused in ({"machne": "local"}, {"machine": "emu-tn"}, {"device": "Foo"}):
        with pytest.raises(OptionError):
            cudaq.set_target("pasqal", **refused)
        assert target.active() is before
    with pytest.raises(OptionError, match=r"Pasqal\(\.\.\.\) takes its options itself"):
        cudaq.set_target(Pasqal(), seed=3)
    assert target.active() is before
    with pytest.raises(RuntimeError, match="Invalid target name"):
        cudaq.set_target("no-such-target")
    assert target.active() is before
    assert cudaq.get_target().name == "pasqal"


def test_options_are_checked_when_written():
    with pytest.raises(OptionError, match="Did you mean 'local'"):
        Pasqal(machine="locl")


def test_other_targets_are_served_by_cudaq_again():
    cudaq.set_target("pasqal")
    cudaq.set_target("qpp-cpu")
    assert target.active() is None
    assert type(cudaq.sample(plus)) is cudaq.SampleResult
    cudaq.set_target("pasqal")
    cudaq.reset_target()
    assert target.active() is None
    assert cudaq.get_target().name != "pasqal"


def test_chosen_past_the_public_function():
    cudaq.cudaq_runtime.set_target("pasqal")
    assert options().seed is None
    assert sum(counts().values()) == 50


def test_a_custom_target_of_someone_else_takes_over():
    from cudaq._experimental import CompileTarget, CustomTarget

    class Theirs:
        is_simulator, is_remote, is_emulated, supports_jit = True, False, False, False

        def sample(self, _module, _args, **options):
            return cudaq.SampleResult({"01": options["shots_count"]})

    cudaq.set_target("pasqal")
    cudaq.set_target(CustomTarget(Theirs(), CompileTarget()))
    assert target.active() is None
    assert counts() == {"01": 50}


def test_context_manager_restores_the_previous_target():
    cudaq.set_target("qpp-cpu", option="fp64")
    with Pasqal(seed=1) as outer:
        assert target.active().target is outer
        session = target.active()
        with Pasqal(seed=2):
            assert options().seed == 2
        assert target.active() is session
    assert cudaq.get_target().name == "qpp-cpu"
    with pytest.raises(ZeroDivisionError), Pasqal():
        raise ZeroDivisionError
    assert cudaq.get_target().name == "qpp-cpu"


def test_a_context_can_be_entered_twice():
    context = Pasqal(shots=3)
    with context, context:
        assert options().shots == 3
    assert target.active() is None


def test_seed_makes_runs_repeatable_and_calls_differ():
    runs = []
    for _ in range(2):
        cudaq.set_target("pasqal", seed=11)
        runs.append([counts(), counts()])
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[0][1]


def test_cudaq_seed_counts_unless_the_target_has_one():
    cudaq.set_target("pasqal")
    cudaq.set_random_seed(5)
    first = counts()
    cudaq.set_random_seed(5)
    assert counts() == first
    cudaq.set_random_seed(6)
    assert counts() != first
    cudaq.set_target("pasqal", seed=11)
    with_seed = counts()
    cudaq.set_target("pasqal", seed=11)
    cudaq.set_random_seed(99)
    assert counts() == with_seed


def test_a_seed_set_before_the_target_counts():
    runs = []
    for _ in range(2):
        cudaq.set_random_seed(21)
        cudaq.set_target("pasqal")
        runs.append(counts())
    assert runs[0] == runs[1]


def test_generators_are_handed_out_in_order_of_calls():
    session = target.Session(Pasqal(seed=4))
    wanted = {tuple(session.generator().integers(1 << 30, size=2)) for _ in range(8)}
    session = target.Session(Pasqal(seed=4))
    got = set()
    threads = [
        threading.Thread(
            target=lambda: got.add(tuple(session.generator().integers(1 << 30, size=2)))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == wanted


def test_a_machine_elsewhere_draws_nothing_here_unless_it_is_seeded(monkeypatch):
    monkeypatch.setattr(target, "_random_seed", None)
    elsewhere = {"machine": "ipc:///tmp/nobody"}
    session = target.Session(Pasqal(**elsewhere))
    assert session.generator() is session.generator()
    seeded, here = (target.Session(Pasqal(seed=4, **given)) for given in (elsewhere, {}))
    for _ in range(3):
        numbers = [one.generator().integers(1 << 30, size=2).tolist() for one in (seeded, here)]
        assert numbers[0] == numbers[1]


def test_inspections_borrow_a_simulator():
    cudaq.set_target("pasqal", seed=1)
    session = target.active()
    assert "┤ h ├" in cudaq.draw(plus)
    assert cudaq.get_unitary(plus).shape == (4, 4)
    assert cudaq.estimate_resources(plus).count("h") == 2
    assert target.active() is session
    assert cudaq.get_target().name == "pasqal"


def test_settings_of_the_target_reach_the_launch():
    with Pasqal(shots=17):
        assert cudaq.sample(plus).get_total_shots() == 17
        assert cudaq.sample(plus, shots_count=5).get_total_shots() == 5
    with Pasqal(device="MockDevice"):
        assert cudaq.sample(plus).annotations["device"] == "MockDevice"
