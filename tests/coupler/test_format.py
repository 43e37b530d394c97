"""FORMAT.md: its reader and writer run, and its tables agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from cudaq_target.coupler import control_messages as messages
from cudaq_target.coupler import frame, payload, stream
from tests.coupler.golden import ENQUEUE, GET_CORRECTIONS, RESET

DOCUMENT = (Path(__file__).parents[2] / "coupler" / "FORMAT.md").read_text()


@pytest.fixture(scope="module")
def published():
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE):
        exec(compile(block, "FORMAT.md", "exec"), names)
    return names


def test_writer_makes_our_frames(published):
    ours = frame.request_frame(5, b"abc", 7, 9)
    assert published["write_request"](5, b"abc", 7, 9) == ours


def test_reader_reads_our_answers(published):
    assert published["read_response"](frame.response_frame(-1, b"abc", 7)) == (-1, b"abc", 7, 0)


def test_shots_cross_in_both_directions(published):
    shots = [5, 1 << 69]
    wire = published["write_shots"](3, 10, 70, shots)
    batch = payload.read_shot_batch(wire)
    assert batch is not None
    assert batch.rows.tolist() == [[5, 0], [0, 32]]
    ours = payload.shot_batch(3, 10, 70, np.array([[5, 0], [0, 32]], dtype=np.uint64))
    assert published["read_shots"](ours.to_bytes()) == (3, 10, 70, shots)


def test_status_table():
    rows = re.findall(r"^\| (-?\d+) \| ([A-Z_]+) \|", DOCUMENT, re.MULTILINE)
    assert {name: int(value) for value, name in rows} == {s.name: s.value for s in frame.Status}


def test_payload_types():
    rows = dict(re.findall(r"0x([0-9]{2}) \| ([A-Z0-9_]+) \|", DOCUMENT))
    assert {name: int(value, 16) for value, name in rows.items()} == {
        kind.name: kind.value for kind in payload.PayloadType
    }


def test_function_table():
    rows = re.findall(r"^\| (\w+) \| 0x([0-9A-F]{8}) \|", DOCUMENT, re.MULTILINE)
    assert len(rows) >= 4
    assert all(frame.function_id(name) == int(value, 16) for name, value in rows)


def test_stream_messages_have_the_published_lengths():
    rows = dict(re.findall(r"^\| (shot_\w+) \| (\d+)[^|]*\|", DOCUMENT, re.MULTILINE))
    assert {name: int(n_bytes) for name, n_bytes in rows.items()} == {
        stream.SHOT_BATCH: payload.BATCH_HEADER_BYTES,
        stream.SHOT_GAP: len(stream.Gap(1, 2, 3).to_bytes()),
        stream.SHOT_END: len(stream.End(1, 2).to_bytes()),
        stream.SHOT_CREDIT: stream.CREDIT_BYTES,
    }


def test_control_calls_have_the_published_layout():
    sizes = {"u32": 4, "u64": 8}
    table = DOCUMENT[DOCUMENT.index("## Control of a machine") : DOCUMENT.index("## Recording")]
    rows = re.findall(r"^\| (\w+) \| ([^|;]*)(?:;[^|]*)? \| ([^|;]*)", table, re.MULTILINE)
    published = {
        name: tuple(sum(sizes[one] for one in re.findall(r"u32|u64", part)) for part in parts)
        for name, *parts in rows
    }
    assert published["load_program"] == (messages.LOAD_HEADER.size, messages.LOADED.size)
    assert published["run"] == (messages.RUN_HEADER.size, messages.STARTED.size)
    assert published["stop"] == (messages.RUN_ID.size, messages.RUN_ID.size)
    assert published["status"] == (messages.RUN_ID.size, messages.STATUS_HEADER.size)
    assert published["specs"] == (messages.SPECS_OFFSET.size, messages.SPECS_HEADER.size)
    assert published["clock"] == (0, 24)
    assert [state.name.lower() for state in messages.RunState] == re.findall(
        r"\d (\w+)", re.search(r"State: ([^.]*)", table)[1]
    )


def test_vectors():
    for golden in (ENQUEUE, GET_CORRECTIONS, RESET):
        assert f"`{golden.hex()}`" in DOCUMENT
    assert f"`{frame.response_frame(0, bytes([3]), 7).hex()}`" in DOCUMENT
    batch = payload.shot_batch(1, 2, 3, np.array([[1], [6]], dtype=np.uint64)).to_bytes().hex()
    assert f"`{batch[:48]}` `{batch[48:64]}` `{batch[64:]}`" in DOCUMENT
