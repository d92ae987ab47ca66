"""Joins generated audio to the recorded prime: same level, no step, never clipped.

Level and crossfade are measured over audio decoded from the prime's own codes
(the lead-in), which the model would play just before the splice. All here is
memoryless, so that blocks of any size give the same bytes. Knows neither codes
nor files.
"""

from typing import Final

import numpy as np
from jaxtyping import Float64

from bridge.ports import Audio, Mono

MATCH_SECONDS: Final = 1.0
"""How much of the prime's end is compared for level."""
FADE_SECONDS: Final = 0.06
"""The crossfade's length before the splice."""
MAX_GAIN_DB: Final = 12.0
SILENT_RMS: Final = 10 ** (-60 / 20)
"""Under -60 dBFS a tail says nothing of the level."""
KNEE: Final = 0.9
"""Peak level up to which samples pass untouched."""

_Gains = Float64[np.ndarray, " samples"]
_Exact = Float64[np.ndarray, "channels samples"]


def level_gain_db(recorded: Mono, decoded: Mono) -> float:
    """Return the gain in dB that brings decoded audio to the level of the recording.

    Both are the same stretch, the end of the prime. The gain is limited to
    ±12 dB and is 0 where either is silent or missing.
    """
    recorded_rms, decoded_rms = _rms(recorded), _rms(decoded)
    if min(recorded_rms, decoded_rms) < SILENT_RMS:
        return 0.0
    gain_db = 20 * float(np.log10(recorded_rms / decoded_rms))
    return min(max(gain_db, -MAX_GAIN_DB), MAX_GAIN_DB)


def amplified(audio: Mono, gain_db: float) -> Mono:
    """Return the audio at another level."""
    return audio * np.float32(10 ** (gain_db / 20))


def softened(audio: Audio) -> tuple[Audio, float]:
    """Return the audio with peaks over 0.9 bent to stay under 1, and the largest reduction in dB.

    The curve is x / sqrt(1 + x²) above the knee: slope 1 at the knee, 1.0 in
    the limit. It has no memory, so it adds no latency and no pumping; the
    reduction is 0 or negative.
    """
    peak = float(np.max(np.abs(audio), initial=0.0))
    if peak <= KNEE:
        return audio, 0.0
    soft = _bent(audio.astype(np.float64), np.full_like(audio, KNEE, dtype=np.float64))
    loudest = float(np.max(np.abs(soft)))
    return soft.astype(np.float32), 20 * float(np.log10(loudest / peak))


def joined(prime: Audio, lead_in: Audio, result: Audio, fade_samples: int) -> Audio:
    """Return prime and result in one piece, crossfaded in the prime's last samples.

    `lead_in` is generated-side audio that ends at the splice, levelled, widened
    and softened as the result is. Up to the fade the prime is untouched, from
    the splice on the result is; the fade is as long as the three lengths allow.

    Raises:
        ValueError: Channel counts differ, or the fade is negative.
    """
    if not prime.shape[0] == lead_in.shape[0] == result.shape[0]:
        counts = (prime.shape[0], lead_in.shape[0], result.shape[0])
        raise ValueError(f"prime, lead-in and result have {counts} channels")
    if fade_samples < 0:
        raise ValueError(f"the fade has {fade_samples} samples, the least is 0 samples")
    fade_samples = min(fade_samples, prime.shape[1], lead_in.shape[1])
    kept = prime.shape[1] - fade_samples
    tail = prime[:, kept:]
    faded = crossfaded(tail, lead_in[:, lead_in.shape[1] - fade_samples :])
    return np.concatenate([prime[:, :kept], faded, result], axis=1)


def led_out(result: Audio, suffix: Audio, fade_samples: int) -> Audio:
    """Return the result whose last samples pass into the first ones of what follows.

    The suffix begins so many samples before the result's end; after it, it goes on by itself.

    Raises:
        ValueError: Channel counts differ, or one is shorter than the fade.
    """
    if result.shape[0] != suffix.shape[0]:
        raise ValueError(f"result and suffix have {result.shape[0]} and {suffix.shape[0]} channels")
    shorter = min(result.shape[1], suffix.shape[1])
    if not 0 <= fade_samples <= shorter:
        raise ValueError(f"the fade has {fade_samples} samples, allowed are 0 to {shorter} samples")
    kept = result.shape[1] - fade_samples
    faded = crossfaded(result[:, kept:], suffix[:, :fade_samples])
    return np.concatenate([result[:, :kept], faded], axis=1)


def crossfaded(old: Audio, new: Audio) -> Audio:
    """Return the passage from one audio to another of the same length at equal power.

    Sine and cosine keep the power of unrelated sounds; decoded audio resembles
    the recording, so the gains are divided by the power that their correlation
    would add. What then rises over both and over 0.9 is bent as in `softened`,
    so the mix stays under 1 where both do.
    """
    return crossfaded_part(old, new, (0, old.shape[1]), correlation(old, new))


def crossfaded_part(old: Audio, new: Audio, part: tuple[int, int], alike: float) -> Audio:
    """Return a part of a crossfade, for who gets the audio block by block.

    Args:
        old: What fades away.
        new: What comes, as long.
        part: How many samples of the fade came before, and how many it has.
        alike: The correlation of both, measured once.
    """
    first, total = part
    position = np.linspace(0, 1, total, endpoint=False) + 0.5 / max(1, total)
    position = position[first : first + old.shape[1]]
    falling, rising = np.cos(np.pi / 2 * position), np.sin(np.pi / 2 * position)
    extra: _Gains = 2 * alike * falling * rising
    mixed = (old * falling + new * rising) / np.sqrt(1 + extra)
    loudest = np.maximum(np.abs(old), np.abs(new)).astype(np.float64)
    return _bent(mixed, np.maximum(loudest, KNEE)).astype(np.float32)


def _bent(audio: _Exact, knee: _Exact) -> _Exact:
    over = np.maximum(np.abs(audio) - knee, 0.0)
    room = np.maximum(1 - knee, 0.0)
    scale = np.sqrt(room * room + over * over)
    bent = knee + room * over / np.where(scale > 0, scale, 1.0)
    return np.where(over > 0, np.copysign(bent, audio), audio)


def correlation(old: Audio, new: Audio) -> float:
    """Return how alike two sounds of the same length are, 0 (or opposed) to 1."""
    first, second = old.astype(np.float64), new.astype(np.float64)
    power = float(np.sqrt(np.sum(first * first) * np.sum(second * second)))
    if power == 0:
        return 0.0
    return min(max(float(np.sum(first * second)) / power, 0.0), 1.0)


def _rms(audio: Mono) -> float:
    if not audio.size:
        return 0.0
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))
