"""Measures what each choice of the fast model buys: one table, resumable.

    python benchmarks/ablation.py --set DIR --data DIR --out results
        [--parts passes,decoders,students] [--clips 8] [--seconds 4] [--slow-clips 3]
        [--steps 100] [--model DIR]

`--set` is a folder of pieces (`docs/measuring.md`), `--data` a training set with its codes. Rows:

- *passes*: clips continued with 1, 2, 3, 4 and 8 passes a chunk, their notes told.
- *decoders*: the codes of the default plan made audible in several ways: by the finisher told the
  notes; by the finisher from codes alone; by the codec's own decoder of that level; and, for
  `--slow-clips` clips, by the teacher's two upsamplers and the codec's finest decoder.
- *students*: small students trained for `--steps` steps each from the same random start, with and
  without the teacher's targets and with chunks of 32 or 64 frames; the shipped one beside them.

Figures: kernel distance from other real music, adherence of what a transcriber hears to the notes
told (0 as wrong notes, 1 as the truth), RTF on one thread (processor time) of making codes and
audio together, bits a hidden code of held-out works. Each result is kept in `--out` as a line of
JSON as soon as it is there, so that a run that was stopped goes on.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import short_students
import torch
from jaxtyping import Float32
from serving import Steps

from bridge.app.door import notes_of
from bridge.evaluation import distribution, notes, sound
from bridge.evaluation.candidates import NOTES, conditions_of
from bridge.evaluation.judging import Scene, Sounding
from bridge.evaluation.pieces import Clip, clips_of, found_pieces, load_piece
from bridge.evaluation.transcriber import Transcriber
from model.bundle import TOP
from model.errors import ConditionError
from model.generator import StreamingGenerator, load_generator
from model.state import TimelineState
from model.values import Known, SamplingPlan, nothing_known

PARTS: Final = ("passes", "decoders", "students")
PASSES: Final = (1, 2, 3, 4, 8)
PRIME_SECONDS: Final = 8.0
SLOW_SECONDS: Final = 1.5
"""Of audio by the teacher's upsamplers, which are many times slower than real time."""
TRUTH: Final = "truth"
WHOLE_SHARE: Final = 0.9
"""Of the seconds asked for, which a clip's truth must last."""

