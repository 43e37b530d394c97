"""What is closed where a block fails, and what is not."""

from __future__ import annotations

import pytest

from cudaq_target.coupler.closing import closed_on_failure


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_is_closed_and_its_error_goes_on(error):
    closed = []

    def fail():
        with closed_on_failure(lambda: closed.append(1)):
            assert not closed
            raise error

    with pytest.raises(error):
        fail()
    assert closed == [1]


def test_a_block_that_ends_stays_open():
    closed = []
    with closed_on_failure(lambda: closed.append(1)):
        pass
    assert not closed
