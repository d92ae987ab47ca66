"""The stereo image: the model hears the mid, the result gets the prime's image back.

The result is left = mid + side, right = mid - side with a side made from the
mid, so folding down to mono gives back what the model made. The side has two
parts per band: a share of the mid itself (pan) and a share of a diffuse copy
(width), as much as the prime's side holds of each. All filters look back only,
over a fixed stretch, and sum in a fixed order: no latency, and blocks of any
size give the same bytes. Knows neither models nor files.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, log, log2, pi
from typing import Final

import numpy as np
from jaxtyping import Complex128, Float64

from bridge.ports import Audio, Mono

CROSSOVERS_HZ: Final = (150.0, 500.0, 1500.0, 5000.0)
NUM_BANDS: Final = len(CROSSOVERS_HZ) + 1
MEASURE_SECONDS: Final = 4.0
"""How much of the prime's end is measured."""

_ECHOES: Final = 30
_ECHO_SPACING_SECONDS: Final = 0.001
_ECHO_DECAY_SECONDS: Final = 0.01
_FILTER_FLOOR: Final = 1e-4
_FIT_ROUNDS: Final = 8
_NOTHING: Final = 1e-6
"""Share of the power under which a band says nothing and follows the others."""

_Samples = Float64[np.ndarray, " samples"]
_Spectrum = Complex128[np.ndarray, " bins"]
_Powers = Float64[np.ndarray, " bins"]
_Responses = Complex128[np.ndarray, "bands bins"]
_Bands = Float64[np.ndarray, " bands"]
_Grid = Float64[np.ndarray, "bands bands"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StereoImage:
    """How a prime lies in the stereo field, per band from low to high.

    `pans` are -1 (right) to 1 (left): the side's share of the mid itself, less
    what the diffuse copy holds of it; `widths` are 0 to 1: its share of that
    copy. One channel has neither.
    """

    sample_rate: int
    num_channels: int
    pans: tuple[float, ...] = (0.0,) * NUM_BANDS
    widths: tuple[float, ...] = (0.0,) * NUM_BANDS


@dataclass(frozen=True, slots=True, kw_only=True)
class StereoState:
    """What the filters remember: the last samples of the mid."""

    past: Mono


def mid_of(audio: Audio) -> Mono:
    """Return what the model hears: the mean of the channels."""
    if audio.shape[0] == 1:
        return audio[0]
    return (audio[0] + audio[1]) * np.float32(0.5)


def measured_image(prime: Audio, sample_rate: int) -> StereoImage:
    """Return the image of the prime's last seconds; one channel gives an image of one channel.

    Pans come as near as can be to the part of the side that is in phase with
    the mid; widths bring each band to the power of the side.
    """
    num_channels = prime.shape[0]
    tail = prime[:, -ceil(MEASURE_SECONDS * sample_rate) :].astype(np.float64)
    if num_channels == 1 or np.array_equal(tail[0], tail[1]) or not tail.size:
        return StereoImage(sample_rate=sample_rate, num_channels=num_channels)
    window = np.hanning(tail.shape[1] + 2)[1:-1]
    num_points = max(tail.shape[1], 2 * _reach(sample_rate))
    mid = np.fft.rfft((tail[0] + tail[1]) / 2 * window, num_points)
    side = np.fft.rfft((tail[0] - tail[1]) / 2 * window, num_points)
    bands = _band_responses(sample_rate, num_points)
    pans = _fitted_pans(bands, mid, side)
    diffuse = _echo_response(sample_rate, num_points) * mid
    unlike = diffuse - (_fitted_pans(bands, mid, diffuse) @ bands) * mid
    widths = _fitted_widths(bands, _power(side), _power((pans @ bands) * mid), _power(unlike))
    # The diffuse copy resembles the mid a little; the pans must not count that twice.
    pans = np.clip(pans - _fitted_pans(bands, mid, (widths @ bands) * diffuse), -1.0, 1.0)
    return StereoImage(
        sample_rate=sample_rate,
        num_channels=num_channels,
        pans=tuple(float(pan) for pan in pans),
        widths=tuple(float(width) for width in widths),
    )


def start(image: StereoImage) -> StereoState:
    """Return the state of an image that has heard nothing."""
    return StereoState(past=np.zeros(_reach(image.sample_rate), dtype=np.float32))


def widened(image: StereoImage, state: StereoState, mid: Mono) -> tuple[Audio, StereoState]:
    """Return the next block in the image's channels, and the state after it."""
    heard = np.concatenate([state.past, mid])
    after = StereoState(past=heard[heard.size - state.past.size :].copy())
    if image.num_channels == 1:
        return mid[None], after
    if not any(image.pans) and not any(image.widths):
        return np.stack([mid, mid]), after
    side = _side(image, heard.astype(np.float64))[state.past.size :]
    return np.stack([mid + side, mid - side]).astype(np.float32), after


def _side(image: StereoImage, mid: _Samples) -> _Samples:
    """Return the side; valid once the filters' reach has passed.

    Bands are differences of low-passes, so a sum over bands is one over
    low-passes, weighted with the steps from band to band.
    """
    diffuse = np.zeros_like(mid)
    for delay_samples, gain in _echoes(image.sample_rate):
        diffuse[delay_samples:] += gain * mid[: mid.size - delay_samples]
    side = image.pans[-1] * mid + image.widths[-1] * diffuse
    for band, cutoff_hz in enumerate(CROSSOVERS_HZ):
        pan_step = image.pans[band] - image.pans[band + 1]
        width_step = image.widths[band] - image.widths[band + 1]
        mixed = pan_step * mid + width_step * diffuse
        side += _low_pass(mixed, _pole(cutoff_hz, image.sample_rate))
    return side


def _low_pass(audio: _Samples, pole: float) -> _Samples:
    """Return the audio through a one-pole low-pass whose answer is cut off where it is inaudible.

    The sum over 2^n samples is made of n doublings, each a shifted addition.
    """
    made = (1 - pole) * audio
    other = np.empty_like(made)
    for doubling in range(_doublings(pole)):
        shift = min(1 << doubling, made.size)
        other[:shift] = made[:shift]
        np.multiply(made[: made.size - shift], pole**shift, out=other[shift:])
        other[shift:] += made[shift:]
        made, other = other, made
    return made


def _pole(cutoff_hz: float, sample_rate: int) -> float:
    return exp(-2 * pi * cutoff_hz / sample_rate)


def _doublings(pole: float) -> int:
    return max(0, ceil(log2(log(_FILTER_FLOOR) / log(pole))))


@lru_cache
def _echoes(sample_rate: int) -> tuple[tuple[int, float], ...]:
    """Return delays in samples and gains of sparse echoes ("velvet noise") of power 1.

    One echo a millisecond, placed and signed by a fixed sequence of numbers
    (Numerical Recipes' linear congruential generator), the same for ever. Of
    6000 first numbers this one kept the copy most unlike the sound, and its
    power most even, in every half octave from 40 Hz to 16 kHz.
    """
    number, echoes = 1304, list[tuple[int, float]]()
    for index in range(_ECHOES):
        number = (1664525 * number + 1013904223) % 2**32
        seconds = _ECHO_SPACING_SECONDS * (index + 0.5 + number / 2**33)
        sign = 1.0 if number >> 13 & 1 else -1.0
        echoes.append((round(seconds * sample_rate), sign * exp(-seconds / _ECHO_DECAY_SECONDS)))
    power = sum(gain * gain for _, gain in echoes)
    return tuple((delay_samples, gain / power**0.5) for delay_samples, gain in echoes)


@lru_cache
def _reach(sample_rate: int) -> int:
    """Return how many samples back the side hears."""
    slowest = _pole(CROSSOVERS_HZ[0], sample_rate)
    return max(delay for delay, _ in _echoes(sample_rate)) + (1 << _doublings(slowest))


@lru_cache(maxsize=1)
def _band_responses(sample_rate: int, num_points: int) -> _Responses:
    turns = np.exp(-2j * pi * np.fft.rfftfreq(num_points))
    poles = [_pole(cutoff_hz, sample_rate) for cutoff_hz in CROSSOVERS_HZ]
    passes = [(1 - pole) / (1 - pole * turns) for pole in poles]
    edges = np.stack([np.zeros_like(turns), *passes, np.ones_like(turns)])
    return edges[1:] - edges[:-1]


@lru_cache(maxsize=1)
def _echo_response(sample_rate: int, num_points: int) -> _Spectrum:
    impulse = np.zeros(num_points)
    for delay_samples, gain in _echoes(sample_rate):
        impulse[delay_samples] = gain
    return np.fft.rfft(impulse)


def _power(spectrum: _Spectrum) -> _Powers:
    return np.square(np.abs(spectrum))


def _fitted_pans(bands: _Responses, mid: _Spectrum, side: _Spectrum) -> _Bands:
    """Return the pans whose in-phase part comes nearest to that of the side.

    Only the part in phase with the mid is heard as a place. Filters that look
    back only turn the phase as well; what they add beside it counts as width.
    """
    power = _power(mid)
    in_phase: _Powers = np.real(np.conj(mid) * side)
    answers = np.real(bands)
    total = float(np.sum(power)) or 1.0
    weak = _NOTHING * total
    alike = (answers * power) @ answers.T + weak * np.eye(NUM_BANDS)
    shared = answers @ in_phase + weak * np.sum(in_phase) / total
    pans: _Bands = np.asarray(np.linalg.solve(alike, shared), dtype=np.float64)
    return np.clip(pans, -1.0, 1.0)


def _fitted_widths(bands: _Responses, side: _Powers, panned: _Powers, diffuse: _Powers) -> _Bands:
    """Return the widths that bring each band from the panned power to the side's."""
    shares = np.square(np.abs(bands))
    wanted = np.maximum(shares @ (side - panned), 0.0)
    weak = _NOTHING * float(np.sum(side)) + float(np.finfo(np.float32).tiny)
    widths = np.full(NUM_BANDS, min(1.0, np.sqrt(np.sum(wanted) / (np.sum(diffuse) + weak))))
    for _ in range(_FIT_ROUNDS):
        made = shares @ (_power(widths @ bands) * diffuse)
        widths = np.clip(widths * np.sqrt((wanted + weak) / (made + weak)), 0.0, 1.0)
    return widths