Mono = Float32[np.ndarray, " samples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sounded:
    """A result from the splice on, and the processor time it took."""

    audio: Mono
    seconds: float


class Results:
    """Lines of JSON, one a result, in a file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def have(self, **asked: object) -> bool:
        """Return whether a result is there already."""
        return any(all(row.get(key) == value for key, value in asked.items()) for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a result."""
        self.rows.append(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


class Bench:
    """Clips, the model, and what has been found."""

    def __init__(self, arguments: argparse.Namespace, results: Results, say: Steps) -> None:
        self.generator: StreamingGenerator = load_generator(arguments.model)
        self.results = results
        self.say = say
        self.clips = _clips(arguments)
        self._transcriber = Transcriber()
        self._others = dict(
            zip([clip.name for clip in self.clips], [*self.clips[1:], self.clips[0]], strict=True)
        )

    def measure(
        self, part: str, variant: str, make: Callable[[Clip], Sounded], clips: Sequence[Clip]
    ) -> None:
        """Make and judge a variant on clips that have no result yet."""
        for number, clip in enumerate(clips):
            key = {"part": part, "variant": variant, "clip": clip.name}
            if self.results.have(**key):
                continue
            self.say(f"{part}: {variant}, clip {number + 1} of {len(clips)}")
            made = make(clip)
            seconds = made.audio.size / self.generator.bundle.config.codec.sample_rate
            row = {"rtf": seconds / made.seconds} if made.seconds else {}
            self.results.add({**key, "work": clip.piece.work, **row, **self._judged(made, clip)})

    def _judged(self, made: Sounded, clip: Clip) -> dict[str, Any]:
        other = self._others[clip.name]
        seconds = made.audio.size / self.generator.bundle.config.codec.sample_rate
        scene = Scene(clip, other, seconds, Sounding(clip.prime, self._transcriber))
        heard = scene.hear(made.audio)
        frames = len(heard.played)
        return {
            "f1": notes.f1(heard.played, notes.written(scene.notes, frames)),
            "wrong_f1": notes.f1(heard.played, notes.written(scene.wrong_notes, frames)),
            "vectors": np.round(sound.embeddings(heard.heard.mel), 2).tolist(),
        }

    def known(self, clip: Clip, told: str = NOTES) -> Known:
        """Return what the model is told of a clip."""
        midi = conditions_of(clip, told).midi
        if midi is None:
            return nothing_known()
        span = midi.start_sample, midi.end_sample
        return replace(nothing_known(), notes=notes_of(midi), notes_span=span)

    def primed(self, clip: Clip) -> TimelineState:
        """Return the state that has heard a clip's prime."""
        state, chunk = self.generator.open(self.known(clip), 0), self.generator.grid.chunk_samples
        for first in range(0, clip.prime.size, chunk):
            state = self.generator.feed(state, clip.prime[first : first + chunk])
        return state

    def coded(self, clip: Clip, plan: SamplingPlan) -> tuple[TimelineState, float]:
        """Return the state whose codes last to a clip's end, and the time without the prime."""
        state = self.primed(clip)
        begun, size = time.thread_time(), self.generator.block_samples
        end = -(-(clip.prime.size + clip.truth.size) // size) * size
        while state.decodable_sample < end:
            state = self.generator.step([state], plan)[0].state
        return state, time.thread_time() - begun

    def heard(self, state: TimelineState, clip: Clip) -> Mono:
        """Return what is decoded from a state, from the splice to the clip's end."""
        end, size = clip.prime.size + clip.truth.size, self.generator.block_samples
        blocks = range(clip.prime.size // size, -(-end // size))
        made = np.concatenate([self.generator.decode(state, block) for block in blocks])
        return made[clip.prime.size - blocks[0] * size :][: end - clip.prime.size]


def main(given: Sequence[str] | None = None) -> int:
    """Measure what is missing, print the table; return 0."""
    arguments = _parser().parse_args(given)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    say, results = Steps(), Results(arguments.out / "results.jsonl")
    parts = arguments.parts.split(",")
    if "passes" in parts or "decoders" in parts:
        bench = Bench(arguments, results, say)
        bench.measure("truth", TRUTH, _truth, bench.clips)
        if "passes" in parts:
            _passes(bench)
        if "decoders" in parts:
            _decoders(bench, arguments.slow_clips)
    if "students" in parts:
        with torch.enable_grad():
            for row in short_students.measured(arguments.data, arguments.out, arguments.steps, say):
                if not results.have(part="students", variant=row["variant"], steps=row["steps"]):
                    results.add(row)
    sys.stdout.write("\n".join(table(results.rows)) + "\n")
    return 0


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table's lines."""
    lines = [
        f"{'part':10}{'variant':34}{'clips':>6}{'kernel distance':>24}{'adherence':>11}{'RTF':>8}"
    ]
    for part in ("truth", "passes", "decoders"):
        variants = dict.fromkeys(row["variant"] for row in rows if row["part"] == part)
        lines += [_line(part, variant, rows) for variant in variants]
    students = [row for row in rows if row["part"] == "students"]
    if students:
        lines.append(f"{'part':10}{'variant':46}{'steps':>7}{'weights':>10}{'bits a code':>13}")
    lines += [
        f"{'students':10}{row['variant']:46}{row['steps']:>7}{row['parameters']:>10}"
        f"{row['bits']:>13.3f}"
        for row in students
    ]
    return lines


def _line(part: str, variant: str, rows: Sequence[Mapping[str, Any]]) -> str:
    own = [row for row in rows if (row["part"], row["variant"]) == (part, variant)]
    refused = next((row["refused"] for row in own if "refused" in row), None)
    if refused is not None:
        return f"{part:10}{variant:34}  {refused}"
    true = {row["clip"]: row for row in rows if row["variant"] == TRUTH}
    spread = distribution.distances(
        _by_work([true[row["clip"]] for row in own]), {variant: _by_work(own)}
    ).get(variant)
    distance = (
        "" if spread is None else f"{spread.value:.2f} ({spread.low:.2f} to {spread.high:.2f})"
    )
    counted = [row for row in own if None not in (row["f1"], row["wrong_f1"])]
    made = sum(row["f1"] - row["wrong_f1"] for row in counted)
    real = sum(
        true[row["clip"]]["f1"] - true[row["clip"]]["wrong_f1"]
        for row in counted
        if true[row["clip"]]["f1"] is not None
    )
    adherence = f"{made / real:.2f}" if real > 0 else ""
    rates = [row["rtf"] for row in own if "rtf" in row]
    rtf = f"{np.median(rates):.2f}x" if rates else ""
    return f"{part:10}{variant:34}{len(own):>6}{distance:>24}{adherence:>11}{rtf:>8}"


def _by_work(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = defaultdict(list)
    for row in rows:
        found[row["work"]] += row["vectors"]
    return found


def _passes(bench: Bench) -> None:
    for passes in PASSES:
        plan, name = SamplingPlan(seed=7, passes=passes), f"{passes} a chunk"
        try:
            bench.measure("passes", name, partial(_continued, bench, plan), bench.clips)
        except ConditionError as error:
            if not bench.results.have(part="passes", variant=name):
                bench.results.add({"part": "passes", "variant": name, "refused": str(error)})


def _continued(bench: Bench, plan: SamplingPlan, clip: Clip) -> Sounded:
    state, seconds = bench.coded(clip, plan)
    return _timed(lambda: bench.heard(state, clip), seconds)


def _decoders(bench: Bench, slow_clips: int) -> None:
    plan = SamplingPlan(seed=7)
    ways: dict[str, Callable[[TimelineState, Clip], Mono]] = {
        "finisher, told the notes": bench.heard,
        "finisher, codes alone": lambda state, clip: bench.heard(
            replace(state, known=nothing_known()), clip
        ),
        "codec's own decoder": partial(_by_codec, bench),
    }
    for name, way in ways.items():

        def made(clip: Clip, way: Callable[[TimelineState, Clip], Mono] = way) -> Sounded:
            state, seconds = bench.coded(clip, plan)
            return _timed(lambda: way(state, clip), seconds)

        bench.measure("decoders", name, made, bench.clips)
    shortened = [replace(clip, result_samples=round(SLOW_SECONDS * 44_100)) for clip in bench.clips]
    bench.measure(
        "decoders", "teacher's upsamplers", partial(_upsampled, bench, plan), shortened[:slow_clips]
    )


def _by_codec(bench: Bench, state: TimelineState, clip: Clip) -> Mono:
    level = bench.generator.bundle.codec.level(TOP)
    made = level.decode(torch.as_tensor(state.codes.astype(np.int64))[None])[0].float().numpy()
    return made[clip.prime.size :][: clip.truth.size]


def _upsampled(bench: Bench, plan: SamplingPlan, clip: Clip) -> Sounded:
    """Return the student's codes after both upsamplers and the codec's finest decoder."""
    state, seconds = bench.coded(clip, plan)
    state, end = replace(state, by_teacher=True, lower=()), state.decodable_sample

    def made() -> Mono:
        now = state
        while not now.lower or now.decodable_sample < end:
            now = bench.generator.step([now], replace(plan, teacher=True))[0].state
        return bench.heard(now, clip)

    return _timed(made, seconds)


def _timed(work: Callable[[], Mono], seconds: float) -> Sounded:
    begun = time.thread_time()
    audio = work()
    return Sounded(audio=audio, seconds=seconds + time.thread_time() - begun)


def _truth(clip: Clip) -> Sounded:
    return Sounded(audio=clip.truth, seconds=0.0)


def _clips(arguments: argparse.Namespace) -> list[Clip]:
    """Return the first clip of so many pieces, each of another work."""
    chosen: dict[str, Clip] = {}
    least = round((PRIME_SECONDS + arguments.seconds) * 44_100)
    for path in found_pieces(arguments.set):
        if len(chosen) == arguments.clips:
            break
        piece = load_piece(path, least)
        clips = clips_of([piece], PRIME_SECONDS, arguments.seconds)
        if (
            clips
            and piece.notes is not None
            and clips[0].truth.size >= WHOLE_SHARE * arguments.seconds * 44_100
        ):
            chosen.setdefault(piece.work, clips[0])
    if not chosen:
        raise SystemExit(f"{arguments.set} holds no piece with notes of {least / 44_100:g} s")
    return list(chosen.values())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure what each choice of the model buys.")
    parser.add_argument("--set", type=Path, required=True, metavar="DIR", help="pieces to continue")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="to train on")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for results")
    parser.add_argument("--parts", default=",".join(PARTS), help="of them (%(default)s)")
    parser.add_argument("--clips", type=int, default=8, help="one a work (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a result (%(default)s)")
    parser.add_argument("--slow-clips", type=int, default=3, help="upsampled (%(default)s)")
    parser.add_argument("--steps", type=int, default=100, help="of each student (%(default)s)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="weights; else the shipped ones")
    return parser


if __name__ == "__main__":
    sys.exit(main())
