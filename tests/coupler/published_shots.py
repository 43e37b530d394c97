"""NVIDIA's 100 published shots with the correction that a look-up decoder must give for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cudaq_target.coupler.decoder_config import read_decoders
from cudaq_target.kernels.decoders.measured import MeasurementDecoder

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "decoder_multi_error_lut"


def published_decoder() -> MeasurementDecoder:
    """The decoder of the configuration file."""
    _skip_without_files()
    (decoder,) = read_decoders((FOLDER / "config_multi_err_lut.yml").read_text())
    return decoder


def published_shots() -> tuple[np.ndarray, np.ndarray]:
    """Measured bits (n_shots, n_measurements) and corrections (n_shots,)."""
    _skip_without_files()
    text = (FOLDER / "syndromes_multi_err_lut.txt").read_text()
    shots, corrections = text.split("CORRECTIONS_START")
    rows = [block.split()[1:] for block in shots.split("SHOT_START")[1:]]
    expected = corrections.split("CORRECTIONS_END")[0].split()
    return np.array(rows, dtype=np.uint8), np.array(expected, dtype=np.uint8)


def _skip_without_files() -> None:
    if not FOLDER.is_dir():
        pytest.skip("data set decoder_multi_error_lut is not beside this checkout")
