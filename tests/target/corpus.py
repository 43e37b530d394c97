"""The corpus: kernels that cover every construct this target supports.

`CASES` is reused by the tests of every stage, from the traced circuit to the pulses.
"""

from __future__ import annotations

from tests.target.corpus_calls import CALLS
from tests.target.corpus_classical import CLASSICAL
from tests.target.corpus_gates import GATES
from tests.target.corpus_measured import MEASURED
from tests.target.corpus_states import STATES

CASES = [*GATES, *CLASSICAL, *CALLS, *STATES, *MEASURED]

UNITARY = [item for item in CASES if not item.measured and not item.returns]
SAMPLED = [item for item in CASES if not item.returns]
RETURNING = [item for item in CASES if item.returns]
