"""How something sounds, apart from its notes: colour, key, beat, loudness, seam, and a vector.

Each is one function of audio at the rate of analysis; none knows models or files.
"""

import warnings
from dataclasses import dataclass
from functools import cache
from math import cos, pi
from typing import Any, Final

import numpy as np
from jaxtyping import Float64

from bridge import spectra
from bridge.errors import NotReadyError
from bridge.ports import Mono
from bridge.spectra import ANALYSIS_RATE, FRAME_RATE, MEL_BANDS, Mel, Pitches

COEFFICIENTS: Final = 20
FLUX_WINDOW: Final = 1024
FLUX_HOP: Final = 512
EMBEDDED_SECONDS: Final = 2.0
SEAM_SECONDS: Final = 0.03
TEMPO_RANGE: Final = 0.2
TEMPO_STEPS: Final = 81
_RANGE_DB: Final = 60.0
_SEAM_WINDOW: Final = 1024
_SEAM_HOP: Final = 256
_TINY: Final = 1e-12
# Krumhansl and Kessler 1982: how well each degree fits a major and a minor key.
_MAJOR: Final = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR: Final = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)

Vector = Float64[np.ndarray, " dimensions"]
Vectors = Float64[np.ndarray, "stretches dimensions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """How the beat lies on a grid: tempo error as a share, phase error, strength 0 to 1."""

    tempo_error: float
    phase_ms: float
    strength: float
    period_ms: float


def colour(mel: Mel) -> Vector:
    """Return mean and spread of the mel-frequency cepstrum's shape over time; level is left out."""
    cepstrum = np.maximum(mel, mel.max() - _RANGE_DB) @ _cosines().T
    loud = mel.max(axis=1) > mel.max() - _RANGE_DB / 2
    kept = cepstrum[loud] if loud.any() else cepstrum
    return np.concatenate([kept.mean(axis=0), kept.std(axis=0)])


def distance(first: Vector, second: Vector) -> float:
    """Return how far two colours lie apart, in dB per band."""
    return float(np.sqrt(np.mean(np.square(first - second))))


def key_of(activity: Pitches) -> int:
    """Return the key: 0 to 11 major from C on, 12 to 23 minor."""
    heard = np.sqrt(spectra.chroma(activity).mean(axis=0))
    heard = heard - heard.mean()
    fits = [
        float(heard @ np.roll(np.array(profile) - np.mean(profile), tonic) / np.std(profile))
        for profile in (_MAJOR, _MINOR)
        for tonic in range(12)
    ]
    return int(np.argmax(fits))


def spectral_flux(audio: Mono) -> Float64[np.ndarray, " frames"]:
    """Return how much louder the bins became since the frame before, in root-compressed power."""
    window = np.hanning(FLUX_WINDOW)
    padded = np.pad(audio.astype(np.float64), (FLUX_WINDOW // 2, FLUX_WINDOW))
    starts = range(0, max(1, audio.size), FLUX_HOP)
    spectra = np.stack(
        [np.abs(np.fft.rfft(padded[at : at + FLUX_WINDOW] * window)) for at in starts]
    )
    steps = np.diff(np.sqrt(spectra), axis=0, prepend=np.sqrt(spectra[:1]))
    return np.maximum(steps, 0.0).sum(axis=1)


def beat(audio: Mono, tempo_bpm: float, first_beat_sample: int = 0) -> Beat:
    """Return how the onsets lie on beats of a tempo, one of them at a sample.

    Over a grid of tempi within 20 %, the one at which the flux repeats most, at the beat
    and at twice its rate; the phase is that at the true tempo.
    """
    flux = spectral_flux(audio)
    flux = flux - flux.mean()
    samples: Vector = np.arange(flux.size, dtype=np.float64) * FLUX_HOP - first_beat_sample
    seconds: Vector = samples / ANALYSIS_RATE
    shares = 1 + np.linspace(-TEMPO_RANGE, TEMPO_RANGE, TEMPO_STEPS)
    taper = np.hanning(flux.size + 2)[1:-1]
    hz = tempo_bpm / 60
    strengths = [
        sum(
            abs(np.sum(taper * flux * np.exp(-2j * pi * multiple * share * hz * seconds)))
            for multiple in (1, 2)
        )
        for share in shares
    ]
    at_beat = np.sum(flux * np.exp(-2j * pi * hz * seconds))
    return Beat(
        tempo_error=float(abs(shares[int(np.argmax(strengths))] - 1)),
        phase_ms=float(-np.angle(at_beat) / (2 * pi * hz) * 1000),
        strength=float(abs(at_beat) / (np.abs(flux).sum() + _TINY)),
        period_ms=1000 / hz,
    )


def phase_apart_ms(first: Beat, second: Beat) -> float:
    """Return how far two beats of one tempo lie apart, half a period at most."""
    apart = abs(first.phase_ms - second.phase_ms) % first.period_ms
    return min(apart, first.period_ms - apart)


def loudness_lufs(audio: Mono) -> float | None:
    """Return the integrated loudness (ITU-R BS.1770); None where all is gated away.

    Raises:
        NotReadyError: `pyloudnorm` is not installed.
    """
    if audio.size < ANALYSIS_RATE // 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of peaks over full scale
        found = float(_meter().integrated_loudness(audio.astype(np.float64)))
    return found if np.isfinite(found) else None


def seam_flux(joined: Mono, splice_sample: int) -> float:
    """Return the largest change of the spectrum from frame to frame around the splice.

    Half-wave sums would miss what breaks off: changes of both signs count, in dB per band,
    within 30 ms on each side.
    """
    reach = round(SEAM_SECONDS * ANALYSIS_RATE)
    first = max(0, splice_sample - reach - _SEAM_WINDOW // 2)
    part = joined[first : splice_sample + reach + _SEAM_WINDOW // 2].astype(np.float64)
    if part.size < _SEAM_WINDOW + _SEAM_HOP:
        return 0.0
    starts = range(0, part.size - _SEAM_WINDOW + 1, _SEAM_HOP)
    window = np.hanning(_SEAM_WINDOW)
    power = [np.square(np.abs(np.fft.rfft(part[at : at + _SEAM_WINDOW] * window))) for at in starts]
    level = 10 * np.log10(np.add.reduceat(np.stack(power), _seam_edges(), axis=1) + 1e-4)
    level = np.maximum(level, level.max() - _RANGE_DB)
    return float(np.abs(np.diff(level, axis=0)).mean(axis=1).max())


def embeddings(mel: Mel) -> Vectors:
    """Return a vector for every 2 s: mean, spread and mean change of the mel bands' levels.

    Levelled to the stretch's own mean power, so that loudness does not count.
    """
    length = round(EMBEDDED_SECONDS * FRAME_RATE)
    starts = range(0, max(1, len(mel) - length + 1), length)
    return np.stack([_embedding(mel[at : at + length]) for at in starts])


@cache
def _meter() -> Any:  # noqa: ANN401 - untyped
    try:
        import pyloudnorm  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise NotReadyError("measuring needs pyloudnorm: pip install pyloudnorm") from error
    meter: Any = pyloudnorm.Meter(ANALYSIS_RATE)
    return meter


def _embedding(mel: Mel) -> Vector:
    level = mel - 10 * np.log10(np.mean(10 ** (mel / 10)) + _TINY)
    level = np.maximum(level, -_RANGE_DB).reshape(len(mel), MEL_BANDS // 2, 2).mean(axis=2)
    change = np.abs(np.diff(level, axis=0)) if len(level) > 1 else np.zeros_like(level)
    return np.concatenate([level.mean(axis=0), level.std(axis=0), change.mean(axis=0)])


def _cosines() -> Float64[np.ndarray, "coefficients bands"]:
    """Return the orthonormal cosine transform's rows, without the mean."""
    bands = np.arange(MEL_BANDS) + 0.5
    rows = [
        [cos(pi * row * band / MEL_BANDS) * (2 / MEL_BANDS) ** 0.5 for band in bands]
        for row in range(1, COEFFICIENTS)
    ]
    return np.array(rows)


def _seam_edges() -> list[int]:
    """Return the first bins of bands that grow wider, 24 in all."""
    edges = np.geomspace(1, _SEAM_WINDOW // 2, 25)[:-1]
    return sorted({int(edge) for edge in edges})
