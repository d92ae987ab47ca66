"""Two toys that a model must beat: a loop of the prime's end, and a plain synthesiser.

They stand beside every result in the report. Both are deterministic and fit any
rate and any length. They know nothing of models.
"""

from typing import Final

import numpy as np
from jaxtyping import Float64

from bridge.ports import Audio, Mono, Note

PARTIALS: Final = 16
ATTACK_SECONDS: Final = 0.008
DECAY_SECONDS: Final = 0.25
SUSTAIN: Final = 0.5
RELEASE_SECONDS: Final = 0.08
DRUM_SECONDS: Final = 0.15
SILENT_RMS: Final = 1e-6
PEAK: Final = 0.99

_Exact = Float64[np.ndarray, " samples"]


def looped(prime: Audio, num_samples: int, bar_samples: int) -> Audio:
    """Return the prime's last bar again and again, cut to the length.

    Raises:
        ValueError: The bar or the prime is empty.
    """
    bar = prime[:, -bar_samples:] if bar_samples > 0 else prime[:, :0]
    if not bar.shape[1]:
        raise ValueError(f"a bar of {bar_samples} samples of {prime.shape[1]} samples is no loop")
    times = -(-num_samples // bar.shape[1])
    return np.tile(bar, (1, times))[:, :num_samples]


def synthesised(
    notes: tuple[Note, ...],
    sample_rate: int,
    *,
    start_sample: int,
    num_samples: int,
    like: Audio,
) -> Audio:
    """Return the notes as saw waves with a plain envelope and drums as noise.

    Args:
        notes: Notes at session samples; those outside are cut off.
        sample_rate: The session's rate in Hz.
        start_sample: Session sample at which the audio begins.
        num_samples: Its length.
        like: Audio whose level and channels it takes over.
    """
    mix = np.zeros(num_samples)
    for note in notes:
        sound = _sound(note, sample_rate)
        at = note.start_sample - start_sample
        first, end = max(0, at), min(num_samples, at + sound.size)
        if first < end:
            mix[first:end] += sound[first - at : end - at]
    return np.repeat(_levelled(mix, like)[None], like.shape[0], axis=0)


def _sound(note: Note, sample_rate: int) -> _Exact:
    held = max(1, note.end_sample - note.start_sample) / sample_rate
    if note.is_drum:
        seconds = _seconds(DRUM_SECONDS, sample_rate)
        noise = np.random.default_rng(note.pitch).standard_normal(seconds.size)
        return note.velocity / 127 * noise * np.exp(-seconds * 8 / DRUM_SECONDS)
    seconds = _seconds(held + RELEASE_SECONDS, sample_rate)
    return note.velocity / 127 * _saw(note.pitch, seconds, sample_rate) * _envelope(seconds, held)


def _seconds(duration: float, sample_rate: int) -> _Exact:
    return np.arange(round(duration * sample_rate)) / sample_rate


def _saw(pitch: int, seconds: _Exact, sample_rate: int) -> _Exact:
    """Return a saw of at most 16 partials, none above half the rate."""
    hz = 440.0 * 2 ** ((pitch - 69) / 12)
    partials = range(1, min(PARTIALS, max(1, int(sample_rate / 2 / hz))) + 1)
    waves = [np.sin(2 * np.pi * hz * number * seconds) / number for number in partials]
    return np.sum(waves, axis=0)


def _envelope(seconds: _Exact, held: float) -> _Exact:
    """Return attack, decay, sustain until the note ends, and release."""
    attack = np.minimum(seconds / ATTACK_SECONDS, 1.0)
    decay = SUSTAIN + (1 - SUSTAIN) * np.exp(-seconds / DECAY_SECONDS)
    release = np.clip(1 - (seconds - held) / RELEASE_SECONDS, 0.0, 1.0)
    return attack * decay * release


def _levelled(mix: _Exact, like: Audio) -> Mono:
    """Return the mix at the level of other audio's mid, at most at full scale."""
    wanted = _rms(like.mean(axis=0, dtype=np.float64))
    found = _rms(mix)
    if found < SILENT_RMS:
        return mix.astype(np.float32)
    levelled = mix * (wanted / found)
    peak = float(np.max(np.abs(levelled)))
    return (levelled * min(1.0, PEAK / max(peak, SILENT_RMS))).astype(np.float32)


def _rms(audio: _Exact) -> float:
    return float(np.sqrt(np.mean(np.square(audio)))) if audio.size else 0.0
