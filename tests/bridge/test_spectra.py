"""Spectra of sounds whose content is known."""

import numpy as np
import pytest

from bridge import spectra


def sine(hz, seconds=1.0, rate=spectra.ANALYSIS_RATE):
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("pitch", [28, 40, 60, 69, 96])
def test_a_tone_with_overtones_is_one_pitch(pitch):
    hz = spectra.pitch_hz(pitch)
    tone = sum(0.7**partial * sine(hz * partial) / 4 for partial in range(1, 6))
    found = spectra.sounding(spectra.pitch_activity(tone.astype(np.float32)))
    assert np.flatnonzero(found[10:-10].mean(axis=0) > 0.5) + spectra.LOWEST_PITCH == [pitch]


def test_silence_sounds_no_pitch():
    nothing = np.zeros(spectra.ANALYSIS_RATE, np.float32)
    assert not spectra.sounding(spectra.pitch_activity(nothing)).any()
    assert (spectra.mel_db(nothing) == spectra.FLOOR_DB).all()


def test_the_chroma_of_a_tone_is_its_class():
    activity = spectra.pitch_activity(sine(440.0))
    assert spectra.chroma(activity).sum(axis=0).argmax() == 9


@pytest.mark.parametrize("hz", [60.0, 440.0, 5_000.0])
def test_a_sine_is_loudest_in_its_own_band_and_near_full_scale(hz):
    mel = spectra.mel_db(sine(hz))[10:-10]
    band_hz = spectra.mel_band_hz()
    nearest = np.abs(band_hz - hz).argmin()
    assert abs(int(mel.mean(axis=0).argmax()) - nearest) <= 1
    assert -6 < mel.max() < 6


def test_the_drawn_spectrum_shows_a_sine_at_its_frequency():
    level_db = spectra.log_frequency_db(sine(1_000.0))[20]
    found = spectra.log_frequencies_hz()[level_db.argmax()]
    assert found == pytest.approx(1_000.0, rel=0.02)


def test_an_onset_is_where_the_sound_begins():
    audio = np.concatenate([np.zeros(44_100, np.float32), sine(440.0)])
    strength = spectra.onset_strength(spectra.pitch_activity(audio))
    assert abs(int(strength.argmax()) - spectra.FRAME_RATE) <= 4
    assert strength[:30].max() < 0.1 * strength.max()


@pytest.mark.parametrize("num_samples", [1, 1023, 1024, 1025, 50_000])
def test_every_spectrum_has_a_frame_for_each_hop(num_samples):
    audio = np.ones(num_samples, np.float32)
    frames = -(-num_samples // spectra.HOP_SAMPLES)
    assert len(spectra.mel_db(audio)) == frames
    assert len(spectra.pitch_activity(audio)) == frames


@pytest.mark.parametrize("rate", [44_100, 48_000, 88_200, 96_000])
def test_any_rate_is_heard_at_one_rate(rate):
    stereo = np.stack([sine(440.0, rate=rate), np.zeros(rate, np.float32)])
    mono = spectra.heard(stereo, rate)
    assert mono.shape == (spectra.ANALYSIS_RATE,)
    middle = slice(1_000, -1_000)
    np.testing.assert_allclose(mono[middle], 0.5 * sine(440.0)[middle], atol=2e-3)
