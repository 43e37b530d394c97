"""Analog programs as JSON, to keep, to send and to run elsewhere.

Layout of the text, version 1, one object:

- `format`, `version`: `cudaq-target analog program`, 1
- `sequence`: the pulse sequence in Pulser's abstract representation, for every other tool; the
  device, the register with its layout, and the samples are read from it
- `spec`: what was asked for: `name`, `sites_um`, `filling`, `amplitude`, `detuning`, `phase`, each
  with `times_ns`, `values` and `kind`, and `local`, null or `waveform` and `weights`
- `spans`: pulses and delays: first ns, end in ns, phase (rad) or null
- `error`: how far the samples are from what was asked for

Floats are written with all digits, so a program read back is equal to the last bit.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final

from cudaq_target.analog.model import AnalogSpec, LocalDetuning, Waveform
from cudaq_target.analog.program import AnalogProgram
from cudaq_target.analog.sequence import from_sequence
from cudaq_target.analog.timeline import PlayError, PulseSpan
from cudaq_target.json_format import JsonFormat

if TYPE_CHECKING:
    import pulser

FORMAT: Final = JsonFormat(
    noun="program",
    name="cudaq-target analog program",
    version=1,
    remedy="Give a text written by AnalogProgram.to_json().",
    renewal="Read it with the version of cudaq-target that wrote it, or build the program again.",
)

# One JSON object; its values are checked where they are used.
_Object = dict[str, Any]


def dumps(program: AnalogProgram) -> str:
    """Write a program as JSON.

    Args:
        program: The program; what makes it for other arguments is not kept.

    Returns:
        The text, of the layout that the module describes.

    Raises:
        SequenceError: Pulser does not accept the sequence.
    """
    timeline = program.timeline
    return json.dumps(
        {
            **FORMAT.head,
            "sequence": json.loads(program.sequence.to_abstract_repr()),
            "spec": _from_spec(program.spec),
            "spans": [[span.start_ns, span.end_ns, span.phase_rad] for span in timeline.spans],
            "error": dataclasses.asdict(timeline.error),
        },
        ensure_ascii=False,
        allow_nan=False,
    )


def loads(text: str) -> AnalogProgram:
    """Read what `dumps` wrote.

    Args:
        text: JSON.

    Returns:
        The program, with an equal timeline. It cannot be bound to new arguments.

    Raises:
        OptionError: The text is no such program, is damaged, or has an unknown version.
    """
    content = FORMAT.content(text)
    with FORMAT.reading():
        sequence = _to_sequence(content["sequence"])
        spec = _to_spec(content["spec"])
        timeline = dataclasses.replace(
            from_sequence(sequence),
            spec=spec,
            spans=tuple(
                PulseSpan(int(start), int(end), None if phase is None else float(phase))
                for start, end, phase in content["spans"]
            ),
            error=PlayError(**content["error"]),
        )
    return AnalogProgram(timeline, given=sequence)


def _to_sequence(content: _Object) -> pulser.Sequence:
    import pulser  # noqa: PLC0415

    try:
        return pulser.Sequence.from_abstract_repr(json.dumps(content))
    except Exception as error:  # whatever Pulser's schema and constructors raise
        raise ValueError(f"no sequence ({type(error).__name__}: {error})") from error


def _from_spec(spec: AnalogSpec) -> _Object:
    local = spec.local
    return {
        "name": spec.name,
        "sites_um": spec.sites_um.tolist(),
        "filling": spec.filling.tolist(),
        "amplitude": _from_waveform(spec.amplitude),
        "detuning": _from_waveform(spec.detuning),
        "phase": _from_waveform(spec.phase),
        "local": None
        if local is None
        else {"waveform": _from_waveform(local.waveform), "weights": local.weights.tolist()},
    }


def _to_spec(content: _Object) -> AnalogSpec:
    local = content["local"]
    return AnalogSpec(
        name=str(content["name"]),
        sites_um=content["sites_um"],
        filling=content["filling"],
        amplitude=_to_waveform(content["amplitude"], "amplitude"),
        detuning=_to_waveform(content["detuning"], "detuning"),
        phase=_to_waveform(content["phase"], "phase"),
        local=None
        if local is None
        else LocalDetuning(_to_waveform(local["waveform"], "local detuning"), local["weights"]),
    )


def _from_waveform(waveform: Waveform) -> _Object:
    return {
        "times_ns": waveform.times_ns.tolist(),
        "values": waveform.values.tolist(),
        "kind": waveform.kind,
    }


def _to_waveform(content: _Object, name: str) -> Waveform:
    return Waveform(content["times_ns"], content["values"], content["kind"], name)
