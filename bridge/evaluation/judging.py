"""All figures of one candidate on one clip, beside what it should have been.

A clip's scene is analysed once; every candidate is then heard against it. Figures that end in
`_of_prime` compare with what was heard, those in `_of_truth` with how it really went on.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Final

import numpy as np

from bridge import figures
from bridge.evaluation import notes, sound
from bridge.evaluation.pieces import Clip
from bridge.evaluation.transcriber import Roll, Transcriber
from bridge.figures import Heard
from bridge.ports import Mono, Note
from bridge.spectra import ANALYSIS_RATE, FRAME_RATE

FIRST_SECONDS: Final = 1.0
"""What comes within the first second is not counted as loudness: the splice is levelled there."""
ENVELOPE_RANGE_DB: Final = 50.0


class Sounding:
    """A stretch of audio and its analyses, each made once."""

    def __init__(self, audio: Mono, transcriber: Transcriber) -> None:
        """Take audio at the rate of analysis."""
        self.audio = audio
        self.transcriber = transcriber

    @cached_property
    def heard(self) -> Heard:
        """Return its spectra."""
        return Heard(self.audio[None], ANALYSIS_RATE)

    @cached_property
    def rolls(self) -> tuple[Roll, Roll]:
        """Return what the transcriber hears: keys that sound, keys that begin."""
        return self.transcriber(self.audio)

    @cached_property
    def played(self) -> notes.Played:
        """Return which keys the transcriber hears."""
        return notes.sounding(self.rolls[0])

    @cached_property
    def colour(self) -> sound.Vector:
        """Return its timbre."""
        return sound.colour(self.heard.mel)

    @cached_property
    def loudness(self) -> float | None:
        """Return its loudness after the first second, in LUFS."""
        return sound.loudness_lufs(self.audio[round(FIRST_SECONDS * ANALYSIS_RATE) :])


class Scene:
    """What a candidate has to fit, over so many seconds of result."""

    def __init__(self, clip: Clip, other: Clip, seconds: float, prime: Sounding) -> None:
        """Take a clip, one of another work that stands for any music, and the prime as heard."""
        self.clip = clip
        self.seconds = seconds
        self._other = other
        self._samples = round(seconds * ANALYSIS_RATE)
        self.prime = prime
        self.truth = self.hear(clip.truth)
        self.random = self.hear(other.truth)

    def hear(self, audio: Mono) -> Sounding:
        """Return a candidate's audio, cut to the scene's length, ready to be measured."""
        return Sounding(audio[: self._samples], self.prime.transcriber)

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """Return the notes to be played, from the splice on."""
        return _after(self.clip)

    @cached_property
    def wrong_notes(self) -> tuple[Note, ...]:
        """Return notes of another work."""
        return _after(self._other)

    @cached_property
    def key(self) -> tuple[int, int]:
        """Return the keys of the prime and of the true continuation."""
        return sound.key_of(self.prime.heard.activity), sound.key_of(self.truth.heard.activity)

    def measure(self, result: Sounding, before: Mono) -> dict[str, float | None]:
        """Return all figures of a result; `before` is the prime as it is heard up to the splice."""
        joined = np.concatenate([before, result.audio])
        return {
            **self._notes(result),
            **self._music(result),
            **self._sound(result),
            "seam_flux_db": sound.seam_flux(joined, before.size),
        }

    def _notes(self, result: Sounding) -> Mapping[str, float | None]:
        found, onsets = result.played, result.rolls[1]
        if self.clip.piece.notes is None:
            return {"note_novelty": notes.novelty(found, self.prime.played)}
        return {
            "frame_f1": notes.f1(found, notes.written(self.notes, len(found))),
            "wrong_frame_f1": notes.f1(found, notes.written(self.wrong_notes, len(found))),
            "onset_f1": notes.onset_f1(onsets, self.notes),
            "drum_match": notes.drum_match(result.audio, self.notes),
            "wrong_drum_match": notes.drum_match(result.audio, self.wrong_notes),
            "note_novelty": notes.novelty(found, self.prime.played),
        }

    def _music(self, result: Sounding) -> Mapping[str, float | None]:
        prime_key, true_key = self.key
        key = sound.key_of(result.heard.activity)
        row: dict[str, float | None] = {
            "chroma_of_prime": figures.key_match(result.heard, self.prime.heard),
            "same_key": float(key == prime_key),
            "truth_same_key": float(true_key == prime_key),
        }
        ours, theirs = self._beat(result), self.true_beat
        if ours is None or theirs is None:
            return row
        return row | {
            "beat_strength": ours.strength,
            "tempo_error": ours.tempo_error,
            "truth_tempo_error": theirs.tempo_error,
            "beat_phase_ms": ours.phase_ms,
            "beat_phase_of_truth_ms": sound.phase_apart_ms(ours, theirs),
        }

    @cached_property
    def true_beat(self) -> sound.Beat | None:
        """Return how the true continuation lies on the grid; None where no tempo is known."""
        return self._beat(self.truth)

    def _beat(self, result: Sounding) -> sound.Beat | None:
        tempo_bpm = self.clip.piece.tempo_bpm
        if tempo_bpm is None:
            return None
        start = self.clip.start_sample + self.clip.prime_samples
        return sound.beat(result.audio, tempo_bpm, -start)

    def _sound(self, result: Sounding) -> Mapping[str, float | None]:
        return {
            "timbre_of_truth_db": sound.distance(result.colour, self.truth.colour),
            "timbre_of_prime_db": sound.distance(result.colour, self.prime.colour),
            "random_timbre_of_truth_db": sound.distance(self.random.colour, self.truth.colour),
            "copy_score": figures.copy_score(result.heard, self.prime.heard),
            "loudness_of_truth_lu": _difference(result.loudness, self.truth.loudness),
            "loudness_of_prime_lu": _difference(result.loudness, self.prime.loudness),
            **_envelope(result.heard),
            "noisiness": figures.noisiness(result.heard, self.prime.heard),
            "silence_share": figures.silence_share(result.heard, self.prime.heard),
        }


def _envelope(heard: Heard) -> Mapping[str, float | None]:
    """Return how fast the level rises at its fastest 5 %, and how fast it falls, in dB a second."""
    level = np.maximum(heard.level_db, heard.level_db.max() - ENVELOPE_RANGE_DB)
    steps = np.diff(level) * FRAME_RATE
    rising, falling = steps[steps > 0], -steps[steps < 0]
    return {
        "attack_db_per_s": float(np.quantile(rising, 0.95)) if rising.size else 0.0,
        "decay_db_per_s": float(np.median(falling)) if falling.size else 0.0,
    }


def _after(clip: Clip) -> tuple[Note, ...]:
    start = clip.prime_samples
    return tuple(
        replace(note, start_sample=note.start_sample - start, end_sample=note.end_sample - start)
        for note in clip.notes
        if note.end_sample > start
    )


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second
