"""Notes as frame-aligned features, in numpy: what sounds, since when, until when.

Ages are given as decays, so that one linear map can read an attack or a
release. Knows sample positions and General MIDI, nothing of tensors.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int64

from model.config import REGISTER_STARTS
from model.errors import ConditionError

ROLL_FRAME_SAMPLES = 512
"""One roll frame is four top-level frames, 11.6 ms at 44.1 kHz."""

NOTE_FIELDS = ("start_sample", "end_sample", "pitch", "velocity", "program", "stem")
DRUM_PROGRAM = 128
UNNAMED_PROGRAM = 129
"""Of a note whose instrument nobody named: no family sounds."""
NOTE_LIMITS = {"pitch": (2, 127), "velocity": (3, 127), "program": (4, DRUM_PROGRAM)}
"""Each field's column and largest value; the least is 0."""
PITCHES = 128
FAMILIES = 17

SOUNDING, FAST, SLOW, RELEASE, HIT_FAST, HIT_SLOW = (
    slice(n * 128, n * 128 + 128) for n in range(6)
)
FAMILY = slice(768, 768 + FAMILIES)
ROLL_WIDTH = 768 + FAMILIES

_SECONDS_PER_FRAME = ROLL_FRAME_SAMPLES / 44_100
_FAST_S, _SLOW_S, _RELEASE_S, _HIT_FAST_S, _HIT_SLOW_S = 0.06, 0.6, 0.15, 0.05, 0.3
_RELEASE_FRAMES = 64
_HIT_FRAMES = 96
_STRUCK_FRAMES = 8

HIT_KINDS = ((35, 36), (37, 38, 39, 40), (42, 44, 46))
"""Kick, snare, hi-hat; every other drum key is of a fourth kind."""
CUES = 2 * (len(HIT_KINDS) + 1) + 2 * (len(REGISTER_STARTS) + 1)
PLAYED = PITCHES + CUES

Notes = Int64[np.ndarray, "notes fields"]
"""Rows of `NOTE_FIELDS`; program 128 is a drum key."""
Roll = Float32[np.ndarray, "frames features"]


def roll_of(notes: Notes, start_sample: int, num_frames: int) -> Roll:
    """Return the features of `num_frames` frames from `start_sample` on.

    A note's first frame is the one its start falls into; it sounds for at
    least one frame.
    """
    roll = np.zeros((num_frames, ROLL_WIDTH), np.float32)
    first = (notes[:, 0] - start_sample) // ROLL_FRAME_SAMPLES
    last = np.maximum(-(-(notes[:, 1] - start_sample) // ROLL_FRAME_SAMPLES), first + 1)
    reach = np.where(notes[:, 4] == DRUM_PROGRAM, first + _HIT_FRAMES, last + _RELEASE_FRAMES)
    for index in np.flatnonzero((reach > 0) & (first < num_frames)):
        _, _, pitch, velocity, program, _ = (int(value) for value in notes[index])
        if program == DRUM_PROGRAM:
            _hit(roll, int(first[index]), pitch, velocity)
        else:
            _tone(roll, (int(first[index]), int(last[index])), pitch, velocity, program // 8)
    return roll


def noted_roll(
    notes: Notes, spans: Sequence[tuple[int, int]], start_sample: int, num_frames: int
) -> tuple[Roll, Bool[np.ndarray, " frames"]]:
    """Return the features of a stretch, and which frames of it notes are known for.

    Notes are known within `spans`, in samples: outside of them silence says nothing.
    """
    known = np.zeros(num_frames, bool)
    if not spans:
        return np.zeros((num_frames, ROLL_WIDTH), np.float32), known
    at = start_sample + np.arange(num_frames) * ROLL_FRAME_SAMPLES
    for first, last in spans:
        # A frame is known when a span touches it: half-known frames have notes to tell.
        known |= (at + ROLL_FRAME_SAMPLES > first) & (at < last)
    return roll_of(notes, start_sample, num_frames), known


def check_notes(notes: Notes) -> None:
    """Pass if every field is one that features can be made of.

    Raises:
        ConditionError: One is out of range.
    """
    for name, (column, limit) in NOTE_LIMITS.items():
        values = notes[:, column]
        wrong = values[(values < 0) | (values > limit)]
        if len(wrong):
            raise ConditionError(f"a note's {name} is {wrong[0]}, allowed are 0 to {limit}")


def played_of(roll: Roll) -> Float32[np.ndarray, "frames played"]:
    """Return what the finisher reads of a roll, in fewer features.

    Each pitch's amplitude (sounding, or fading after its end), then how fresh
    the hits of each kind of drum and the attacks of each register are.
    """
    registers = [0, *REGISTER_STARTS]
    others = np.setdiff1d(np.arange(PITCHES), np.concatenate([np.array(k) for k in HIT_KINDS]))
    kinds = [*HIT_KINDS, tuple(int(key) for key in others)]
    parts = [np.maximum(roll[:, SOUNDING], roll[:, RELEASE])]
    for ages in (HIT_FAST, HIT_SLOW):
        parts += [roll[:, ages][:, list(kind)].max(axis=1, keepdims=True) for kind in kinds]
    parts += [np.maximum.reduceat(roll[:, ages], registers, axis=1) for ages in (FAST, SLOW)]
    return np.concatenate(parts, axis=1)


def _hit(roll: Roll, first: int, pitch: int, velocity: int) -> None:
    span = slice(max(first, 0), min(first + _HIT_FRAMES, len(roll)))
    age = (np.arange(span.start, span.stop) - first) * _SECONDS_PER_FRAME
    loud = velocity / 127
    fast, slow = roll[span, HIT_FAST], roll[span, HIT_SLOW]
    np.maximum(fast[:, pitch], loud * np.exp(-age / _HIT_FAST_S), out=fast[:, pitch])
    np.maximum(slow[:, pitch], loud * np.exp(-age / _HIT_SLOW_S), out=slow[:, pitch])
    roll[span.start : max(min(first + _STRUCK_FRAMES, len(roll)), 0), FAMILY][:, FAMILIES - 1] = 1


def _tone(roll: Roll, span: tuple[int, int], pitch: int, velocity: int, family: int) -> None:
    first, last = span
    sounds = slice(max(first, 0), min(max(last, 0), len(roll)))
    age = (np.arange(sounds.start, sounds.stop) - first) * _SECONDS_PER_FRAME
    loud = velocity / 127
    roll[sounds, SOUNDING][:, pitch] = loud
    roll[sounds, FAST][:, pitch] = loud * np.exp(-age / _FAST_S)
    roll[sounds, SLOW][:, pitch] = loud * np.exp(-age / _SLOW_S)
    if family < FAMILIES - 1:
        roll[sounds, FAMILY][:, family] = 1
    ends = slice(max(last, 0), min(max(last + _RELEASE_FRAMES, 0), len(roll)))
    since = (np.arange(ends.start, ends.stop) - last) * _SECONDS_PER_FRAME
    release = roll[ends, RELEASE]
    np.maximum(release[:, pitch], loud * np.exp(-since / _RELEASE_S), out=release[:, pitch])
