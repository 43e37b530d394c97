"""A decoder configuration as cudaq-qec writes it: three bits, identity matrices."""

from __future__ import annotations

_ENTRY = """\
  - id:              {number}
    type:            multi_error_lut
    block_size:      3
    syndrome_size:   3
    H_sparse:        [ 0, -1, 1, -1, 2, -1 ]
    O_sparse:        [ 0, -1, 1, -1, 2, -1 ]
    D_sparse:        [ 0, -1, 1, -1, 2, -1 ]
    decoder_custom_args:
      lut_error_depth: 3
"""


def decoders_yaml(n_decoders: int) -> str:
    """The text of a file with so many decoders."""
    return (
        "---\ndecoders:\n" + "".join(_ENTRY.format(number=k) for k in range(n_decoders)) + "...\n"
    )
