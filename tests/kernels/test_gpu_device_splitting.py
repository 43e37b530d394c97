"""Splitting stages on a GPU: real memory, sizes beyond the L2 cache, states that stay there.

Imports NumPy, pytest, hypothesis and CuPy alone, as `test_gpu_device`.
"""

from __future__ import annotations

import numpy as np
import pytest

from cudaq_target.kernels import splitting
from cudaq_target.kernels.backends import gpu_missing
from cudaq_target.kernels.errors import KernelInputError
from tests.kernels import test_gpu_splitting as emulated

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(gpu_missing()), reason=gpu_missing())]


@pytest.mark.parametrize("n_atoms", [*range(1, 23), 24])
@pytest.mark.parametrize("dtype", emulated.TOLERANCE)
def test_the_gpu_gives_what_the_reference_gives(n_atoms: int, dtype: type) -> None:
    emulated.assert_gpu_agrees(n_atoms, 3, dtype)


@pytest.mark.parametrize("n_atoms", [10, 15, 21])
@pytest.mark.parametrize("dtype", emulated.TOLERANCE)
def test_states_on_the_device_stay_there(n_atoms: int, dtype: type) -> None:
    import cupy

    parts, *stages = emulated.case(n_atoms, 60, dtype)
    here = cupy.asarray(parts)
    real, imag = here
    splitting.advance(real, imag, *stages)
    splitting.advance(*parts, *stages)
    assert np.linalg.norm(here.get() - parts) < 10 * emulated.TOLERANCE[dtype]
    with pytest.raises(KernelInputError, match="lies on the GPU"):
        splitting.advance(real, imag, *stages, backend="cpu")


def test_phases_of_atoms_in_r_on_the_device() -> None:
    import cupy

    angles = np.random.default_rng(2).normal(size=11)
    host = np.ones(1 << 11, dtype=np.complex128)
    state = cupy.asarray(host)
    splitting.multiply_phases(state, angles)
    splitting.multiply_phases(host, angles)
    np.testing.assert_allclose(state.get(), host, rtol=0, atol=1e-14)
