"""Conditions that arrive while the music plays: notes and stems, kept as long as they matter.

What is told of a stretch before the recording reaches it steers what the model
hears there and makes after it. Knows neither engine nor wire.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from bridge.errors import InvalidRequestError
from bridge.limits import check_conditions, check_count
from bridge.live_setup import KEPT_SECONDS, LiveSetup
from bridge.model_time import model_conditions
from bridge.ports import Conditions, MidiPart, Mono, Stem, StemKind
from bridge.request import MAX_NOTES
from bridge.transport import SampleMap, TempoMap, pulse_of

STEM_REACH_SECONDS: Final = 1
"""How much of a stem before a sample the model may still look at from there on."""
BESIDE_SECONDS: Final = 12
"""How much an answer may look at: what was played beside all of a recording that still matters."""
JOINED_BLOCKS: Final = 64
"""So many blocks of a stem wait until they are made one."""


@dataclass(frozen=True, slots=True)
class _Track:
    """A stem so far: blocks come every period, and are joined when somebody asks."""

    start_sample: int
    blocks: tuple[Mono, ...]

    @property
    def num_samples(self) -> int:
        return sum(block.shape[0] for block in self.blocks)

    @property
    def end_sample(self) -> int:
        return self.start_sample + self.num_samples

    def joined(self) -> Mono:
        return self.blocks[0] if len(self.blocks) == 1 else np.concatenate(self.blocks)

    def longer(self, samples: Mono) -> "_Track":
        blocks = self.blocks if len(self.blocks) < JOINED_BLOCKS else (self.joined(),)
        return replace(self, blocks=(*blocks, samples))

    def since(self, sample: int) -> "_Track":
        start, samples = _since(self.start_sample, self.joined(), sample)
        return _Track(start, (samples,))


class Steering:
    """The conditions of a session so far.

    Attributes:
        num_news: How many times something was told.
    """

    def __init__(self, setup: LiveSetup) -> None:
        self._setup = setup
        self._conditions = setup.conditions
        self._tracks: dict[StemKind, _Track] = {}
        self.num_news = 0

    @property
    def is_told(self) -> bool:
        """Return whether notes or a target say what is made."""
        return self._conditions.midi is not None or self._conditions.target is not StemKind.MIX

    def add_notes(self, part: MidiPart) -> None:
        """Take the notes of one more stretch.

        Raises:
            InvalidRequestError: It does not begin where the one before ended, or holds a note
                that is none.
        """
        check_conditions(Conditions(midi=part))
        before = self._conditions.midi
        if before is not None and part.start_sample != before.end_sample:
            raise InvalidRequestError(
                f"the notes begin at sample {part.start_sample}, "
                f"the next stretch is due at sample {before.end_sample}",
                field="notes.start_sample",
            )
        if before is not None:
            notes = (*before.notes, *part.notes)
            check_count("MIDI notes", len(notes), MAX_NOTES)
            part = replace(part, notes=notes, start_sample=before.start_sample)
        self._conditions = replace(self._conditions, midi=part)
        self.num_news += 1

    def add_stem(self, kind: StemKind, start_sample: int, samples: Mono) -> None:
        """Take a block of a stem.

        Raises:
            InvalidRequestError: It is not the next one of its kind, or over a minute is held.
        """
        track = self._tracks.get(kind)
        if track is not None and start_sample != track.end_sample:
            raise InvalidRequestError(
                f"a block of the {kind} stem starts at sample {start_sample}, "
                f"the next one is due at sample {track.end_sample}",
                field="audio.start_sample",
            )
        held = samples.shape[0] + (0 if track is None else track.num_samples)
        limit = 2 * KEPT_SECONDS * self._setup.sample_rate
        if held > limit:
            raise InvalidRequestError(
                f"{held} samples of the {kind} stem wait for the recording, "
                f"the limit is {limit} samples"
            )
        track = _Track(start_sample, ()) if track is None else track
        self._tracks[kind] = track.longer(samples)
        self.num_news += 1

    def follow(self, tempo_map: TempoMap) -> None:
        """Take where beats and bars lie from now on."""
        pulse = pulse_of(tempo_map)
        if pulse != self._conditions.pulse:
            self._conditions = replace(self._conditions, pulse=pulse)
            self.num_news += 1

    def of_request(self, anchor_sample: int) -> Conditions:
        """Return the conditions in session samples, the song's time counted to an anchor."""
        stems = [
            Stem(kind=kind, start_sample=track.start_sample, samples=track.joined())
            # A copy, since this may run beside what adds to it.
            for kind, track in tuple(self._tracks.items())
        ]
        conditions, timing = self._conditions, self._conditions.timing
        if timing is not None:
            offset = timing.offset_samples + anchor_sample - self._setup.start_sample
            timing = replace(timing, offset_samples=offset)
        return replace(conditions, timing=timing, stems=(*conditions.stems, *stems))

    def of_window(
        self, sample_map: SampleMap, from_sample: int, reach_seconds: int = STEM_REACH_SECONDS
    ) -> Conditions:
        """Return the conditions on the model's timeline, stems only as far as they matter.

        Args:
            sample_map: From the window's anchor on.
            from_sample: Session sample from which the model goes on.
            reach_seconds: How much of stems before it is looked at.
        """
        first = from_sample - reach_seconds * self._setup.sample_rate
        anchor = sample_map.anchor_sample
        asked = self.of_request(anchor)
        late = (_since(stem.start_sample, stem.samples, first) for stem in asked.stems)
        stems = tuple(
            replace(stem, start_sample=start, samples=samples)
            for stem, (start, samples) in zip(asked.stems, late, strict=True)
            if samples.shape[0]
        )
        return model_conditions(replace(asked, stems=stems), sample_map, anchor)

    def forget_before(self, sample: int) -> None:
        """Drop notes and stems that no window from this sample on will look at."""
        midi = self._conditions.midi
        if midi is not None:
            notes = tuple(note for note in midi.notes if note.end_sample > sample)
            start = min(max(midi.start_sample, sample), midi.end_sample - 1)
            self._conditions = replace(
                self._conditions, midi=replace(midi, notes=notes, start_sample=start)
            )
        for kind, track in self._tracks.items():
            self._tracks[kind] = track.since(sample)


def _since(start_sample: int, samples: Mono, sample: int) -> tuple[int, Mono]:
    """Return what is left of samples from one on, and where it begins."""
    skipped = max(0, sample - start_sample)
    return start_sample + skipped, samples[skipped:]
