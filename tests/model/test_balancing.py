"""What is finished sounds as the recording did, band by band, however the recording came."""

from dataclasses import replace

import numpy as np
import torch

from model.attending import GROUP_STEPS
from model.balancing import WEIGHED_CHUNK
from model.bands import EDGES_HZ, MOST_DB, balance, band_power
from model.listening import STEP_SAMPLES
from model.state import BANDS
from tests.model.tiny import CHUNK, decoded, fed, grown, plan, sound

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


def test_every_whole_group_is_weighed_once_the_same_however_the_prime_arrives(generator):
    whole = fed(generator, PRIME)
    assert whole.weighed.shape == (3, 2, BANDS)
    assert (whole.weighed > 0).all()
    begin = (WEIGHED_CHUNK + 4) * CHUNK
    recorded = band_power(PRIME[begin : begin + CHUNK])
    np.testing.assert_allclose(whole.weighed[1, 1], recorded, rtol=1e-5)
    pieces = fed(generator, PRIME, pieces=(977, CHUNK, 5000))
    assert np.array_equal(pieces.weighed, whole.weighed)


def test_only_what_is_drawn_is_balanced_and_by_what_was_weighed(generator):
    state = grown(generator, fed(generator, PRIME), plan(), len(PRIME) + 4 * CHUNK)
    louder = replace(state, weighed=bands_of(6.0))
    plain = replace(state, weighed=bands_of(0.0))
    ours, theirs = decoded(generator, louder), decoded(generator, plain)
    before = (state.drawn_from - 64) * 128
    assert np.array_equal(ours[:before], theirs[:before])
    after = slice((state.drawn_from + 8) * 128, None)
    np.testing.assert_allclose(ours[after], theirs[after] * 10 ** (6 / 20), rtol=1e-2, atol=1e-4)
