"""A recording without end: what was given out stays, what was forgotten is refused."""

import numpy as np
import pytest

from bridge.live_tape import Tape

START = 1_000


def recorded(blocks, size=100_000):
    """Return a tape whose samples are their own numbers, and negative in the second channel."""
    tape = Tape(2, START)
    for block in range(blocks):
        at = np.arange(START + block * size, START + (block + 1) * size, dtype=np.float32)
        tape.add(np.stack([at, -at]))
    return tape


@pytest.mark.parametrize("blocks", [1, 3, 12])
def test_any_stretch_is_found_by_its_samples(blocks):
    tape = recorded(blocks)
    assert tape.end_sample == START + blocks * 100_000
    first, end = tape.end_sample - 50_123, tape.end_sample - 17
    stretch = tape.stretch(first, end)
    np.testing.assert_array_equal(stretch[0], np.arange(first, end))
    np.testing.assert_array_equal(stretch[1], -stretch[0])
    assert tape.newest(1)[0, 0] == tape.end_sample - 1


def test_what_was_given_out_never_changes():
    tape = recorded(2)
    given = tape.stretch(START, tape.end_sample)
    before = given.copy()
    tape.forget_before(START + 150_000)
    for _ in range(12):
        tape.add(np.zeros((2, 100_000), np.float32))
    np.testing.assert_array_equal(given, before)


def test_what_is_forgotten_is_refused_and_the_rest_kept():
    tape = recorded(4)
    tape.forget_before(START + 250_000)
    assert tape.stretch(START + 250_000, START + 250_001)[0, 0] == START + 250_000
    with pytest.raises(ValueError, match="250999 to 251001 are asked for, 251000 to 401000"):
        tape.stretch(START + 249_999, START + 250_001)
    with pytest.raises(ValueError, match="are kept"):
        tape.newest(150_001)
    with pytest.raises(ValueError, match="are kept"):
        tape.stretch(START + 250_000, START + 400_001)
