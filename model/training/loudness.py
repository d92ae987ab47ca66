"""Measures how loud the music is where each code of the top level stands, over coded examples."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32

from model.loudness import CodeLoudness
from model.training.codes import CodedExample
from model.training.examples import FRAME_SAMPLES

FLOOR = 1e-8
"""Silence counts as -80 dBFS."""


def measure_loudness(loudness: CodeLoudness, examples: Sequence[CodedExample]) -> None:
    """Write each code's mean log power into `loudness`; a code never met gets the mean of all.

    Raises:
        ValueError: There are no examples.
    """
    if not examples:
        raise ValueError("no coded examples to measure the loudness of codes on")
    codes = len(loudness.log_power)
    total, times = np.zeros(codes), np.zeros(codes, np.int64)
    for one in examples:
        power = _frame_powers(one, len(one.mix))
        total += np.bincount(one.mix[: len(power)], weights=power, minlength=codes)
        times += np.bincount(one.mix[: len(power)], minlength=codes)
    mean = np.where(times > 0, total / np.maximum(times, 1), total.sum() / times.sum())
    loudness.log_power.copy_(torch.as_tensor(mean))


def _frame_powers(one: CodedExample, most: int) -> Float32[np.ndarray, " frames"]:
    audio = one.example.mix().astype(np.float32) / 32768
    frames = min(len(audio) // FRAME_SAMPLES, most)
    squares = np.square(audio[: frames * FRAME_SAMPLES]).reshape(frames, FRAME_SAMPLES)
    return np.log(squares.mean(axis=1) + FLOOR)
