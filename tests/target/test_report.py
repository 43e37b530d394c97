"""The text that describes a program."""

from __future__ import annotations

import re

import pytest

from cudaq_target.program import Program
from cudaq_target.report import program_report
from tests.target.compiled import programs


@pytest.mark.parametrize("name", sorted(programs()))
def test_report_fits_a_screen_and_is_deterministic(name: str) -> None:
    text = program_report(programs()[name])
    assert text == program_report(programs()[name])
    lines = text.splitlines()
    assert len(lines) <= 25
    assert all(len(line) <= 120 and line == line.rstrip() for line in lines)


@pytest.mark.parametrize("name", sorted(programs()))
def test_spans_of_time_add_up_to_the_duration(name: str) -> None:
    program = programs()[name]
    text = program_report(program)
    spans_us = [float(us) for us in re.findall(r"(?:Rydberg|Raman|idle) +([\d.]+) µs +\d+ %", text)]
    assert len(spans_us) == 3
    assert sum(spans_us) == pytest.approx(program.stats.duration_ns / 1e3, abs=2e-3)


def test_report_names_kernel_device_gates_and_slowest_pair() -> None:
    text = programs()["ghz4"].report()
    assert text.startswith("ghz on DigitalAnalogDevice: 4 qubits, ")
    assert "3 cx, 1 h; measures 4 qubits" in text
    assert "3 CPhase in 3 excitations; 0 SWAPs" in text
    assert re.search(r"slowest +CPhase\(\+1\.0000π\)  atoms \d-\d +4\.00 µm +220 ns", text)
    assert "left in Rydberg states <= 1e-1" in text


def test_report_counts_fan_outs_and_ccz() -> None:
    assert "targets in one" in programs()["qft5"].report()
    assert "1 CCZ" in programs()["ccz"].report()


def test_report_of_a_program_without_gates() -> None:
    text = programs()["empty"].report()
    assert "no gates; measures all qubits" in text
    assert "one-qubit pulses are exact" in text


def test_report_is_the_same_after_json() -> None:
    for program in programs().values():
        assert Program.from_json(program.to_json()).report() == program.report()
