"""Tones and noise: functions of the absolute sample, band-limited, silent where no gate is open."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from model.tones import (
    BAND_EDGES_HZ,
    HIGHEST_HZ,
    NOISE_PERIOD,
    REGISTERS,
    SAMPLE_RATE,
    SILENT_GATE,
    band_filters,
    harmonic_frames,
    noise_frames,
    pitch_hz,
    wavetables,
)

SIZE, HOP = 512, 128


def gates_of(frames, pitches):
    gates = torch.zeros(1, frames, 128)
    for pitch, gate in pitches.items():
        gates[:, :, pitch] = gate
    return gates


def tones(gates, first=0):
    return harmonic_frames(gates, first, size=SIZE, hop=HOP)


def joined(frames):
    """Return the wave under overlapping frames, which must agree."""
    for earlier, later in pairwise(frames):
        assert torch.equal(earlier[HOP:], later[:-HOP])
    return torch.cat([frames[0], *[frame[-HOP:] for frame in frames[1:]]])


@pytest.mark.parametrize("pitch", [0, 21, 60, 69, 108, 127])
def test_a_period_has_unit_power_and_nothing_above_the_highest_harmonic(pitch):
    period = wavetables()[pitch].double()
    assert float(period.square().mean()) == pytest.approx(1.0, abs=1e-5)
    spectrum = torch.fft.rfft(period).abs()
    loud = torch.nonzero(spectrum > 1e-3 * spectrum.max()).flatten()
    assert int(loud[0]) == 1
    assert int(loud[-1]) * pitch_hz(pitch) <= max(HIGHEST_HZ, pitch_hz(pitch))


@pytest.mark.parametrize(("pitch", "hertz"), [(69, 440.0), (57, 220.0), (60, 261.6256)])
def test_a_note_has_its_frequency(pitch, hertz):
    wave = joined(tones(gates_of(200, {pitch: 1.0}))[0].sum(0))[: 200 * HOP]
    spectrum = torch.fft.rfft(wave * torch.hann_window(len(wave))).abs()
    resolution = SAMPLE_RATE / len(wave)
    assert float(spectrum.argmax()) * resolution == pytest.approx(hertz, abs=resolution)


@pytest.mark.parametrize("first", [0, 1, 31, 32, 1000, 400_000])
def test_frames_of_a_held_note_are_windows_on_one_wave_that_goes_on_across_blocks(first):
    gates = gates_of(12, {45: 0.5, 60: 0.25, 71: 0.125})
    whole = tones(gates, first)
    for register in range(REGISTERS):
        joined(whole[0, register])
    parts = [tones(gates[:, :5], first), tones(gates[:, 5:], first + 5)]
    assert torch.equal(torch.cat(parts, dim=2), whole)


def test_any_cut_gives_the_same_tones_also_where_notes_fade_below_hearing():
    gates = torch.rand(1, 40, 128, generator=torch.Generator().manual_seed(0))
    gates[:, 20:] *= 1.5 * SILENT_GATE
    gates[:, :, 30:] = 0
    whole = tones(gates, 7)
    for size in (1, 7, 20):
        cuts = [tones(gates[:, at : at + size], 7 + at) for at in range(0, 40, size)]
        assert torch.equal(torch.cat(cuts, dim=2), whole)


def test_silent_gates_make_no_tone():
    assert not tones(gates_of(5, {})).any()
    assert not tones(gates_of(5, {60: SILENT_GATE, 40: 0.9 * SILENT_GATE})).any()
    assert tones(gates_of(5, {60: 1.1 * SILENT_GATE})).any()


def test_a_gate_is_an_amplitude():
    loud, soft = tones(gates_of(3, {60: 1.0})), tones(gates_of(3, {60: 0.5}))
    torch.testing.assert_close(loud, 2 * soft)


@pytest.mark.parametrize(("pitch", "register"), [(0, 0), (49, 0), (50, 1), (64, 1), (65, 2)])
def test_a_note_sounds_in_its_register_alone(pitch, register):
    made = tones(gates_of(3, {pitch: 1.0}))
    assert [bool(made[:, index].any()) for index in range(REGISTERS)] == [
        index == register for index in range(REGISTERS)
    ]


@pytest.mark.parametrize("first", [0, 3, NOISE_PERIOD // HOP - 2, 10_000_000])
def test_noise_is_cut_like_tape_and_repeats_with_its_period(first):
    whole = noise_frames(9, first, size=SIZE, hop=HOP)
    joined(whole)
    parts = [
        noise_frames(4, first, size=SIZE, hop=HOP),
        noise_frames(5, first + 4, size=SIZE, hop=HOP),
    ]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(noise_frames(9, first + NOISE_PERIOD // HOP, size=SIZE, hop=HOP), whole)


def test_noise_is_white_and_of_unit_power():
    wave = joined(noise_frames(400, 0, size=SIZE, hop=HOP)).double()
    assert float(wave.mean()) == pytest.approx(0, abs=0.02)
    assert float(wave.square().mean()) == pytest.approx(1, abs=0.03)
    assert abs(np.corrcoef(wave[1:], wave[:-1])[0, 1]) < 0.02


def test_band_filters_divide_the_spectrum_and_sum_to_a_delay():
    filters = band_filters()[:, 0].double()
    delay = torch.zeros(filters.shape[1]).double()
    delay[filters.shape[1] // 2] = 1
    torch.testing.assert_close(filters.sum(0), delay, atol=1e-6, rtol=0)
    response = torch.fft.rfft(filters, 4096).abs()
    hertz = torch.arange(response.shape[1]) * SAMPLE_RATE / 4096
    bands = (hertz < 0.4 * BAND_EDGES_HZ[0]), (hertz > 1500) & (hertz < 2300), hertz > 4000
    for index, inside in enumerate(bands):
        assert float(response[index, inside].min()) > 0.9
        others = torch.cat([response[other, inside] for other in range(3) if other != index])
        assert float(others.max()) < 0.1
