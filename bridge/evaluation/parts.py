"""A part made to fit stems: does it agree with them in harmony, and fall with them in time.

The part is the bass; the stems are all others. Beside the model's stand the true bass, the bass of
another piece, and the last bar of the bass again and again.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from bridge import spectra
from bridge.evaluation import sound
from bridge.evaluation.judging import Sounding
from bridge.evaluation.pieces import Clip
from bridge.figures import correlation
from bridge.ports import Mono, StemKind
from bridge.spectra import ANALYSIS_RATE, FRAME_RATE

TARGET: Final = StemKind.BASS
HARMONY_SECONDS: Final = 0.5
LATEST_SECONDS: Final = 0.05
LEAST_RMS: Final = 3e-3
"""A bass under -50 dBFS before or after the splice is none."""
_TINY: Final = 1e-12


def has_part(clip: Clip) -> bool:
    """Return whether a clip has a bass, before and after the splice, and something to fit it to."""
    stems = clip.piece.stems
    if TARGET not in stems or not set(stems) - {TARGET, StemKind.DRUMS}:
        return False
    bass = clip.stem(TARGET)
    sides = bass[: clip.prime_samples], bass[clip.prime_samples :]
    return min(float(np.sqrt(np.mean(np.square(side)))) for side in sides) > LEAST_RMS


def stems_after(clip: Clip) -> tuple[Mono, Mono]:
    """Return the other stems after the splice: those with pitch, and all of them."""
    others = {
        kind: clip.stem(kind)[clip.prime_samples :]
        for kind in clip.piece.stems
        if kind is not TARGET
    }
    pitched = [audio for kind, audio in others.items() if kind is not StemKind.DRUMS]
    return np.sum(pitched, axis=0), np.sum(list(others.values()), axis=0)


def measure(
    part: Sounding, truth: Sounding, stems: tuple[Sounding, Mono]
) -> dict[str, float | None]:
    """Return the figures of a part beside the true one; stems are those with pitch, and all."""
    pitched, every = stems
    return {
        "harmony_of_stems": _harmony(part, pitched),
        "harmony_of_truth": _harmony(part, truth),
        "onsets_of_stems": _onsets(part.audio, every),
        "timbre_of_truth_db": sound.distance(part.colour, truth.colour),
        "loudness_of_truth_lu": _louder(part, truth),
    }


def _harmony(part: Sounding, other: Sounding) -> float:
    """Return the mean cosine of both chromas, half a second at a time, where both sound."""
    length = round(HARMONY_SECONDS * FRAME_RATE)
    ours, theirs = (spectra.chroma(sounding.heard.activity) for sounding in (part, other))
    cosines: list[float] = []
    for at in range(0, min(len(ours), len(theirs)) - length + 1, length):
        first, second = (rows[at : at + length].mean(axis=0) for rows in (ours, theirs))
        size = float(np.linalg.norm(first) * np.linalg.norm(second))
        if size > _TINY:
            cosines.append(float(first @ second) / size)
    return float(np.mean(cosines)) if cosines else 0.0


def _onsets(part: Mono, stems: Mono) -> float:
    """Return the correlation of both spectral fluxes, the highest within 50 ms."""
    ours, theirs = sound.spectral_flux(part), sound.spectral_flux(stems)
    latest = round(LATEST_SECONDS * ANALYSIS_RATE / sound.FLUX_HOP)
    size = min(ours.size, theirs.size) - latest
    return max(
        correlation(ours[late : late + size], theirs[early : early + size])
        for late in range(latest + 1)
        for early in range(latest + 1)
        if 0 in (late, early)
    )


def _louder(part: Sounding, truth: Sounding) -> float | None:
    if part.loudness is None or truth.loudness is None:
        return None
    return part.loudness - truth.loudness


FIGURES: Final[Mapping[str, str]] = {
    "harmony_of_stems": "cosine of the chromas of part and pitched stems, by half seconds",
    "harmony_of_truth": "the same with the true part",
    "onsets_of_stems": "correlation of onset strength with all stems",
    "timbre_of_truth_db": "distance of the cepstrum's statistics from the true part's",
    "loudness_of_truth_lu": "loudness over the true part's",
}
