import cmath
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaq_target.circuit import Gate
from cudaq_target.errors import Source
from cudaq_target.gates import matrix as matrix_of
from cudaq_target.synthesis.one_qubit import (
    IDENTITY,
    Shape,
    dagger,
    euler_angles,
    is_zero_angle,
    multiply,
    named,
    phase_gate,
    ry,
    rz,
    shape,
    spectrum,
)
from tests.target.random_circuits import N_PARAMS

ANGLES = st.one_of(
    st.floats(-20, 20), st.sampled_from([0.0, math.pi, -math.pi, math.pi / 2, 1e-9, 1e-14])
)


def product(phase, *factors):
    result = (cmath.exp(1j * phase), 0.0, 0.0, cmath.exp(1j * phase))
    for factor in factors:
        result = multiply(result, factor)
    return result


def array(entries):
    return np.array(entries, dtype=complex).reshape(2, 2)


@given(ANGLES, ANGLES, ANGLES, ANGLES)
def test_euler_angles_give_the_unitary_back(theta, phi, lam, phase):
    unitary = product(phase, rz(phi), ry(theta), rz(lam))
    angles = euler_angles(unitary)
    assert 0 <= angles.theta <= math.pi
    assert -math.pi < angles.phi <= math.pi
    assert -math.pi < angles.lam <= math.pi
    back = product(angles.phase, rz(angles.phi), ry(angles.theta), rz(angles.lam))
    np.testing.assert_allclose(back, unitary, rtol=0, atol=2e-13)


@pytest.mark.parametrize("flipped", [False, True])
def test_rounding_in_a_small_element_stays_small(flipped):
    """Long products leave 1e-12 of any phase where an exact calculation leaves 0."""
    one, noise, other = cmath.exp(2.1j), 7e-13 * cmath.exp(0.4j), 6e-13 * cmath.exp(-1.3j)
    matrix = (noise, one, 1j * one, other) if flipped else (one, noise, other, 1j * one)
    theta, phi, lam, phase = euler_angles(matrix)
    pulse = multiply(rz(phi), multiply(ry(theta), rz(lam)))
    back = [cmath.exp(1j * phase) * element for element in pulse]
    np.testing.assert_allclose(back, matrix, rtol=0, atol=3e-12)


@given(ANGLES, ANGLES, ANGLES, ANGLES)
def test_spectrum_gives_the_unitary_back(theta, phi, lam, phase):
    unitary = product(phase, rz(phi), ry(theta), rz(lam))
    first, gap, vectors = spectrum(unitary)
    assert -math.pi < gap <= math.pi
    np.testing.assert_allclose(multiply(vectors, dagger(vectors)), IDENTITY, rtol=0, atol=1e-14)
    back = product(first, vectors, phase_gate(gap), dagger(vectors))
    np.testing.assert_allclose(back, unitary, rtol=0, atol=2e-13)


def test_diagonal_matrices_keep_the_order_of_their_phases():
    assert spectrum(phase_gate(0.3)).vectors == IDENTITY
    assert spectrum(phase_gate(-0.3)).vectors == IDENTITY
    assert spectrum(phase_gate(-0.3)).gap == pytest.approx(-0.3)


@pytest.mark.parametrize("name", ["h", "x", "y", "z", "s", "t", *N_PARAMS])
@pytest.mark.parametrize("adjoint", [False, True])
def test_named_gates_are_those_of_the_gate_table(name, adjoint):
    params = (0.3, -1.2, 2.5)[: N_PARAMS.get(name, 0)]
    gate = Gate(name, (0,), Source("k"), params=params, adjoint=adjoint)
    np.testing.assert_array_equal(array(named(gate)), matrix_of(gate))


def test_shapes_within_rounding():
    assert shape((1, 1e-15, 1e-15, 1)) is Shape.DIAGONAL
    assert shape((1e-15, 1, 1j, 1e-15)) is Shape.ANTIDIAGONAL
    assert shape(ry(1e-9)) is Shape.GENERAL
    assert is_zero_angle(-4 * math.pi)
    assert not is_zero_angle(1e-9)
