"""The whole of measuring, clip by clip: what was done is kept, so that it can be stopped.

Every job makes the audio of one candidate on one clip, or finds it made, and measures it against
the clip's scene. Clips come in an order without meaning, so that any beginning is a fair part.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from bridge.errors import InvalidRequestError
from bridge.evaluation import candidates, codebooks, making, parts, sound
from bridge.evaluation.candidates import Made, Told
from bridge.evaluation.judging import Scene, Sounding
from bridge.evaluation.making import Maker
from bridge.evaluation.pieces import Clip, clips_of, found_pieces, load_piece
from bridge.evaluation.records import Record, Records
from bridge.evaluation.transcriber import Transcriber
from bridge.ports import Quality
from bridge.spectra import ANALYSIS_RATE

PRIME_SECONDS: Final = 8.0
RESULT_SECONDS: Final = (4.0, 8.0)
OTHER_SEEDS: Final = (8, 9)
PART: Final = "part"
"""Kind of the records of parts made from stems."""
_ROUNDING_SECONDS: Final = 1e-3

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """What to measure, and within which bounds.

    Attributes:
        data: A folder of pieces or recordings.
        out: Where records and audio are kept.
        seconds: Lengths of result to measure; the longest is made.
        max_clips: Clips at most.
        work_clips: Of each work at most; None is no bound.
        codec_clips: So many of them through the codec's levels and the finisher alone too.
        codebook_minutes: So much music is encoded to count codes, if no candidates are named.
        part_clips: So many of those that have a bass are given the other stems.
        seed_clips: So many are drawn with three seeds.
        teacher_clips: So many are made by the teacher too, which is slow.
        only: These candidates and the truth; none named are all.
        minutes: After so long no new clip begins; None is no bound.
    """

    data: Path
    out: Path
    seconds: tuple[float, ...] = RESULT_SECONDS
    max_clips: int = 200
    work_clips: int | None = None
    codec_clips: int = 40
    codebook_minutes: float = codebooks.LEAST_MINUTES
    part_clips: int = 40
    seed_clips: int = 20
    teacher_clips: int = 0
    only: tuple[str, ...] = ()
    minutes: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            InvalidRequestError: Lengths of 0 s or less, fewer than 0 clips, an unknown candidate.
        """
        if not self.seconds or min(self.seconds) <= 0:
            raise InvalidRequestError(f"the lengths are {self.seconds} s, each must be over 0 s")
        counts = (self.codec_clips, self.part_clips, self.seed_clips, self.teacher_clips)
        if self.max_clips < 1 or min(counts) < 0:
            raise InvalidRequestError(
                f"{self.max_clips} clips, of them {counts}: the least is 1 clip, of them 0"
            )
        if self.work_clips is not None and self.work_clips < 1:
            raise InvalidRequestError(f"{self.work_clips} clips of each work, the least is 1")
        if self.codebook_minutes < 0:
            raise InvalidRequestError(f"{self.codebook_minutes:g} min to count, the least is 0")
        unknown = [name for name in self.only if not making.is_candidate(name)]
        if unknown:
            raise InvalidRequestError(f"no candidates are called {', '.join(unknown)[:80]!r}")


