"""A process forked from one that has used the target can use it as well.

Each test forks in a process of its own. `multiprocessing` with the start method `fork` does the
same. CUDA-Q itself selects no target in a forked process, so that is left to the parent.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import faulthandler, os, sys, threading, time
import cudaq
from cudaq_target.locks import ForkSafeLock

@cudaq.kernel
def ghz(n: int):
    q = cudaq.qvector(n)
    h(q[0])
    for k in range(n - 1):
        x.ctrl(q[k], q[k + 1])

def counts(n):
    return dict(cudaq.sample(ghz, n, shots_count=20).items())

def later(n):
    return cudaq.sample_async(ghz, n, shots_count=20)

def in_child(work):
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(60, exit=True)
        print(work(), flush=True)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    print("status", status, flush=True)

cudaq.set_target("pasqal", **OPTIONS)
"""


@pytest.fixture
def run(tmp_path):
    def run_program(code, options="seed=1"):
        program = tmp_path / "program.py"
        prelude = PRELUDE.replace("**OPTIONS", options)
        program.write_text(prelude + textwrap.dedent(code))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(program)],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run_program


def test_asynchronous_launches_get_a_worker_of_their_own(run):
    lines = run(
        """
        later(2).get()
        in_child(lambda: sum(later(3).get().values()))
        """
    )
    assert lines == ["20", "status 0"]


def test_states_of_many_qubits_need_no_threads_of_the_parent(run):
    """Numba ends a forked process that goes back to GNU OpenMP."""
    lines = run(
        """
        counts(18)
        in_child(lambda: sorted(counts(18)) == ["0" * 18, "1" * 18])
        print(sum(counts(18).values()))
        """
    )
    assert lines == ["True", "status 0", "20"]


def test_locks_that_another_thread_holds_are_free_in_the_child(run):
    lines = run(
        """
        from cudaq_target import pulse_cache, target
        counts(2)
        own = ForkSafeLock()
        held = [own, target.active().lock, pulse_cache.default_cache()._lock]
        taken, done = threading.Barrier(2), threading.Event()

        def hold():
            with held[0], held[1], held[2]:
                taken.wait()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        taken.wait()

        def work():
            with own:
                return sum(counts(3).values())

        in_child(work)
        done.set()
        thread.join()
        """
    )
    assert lines == ["20", "status 0"]


def test_a_launch_of_the_parent_is_not_waited_for(run):
    lines = run(
        """
        from cudaq_target.launch import future
        release = threading.Event()
        pending = future.start(lambda: release.wait)

        def work():
            try:
                pending.get()
            except Exception as error:
                return str(error).replace(str(os.getppid()), "N")

        in_child(work)
        release.set()
        pending.get()
        in_child(pending.get)
        """
    )
    assert lines == [
        "Future.get: the launch runs in process N, which this one was forked from. "
        "Call get() there or before the fork, or launch again here",
        "status 0",
        "True",
        "status 0",
    ]


@pytest.mark.parametrize(("options", "equal"), [("shots=64", False), ("shots=64, seed=3", True)])
def test_children_draw_shots_of_their_own_unless_there_is_a_seed(run, options, equal):
    lines = run(
        """
        def shots():
            return cudaq.sample(ghz, 2).get_sequential_data()

        in_child(shots)
        in_child(shots)
        """,
        options,
    )
    first, second = lines[0], lines[2]
    assert (first == second) is equal
