"""The public names of the coupler, loaded when first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cudaq_target import coupler


@pytest.mark.parametrize("name", coupler.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(coupler, name)
    assert name in dir(coupler)
    assert value.__doc__


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no_such_name"):
        coupler.no_such_name  # noqa: B018


def test_importing_the_coupler_imports_only_the_standard_library():
    code = (
        "import sys; before = set(sys.modules); import cudaq_target.coupler; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(*sorted(new - sys.stdlib_module_names - {'cudaq_target'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_links_import_neither_cuda_q_nor_pulser():
    code = "import sys, cudaq_target.coupler as c; [getattr(c, n) for n in c.__all__]; "
    code += "print(*sorted({'cudaq', 'pulser', 'qiskit'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
