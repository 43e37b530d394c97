"""Families of analog programs that come back from JSON make the same members."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaq_target.analog.ansatz import AnalogAnsatz, Shape, analog_ansatz
from cudaq_target.errors import AnalogLimitError, OptionError
from tests.target.analog_specs import fresnel_like

SITES = [(0.0, 0.0), (6.0, 0.0), (13.5, 1.0)]
DEVICES = {"AnalogDevice": "AnalogDevice", "MockDevice": "MockDevice", "layout": fresnel_like()}


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(sorted(DEVICES)),
    st.sampled_from(["pchip", "linear"]),
    st.sampled_from([600, 601, 1000]),
    st.integers(0, 2**32 - 1),
)
def test_members_are_equal(device, kind, duration_ns, seed):
    rng = np.random.default_rng(seed)
    ansatz = analog_ansatz(
        SITES, duration_ns, Shape(5, kind, first=0.0, last=0.0), Shape(4, kind, last=2.5),
        DEVICES[device], phase_rad=float(rng.uniform(0, 3)), name="family",
    )  # fmt: skip
    back = AnalogAnsatz.from_json(ansatz.to_json())
    assert back.to_json() == ansatz.to_json()
    assert np.array_equal(back.bounds, ansatz.bounds)
    values = rng.uniform(2.0, 6.0, size=ansatz.n_parameters)
    ours, theirs = ansatz.bind(values), back.bind(values)
    for field in ("atoms_um", "amplitude", "detuning", "phase"):
        one, other = getattr(ours.timeline, field), getattr(theirs.timeline, field)
        assert one.tobytes() == other.tobytes(), field
    assert ours.timeline.spans == theirs.timeline.spans
    assert theirs.to_json() == ours.to_json()
    assert theirs.kernel == "family"


def test_limits_hold_at_the_other_end():
    ansatz = analog_ansatz(SITES, 1000, Shape(3, first=0.0, last=0.0), Shape(2))
    back = AnalogAnsatz.from_json(ansatz.to_json())
    with pytest.raises(AnalogLimitError, match="parameter 0"):
        back.bind([99.0, 0.0, 0.0])
    with pytest.raises(OptionError, match="Give 3 finite values"):
        back.bind([np.nan, 0.0, 0.0])


def _edited(**changes) -> str:
    ansatz = analog_ansatz(SITES, 1000, Shape(3, first=0.0, last=0.0), Shape(2))
    return json.dumps(json.loads(ansatz.to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing", "no JSON"),
        ("3", "another kind"),
        (_edited(format="x"), "another kind"),
        (_edited(version=7), "version 7 is not known"),
        (_edited(amplitude={"points": 3}), "damaged"),
        (_edited(amplitude={"n_points": 1}), "Give at least 2 points"),
        (_edited(bounds=[[0.0, 1.0]]), "1 bounds of 3 parameters"),
        (_edited(base={"format": "y"}), "another kind"),
    ],
)
def test_other_texts_are_refused(text, says):
    with pytest.raises(OptionError, match=says):
        AnalogAnsatz.from_json(text)
