"""Predicted memory, available memory, usable CPUs."""

from pathlib import Path

import pytest

from cudaq_target.emulator import memory
from cudaq_target.errors import MemoryLimitError


@pytest.fixture
def fake_files(monkeypatch):
    """Let the module read these texts instead of the system's files."""
    texts = {}

    def read_text(path):
        if str(path) not in texts:
            raise FileNotFoundError(path)
        return texts[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)
    memory.usable_threads.cache_clear()
    yield texts
    memory.usable_threads.cache_clear()


def test_control_group_limits_what_is_available(fake_files):
    fake_files["/proc/meminfo"] = "MemTotal: 64 kB\nMemAvailable:   8388608 kB\n"
    assert memory.available_bytes() == 8 << 30
    fake_files["/sys/fs/cgroup/memory.max"] = f"{3 << 30}\n"
    fake_files["/sys/fs/cgroup/memory.current"] = f"{1 << 30}\n"
    assert memory.available_bytes() == 2 << 30
    fake_files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert memory.available_bytes() == 8 << 30


def test_refusal_names_both_sizes(fake_files):
    fake_files["/proc/meminfo"] = "MemAvailable:   1048576 kB\n"
    memory.require_bytes(1 << 30, 25)
    with pytest.raises(MemoryLimitError) as caught:
        memory.require_bytes(3 << 30, 27)
    assert str(caught.value) == (
        "emulating 27 qubits needs 3.0 GiB, 1.0 GiB are available. "
        "Use at most 25 qubits, or a machine with more memory"
    )


def test_small_states_do_not_look_at_the_system(fake_files):
    memory.require_bytes(1 << 20, 10)
    assert not fake_files


@pytest.mark.parametrize(
    ("quota", "threads"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 6)]
)
def test_quota_caps_threads(fake_files, monkeypatch, quota, threads):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    fake_files["/sys/fs/cgroup/cpu.max"] = quota
    assert memory.usable_threads() == threads


def test_three_levels_need_more():
    assert memory.state_bytes(10, levels=3) == int(1.5 * 16 * 3**10)


def test_states_of_any_size_are_refused_in_words(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 30)
    with pytest.raises(MemoryLimitError) as caught:
        memory.require_bytes(memory.state_bytes(2000), 2000)
    assert str(caught.value) == (
        "emulating 2000 qubits needs 2^1974 GiB, 1.0 GiB are available. "
        "Use at most 25 qubits, or a machine with more memory"
    )


def test_with_noise_each_qubit_may_cost_three_levels(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 30)
    with pytest.raises(MemoryLimitError, match="at most 16 qubits, fewer noisy effects, or a"):
        memory.require_bytes(memory.state_bytes(20, levels=3), 20, levels=3, noisy=True)