class Evaluation:
    """One set measured with one model."""

    def __init__(
        self, config: EvaluationConfig, maker: Maker, tell: Tell, transcriber: Transcriber
    ) -> None:
        """Take what makes audio, who is told of the progress, and an ear."""
        self._config = config
        self._maker = maker
        self._tell = tell
        self._transcriber = transcriber
        self.records = Records(config.out / "records.jsonl")

    @property
    def clips(self) -> list[Clip]:
        """Return the clips to measure."""
        return self._every[: self._config.max_clips]

    @cached_property
    def _every(self) -> list[Clip]:
        seconds = max(self._config.seconds)
        longest = round((PRIME_SECONDS + seconds) * ANALYSIS_RATE)
        pieces = [load_piece(path, longest) for path in found_pieces(self._config.data)]
        return _of_each(clips_of(pieces, PRIME_SECONDS, seconds), self._config.work_clips)

    @cached_property
    def _with_bass(self) -> list[Clip]:
        return [clip for clip in self._every if parts.has_part(clip)]

    def run(self) -> None:
        """Do every job that is not done yet, until the time is up."""
        self._count_codes()
        started, bound = time.monotonic(), self._config.minutes
        for number, clip in enumerate(self.clips):
            seconds = time.monotonic() - started
            if bound is not None and seconds > 60 * bound:
                self._tell(f"{number} of {len(self.clips)} clips in {bound:g} min: time is up")
                return
            names = [name for name in self._wanted(number, clip) if not self._is_done(clip, name)]
            if names:
                self._measure(clip, names)
                each = (time.monotonic() - started) / (number + 1)
                left = each * (len(self.clips) - number - 1) / 60
                place = f"{number + 1}/{len(self.clips)} {clip.name}"
                self._tell(f"{place}, {each:.0f} s a clip, {left:.0f} min left")

    def _count_codes(self) -> None:
        """Count which codes are in use, unless candidates are named: then they alone are wanted."""
        config = self._config
        if config.only or not config.codebook_minutes:
            return
        paths = found_pieces(config.data)
        codebooks.count_codes(
            self._maker.codec,
            (load_piece(path, 1) for path in paths),
            codebooks.counts_path(config.out, self._maker.fingerprint),
            config.codebook_minutes,
            self._tell,
        )

    def _wanted(self, number: int, clip: Clip) -> Iterator[str]:
        only = self._config.only
        chosen = {making.truth_of(name) for name in only} | set(only)
        return (name for name in self.names(number, clip) if name in chosen or not only)

    def names(self, number: int, clip: Clip) -> Iterator[str]:
        """Yield the candidates of a clip; the truth comes first."""
        config, rendered = self._config, clip.piece.notes is not None
        yield candidates.TRUTH
        yield from (name for name in candidates.TOYS if rendered or name != candidates.SYNTH)
        if number < config.codec_clips:
            yield from (candidates.codec_name(level) for level in range(making.LEVELS))
            yield candidates.FINISHER
        if rendered:
            yield candidates.made_name(Quality.FAST, candidates.NOTES)
        free = candidates.made_name(Quality.FAST, candidates.FREE)
        yield free
        yield candidates.made_name(Quality.FAST, candidates.MADE)
        if number < config.seed_clips:
            yield from (making.with_seed(free, seed) for seed in OTHER_SEEDS)
        if number < config.teacher_clips:
            if rendered:
                yield candidates.made_name(Quality.TEACHER, candidates.NOTES)
            yield candidates.made_name(Quality.TEACHER, candidates.FREE)
        if clip in self._with_bass[: config.part_clips]:
            yield from (*making.GIVEN_BASSES, making.BASS_FAST)

    def _is_done(self, clip: Clip, name: str) -> bool:
        model, plan = self._maker.owner(name)
        wanted = self._lengths(clip)
        if making.is_part(name):
            wanted = wanted[-1:]
        return all(self.records.has((clip.name, name, model, plan, s)) for s in wanted)

    def _lengths(self, clip: Clip) -> list[float]:
        """Return the lengths that a clip's truth has."""
        longest = clip.truth.size / ANALYSIS_RATE + _ROUNDING_SECONDS
        return sorted(s for s in self._config.seconds if s <= longest)

    def _measure(self, clip: Clip, names: Sequence[str]) -> None:
        mixes = [name for name in names if not making.is_part(name)]
        basses = [name for name in names if making.is_part(name)]
        if mixes:
            self._measure_mixes(clip, mixes)
        if basses:
            self._measure_parts(clip, basses)

    def _measure_mixes(self, clip: Clip, names: Sequence[str]) -> None:
        prime = Sounding(clip.prime, self._transcriber)
        other = self.other(clip, self._every)
        scenes = [Scene(clip, other, seconds, prime) for seconds in self._lengths(clip)]
        for name in names:
            made, told = self._maker.make(name, clip, other)
            self.records.add([self._record(name, scene, made, told) for scene in scenes])

    def _record(self, name: str, scene: Scene, made: Made, told: Told) -> Record:
        result = scene.truth if name == candidates.TRUTH else scene.hear(made.result)
        vectors = np.round(sound.embeddings(result.heard.mel), 2)
        return self._kept(
            scene.clip,
            name,
            scene.seconds,
            told | scene.measure(result, made.before),
            tuple(tuple(vector.tolist()) for vector in vectors),
        )

    def _measure_parts(self, clip: Clip, names: Sequence[str]) -> None:
        other = self.other(clip, self._with_bass)
        pitched, every = parts.stems_after(clip)
        stems = Sounding(pitched, self._transcriber), every
        true_audio = clip.stem(parts.TARGET)[clip.prime_samples :]
        truth = Sounding(true_audio, self._transcriber)
        for name in names:
            made, told = self._maker.make(name, clip, other)
            heard = Sounding(made.result[: true_audio.size], self._transcriber)
            figures = told | parts.measure(heard, truth, stems)
            self.records.add([self._kept(clip, name, self._lengths(clip)[-1], figures)])

    def _kept(
        self,
        clip: Clip,
        name: str,
        seconds: float,
        figures: Told,
        vectors: tuple[tuple[float, ...], ...] = (),
    ) -> Record:
        model, plan = self._maker.owner(name)
        return Record(
            clip=clip.name,
            work=clip.piece.work,
            kind=PART if making.is_part(name) else clip.piece.kind,
            candidate=name,
            model=model,
            plan=plan,
            seconds=seconds,
            figures={key: _rounded(value) for key, value in figures.items()},
            vectors=vectors,
        )

    @staticmethod
    def other(clip: Clip, clips: Sequence[Clip]) -> Clip:
        """Return a clip of another work, as long at least, the same one every time."""
        at = clips.index(clip)
        for step in range(1, len(clips)):
            other = clips[(at + step) % len(clips)]
            if other.piece.work != clip.piece.work and other.truth.size >= clip.truth.size:
                return other
        return clip


def _of_each(clips: Sequence[Clip], most: int | None) -> list[Clip]:
    """Return the clips, so many of each work at most."""
    counts: dict[str, int] = {}
    kept: list[Clip] = []
    for clip in clips:
        counts[clip.piece.work] = counts.get(clip.piece.work, 0) + 1
        if most is None or counts[clip.piece.work] <= most:
            kept.append(clip)
    return kept


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)
