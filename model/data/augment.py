"""Rooms, tone, microphones, mastering and noise; but for the noise, stems still sum to the mix.

Rooms and tone are linear. Mastering is a gain over time, found on the mix and given to all.
"""

from typing import Any

import numpy as np
from jaxtyping import Float32
from pedalboard import (
    Compressor,
    HighpassFilter,
    HighShelfFilter,
    LowpassFilter,
    LowShelfFilter,
    PeakFilter,
    Pedalboard,  # pyright: ignore[reportPrivateImportUsage]
    Reverb,
)

from model.data.dataset import SAMPLE_RATE

AUGMENTED_SHARE = 1 / 3
MICROPHONE_SHARE = 0.5
"""Of these so many sound as through a small microphone: thin below, dull above, forward between."""
PRESENCE_HZ = 3500
MASTERED_SHARE = 0.4
UNMASTERED_DBFS = -20.0
LEVELS_DBFS = (-26.0, -14.0)
"""Root mean squares of mixes: recordings come at any level."""
_FOLLOWED = 1e-3
"""Below this share of the peak a gain cannot be read off a sample: the one before it holds."""


def draw_augmentation(rng: np.random.Generator) -> dict[str, float]:
    """Return the settings of one example; empty for the two in three that stay dry."""
    if rng.random() >= AUGMENTED_SHARE:
        return {}
    settings = {"tilt_db": round(float(rng.uniform(-4, 4)), 2)}
    if rng.random() < 0.7:
        settings["room_size"] = round(float(rng.uniform(0.05, 0.5)), 3)
        settings["wet"] = round(float(rng.uniform(0.04, 0.2)), 3)
    if rng.random() < MICROPHONE_SHARE:
        settings["low_cut_hz"] = round(float(rng.uniform(40, 200)), 1)
        settings["high_cut_hz"] = round(4000 * 3.5 ** float(rng.uniform()), 0)
        settings["presence_db"] = round(float(rng.uniform(-3, 6)), 2)
    if rng.random() < 0.6:
        settings["noise_dbfs"] = round(float(rng.uniform(-60, -45)), 1)
    return settings


def draw_mastering(rng: np.random.Generator) -> dict[str, float]:
    """Return the level of one example, and for some the settings of a compressor on the mix."""
    settings = {"rms_dbfs": round(float(rng.uniform(*LEVELS_DBFS)), 2)}
    if rng.random() < MASTERED_SHARE:
        settings["above_rms_db"] = round(float(rng.uniform(-6, 6)), 2)
        settings["ratio"] = round(float(rng.uniform(1.5, 4)), 2)
        settings["attack_ms"] = round(float(rng.uniform(3, 30)), 1)
        settings["release_ms"] = round(float(rng.uniform(60, 300)), 1)
    return settings


def mastering(
    mix: Float32[np.ndarray, "samples"], settings: dict[str, float]
) -> Float32[np.ndarray, "samples"]:
    """Return the gain over time that a compressor on the mix takes; 1 where none is set.

    Its threshold lies `above_rms_db` above the mix's own root mean square.
    """
    peak = float(np.abs(mix).max())
    if "ratio" not in settings or peak == 0:
        return np.ones_like(mix)
    rms_db = 10 * np.log10(float(np.mean(np.square(mix, dtype=np.float64))))
    compressor = Compressor(
        threshold_db=rms_db + settings["above_rms_db"],
        ratio=settings["ratio"],
        attack_ms=settings["attack_ms"],
        release_ms=settings["release_ms"],
    )
    made = np.asarray(compressor(mix, SAMPLE_RATE), dtype=np.float32).reshape(-1)
    readable = np.abs(mix) > _FOLLOWED * peak
    last = np.maximum.accumulate(np.where(readable, np.arange(len(mix)), 0))
    gain = np.where(readable, made / np.where(readable, mix, 1), 1).astype(np.float32)
    return gain[last]


def colour(
    samples: Float32[np.ndarray, "samples"], settings: dict[str, float]
) -> Float32[np.ndarray, "samples"]:
    """Return the signal in the settings' room and tone; linear in the signal."""
    plugins: list[Any] = []
    if "tilt_db" in settings:
        half = settings["tilt_db"] / 2
        plugins.append(LowShelfFilter(cutoff_frequency_hz=300, gain_db=-half))
        plugins.append(HighShelfFilter(cutoff_frequency_hz=3000, gain_db=half))
    if "low_cut_hz" in settings:
        plugins.append(HighpassFilter(cutoff_frequency_hz=settings["low_cut_hz"]))
        plugins.append(LowpassFilter(cutoff_frequency_hz=settings["high_cut_hz"]))
        presence = settings["presence_db"]
        plugins.append(PeakFilter(cutoff_frequency_hz=PRESENCE_HZ, gain_db=presence, q=0.8))
    if "wet" in settings:
        wet = settings["wet"]
        room = settings["room_size"]
        plugins.append(Reverb(room_size=room, wet_level=wet, dry_level=1 - wet, width=0.0))
    if not plugins:
        return samples
    return np.asarray(Pedalboard(plugins)(samples, SAMPLE_RATE), dtype=np.float32).reshape(-1)


def noise(
    rng: np.random.Generator, num_samples: int, settings: dict[str, float]
) -> Float32[np.ndarray, "samples"] | None:
    """Return the noise that goes into the mix alone, or None; full scale is 1."""
    if "noise_dbfs" not in settings:
        return None
    white = rng.standard_normal(num_samples).astype(np.float32)
    softened = white + np.concatenate([white[:1], white[:-1]])
    level = 10 ** (settings["noise_dbfs"] / 20)
    return (softened * np.float32(level / softened.std())).astype(np.float32)
