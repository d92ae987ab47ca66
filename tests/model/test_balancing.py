"""What is finished sounds as the recording did, band by band, however the recording came."""

from dataclasses import replace

import numpy as np
import torch

from model.attending import GROUP_STEPS
from model.balancing import WEIGHED_CHUNK
from model.bands import EDGES_HZ, GROUPS, MOST_DB, balance, band_power
from model.listening import STEP_SAMPLES
from model.state import BANDS
from model.values import MIX, nothing_known, steady_pulse
from tests.model.tiny import (
    CHUNK,
    decoded,
    fed,
    grown,
    plan,
    sound,
    told,
)

GROUP = GROUP_STEPS * STEP_SAMPLES
PRIME = sound(3 * GROUP + CHUNK)
BINS = 257


def bands_of(decibels):
    """Return one group: made at 0 dB everywhere, recorded as given."""
    made = np.ones(BANDS)
    return np.stack([made, 10 ** (np.broadcast_to(decibels, BANDS) / 10)])[None].astype(np.float32)


def test_nothing_heard_changes_nothing():
    gains = balance(np.zeros((0, 2, BANDS), np.float32), BINS)
    assert torch.equal(gains, torch.ones(1, BINS))


def test_a_silent_recording_silences_nothing():
    silent = bands_of(0.0) * np.array([1.0, 1e-7], np.float32)[None, :, None]
    assert torch.equal(balance(silent, BINS), torch.ones(1, BINS))


def test_a_louder_recording_raises_every_bin_by_as_much_and_no_more_than_the_most():
    for wanted, expected in ((6.0, 6.0), (-3.0, -3.0), (40.0, MOST_DB)):
        gains = 20 * torch.log10(balance(bands_of(wanted), BINS))
        torch.testing.assert_close(gains, torch.full((1, BINS), expected), atol=1e-2, rtol=0)


def test_one_band_moves_its_own_bins_alone():
    decibels = np.zeros(BANDS)
    decibels[6] = 6.0
    gains = 20 * torch.log10(balance(bands_of(decibels), BINS))[0]
    hertz = np.arange(BINS) * 44_100 / 512
    inside = (hertz > EDGES_HZ[5]) & (hertz < EDGES_HZ[6])
    far = (hertz < EDGES_HZ[4]) | (hertz > EDGES_HZ[7])
    assert 4.0 < float(gains[torch.as_tensor(inside)].max()) <= 6.0
    assert float(gains[torch.as_tensor(far)].abs().max()) < 0.05


def test_the_latest_groups_count_and_older_ones_do_not():
    rows = np.concatenate([bands_of(9.0), *[bands_of(-6.0)] * 8])
    gains = 20 * torch.log10(balance(rows, BINS))
    torch.testing.assert_close(gains, torch.full((1, BINS), -6.0), atol=1e-2, rtol=0)


def test_bands_hold_all_the_power_there_is():
    audio = sound(8192)
    windowed = np.square(np.abs(np.fft.rfft(audio * np.hanning(8192)))).sum() / 8192
    assert np.isclose(band_power(audio).sum(), windowed)


def drawn(generator, state):
    """Return the state a little after the prime, made by student and finisher."""
    return grown(generator, state, plan(reprise=False), len(PRIME) + CHUNK)


def test_every_whole_group_is_weighed_once_the_same_however_the_prime_arrives(remembering):
    heard = fed(remembering, PRIME)
    assert not len(heard.weighed), "the recording may go on by itself: nobody asks yet"
    whole = drawn(remembering, heard)
    assert whole.weighed.shape == (3, 2, BANDS)
    assert (whole.weighed > 0).all()
    begin = (WEIGHED_CHUNK + 4) * CHUNK
    recorded = band_power(PRIME[begin : begin + CHUNK])
    np.testing.assert_allclose(whole.weighed[1, 1], recorded, rtol=1e-5)
    pieces = drawn(remembering, fed(remembering, PRIME, pieces=(977, CHUNK, 5000)))
    assert np.array_equal(pieces.weighed, whole.weighed)


def test_where_notes_are_told_the_prime_is_weighed_as_it_comes(remembering):
    known = replace(told(), target=MIX)
    early = fed(remembering, PRIME, known)
    assert early.weighed.shape == (3, 2, BANDS)
    late = replace(early, weighed=early.weighed[:0])
    assert np.array_equal(drawn(remembering, late).weighed, early.weighed)


def test_groups_too_old_to_count_are_not_weighed_late(remembering):
    state = fed(remembering, sound((GROUPS + 2) * GROUP + CHUNK))
    late = grown(remembering, state, plan(reprise=False), state.settled_sample + CHUNK)
    assert [bool(row.any()) for row in late.weighed] == [False] * 2 + [True] * GROUPS


def test_where_the_recording_goes_on_by_itself_nothing_is_weighed(remembering):
    pulse = steady_pulse(20_000.0, 4.0)
    state = fed(remembering, sound(9 * GROUP), replace(nothing_known(), pulse=pulse))
    state = grown(remembering, state, plan(), state.settled_sample + 4 * CHUNK)
    assert len(state.reprised)
    assert not len(state.weighed)


def test_only_what_is_drawn_is_balanced_and_by_what_was_weighed(generator):
    state = grown(generator, fed(generator, PRIME), plan(), len(PRIME) + 4 * CHUNK)
    louder = replace(state, weighed=bands_of(6.0))
    plain = replace(state, weighed=bands_of(0.0))
    ours, theirs = decoded(generator, louder), decoded(generator, plain)
    before = (state.drawn_from - 64) * 128
    assert np.array_equal(ours[:before], theirs[:before])
    after = slice((state.drawn_from + 8) * 128, None)
    np.testing.assert_allclose(ours[after], theirs[after] * 10 ** (6 / 20), rtol=1e-2, atol=1e-4)
