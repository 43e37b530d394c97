import pytest


def test_tasks_through_qrmi_are_compared_with_the_wheel_alone():
    pytest.importorskip("qrmi")
    from benchmarks.hpc_qrmi import rows

    found = rows(quick=True)
    assert [row.unit for row in found] == ["ms", "ms"]
    assert all(row.reach == "<= 20" and len(row.samples) == 10 for row in found)
    assert all(str(row.peer).startswith("task_start + task_status") for row in found)
