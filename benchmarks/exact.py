"""Measures what quality `exact` wins over `teacher`, whose distribution it draws from.

    python benchmarks/exact.py [--seconds 40] [--prime-seconds 4] [--model DIR] [--json]

Both samplers go on with the same section in this process, on one thread, so long each. Told by
level: milliseconds a code of both, their ratio, how many codes a round of a draft and its scoring
decides (the acceptance length; a draft is at most as long as told), and the share of drafted codes
that are kept. Rows that only read what is known already are left out. Below 1 the draft costs more
than it wins. A level without a draft, drawn alike by both, has no row.
"""

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import soxr

from bridge.commands.demo import load_example
from bridge.stereo import mid_of
from model import exact
from model.generator import StreamingGenerator, load_generator
from model.speculative import Verified
from model.values import SamplingPlan, nothing_known

LEVELS: Final = {"top": 2, "level1": 1, "level0": 0}
TEACHER: Final = SamplingPlan(seed=1, teacher=True)
EXACT: Final = SamplingPlan(seed=1, teacher=True, exact=True)


class Rounds:
    """Counts what became of drafts, by level."""

    def __init__(self) -> None:
        self.drafted: dict[int, list[int]] = defaultdict(list)
        self.decided: dict[int, list[int]] = defaultdict(list)
        self.accepted: dict[int, list[int]] = defaultdict(list)
        self._verified = exact.verified

    def __call__(self, *given: Any) -> Verified:  # noqa: ANN401 - as `verified` takes them
        """Verify, and count."""
        made = self._verified(*given)
        level = given[3].level
        self.drafted[level].append(len(given[2]))
        self.decided[level].append(len(made.codes))
        self.accepted[level].append(made.accepted)
        return made


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print a table or JSON; return 0."""
    parser = argparse.ArgumentParser(description="Measure exact against the teacher, by level.")
    parser.add_argument("--seconds", type=float, default=40.0, help="of both (%(default)s)")
    parser.add_argument("--prime-seconds", type=float, default=4.0, help="(%(default)s)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="weights; else the shipped ones")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(given)
    generator = load_generator(arguments.model)
    prime = _prime(arguments.prime_seconds, generator.bundle.config.codec.sample_rate)
    rounds = Rounds()
    exact.verified = rounds
    plain, _ = _run(generator, prime, TEACHER, arguments.seconds / 2)
    fast, fingerprint = _run(generator, prime, EXACT, arguments.seconds / 2)
    report = {
        "load_average": os.getloadavg(),
        "fingerprint": fingerprint,
        "levels": [_row(level, plain, fast, rounds) for level in rounds.decided],
        "rtf": {"teacher": _rtf(generator, plain), "exact": _rtf(generator, fast)},
    }
    sys.stdout.write((json.dumps(report, indent=1) if arguments.json else _text(report)) + "\n")
    return 0


def _prime(seconds: float, rate: int) -> np.ndarray[Any, Any]:
    clip = load_example().clip
    audio = mid_of(clip.samples[:, -round(seconds * clip.sample_rate) :])
    return soxr.resample(audio, clip.sample_rate, rate).astype(np.float32)


def _run(
    generator: StreamingGenerator, prime: np.ndarray[Any, Any], plan: SamplingPlan, seconds: float
) -> tuple[dict[int, tuple[float, int]], str]:
    """Return by level the seconds spent on drawing, and the codes drawn."""
    state = generator.feed(generator.open(nothing_known(), 0), prime)
    spent: dict[int, float] = defaultdict(float)
    drawn: dict[int, int] = defaultdict(int)
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(drawn) < len(LEVELS):
        before = {level: len(made.codes) for level, made in enumerate(state.lower)}
        begun = time.perf_counter()
        step = generator.step([state], plan)[0]
        taken, state = time.perf_counter() - begun, step.state
        level = LEVELS.get(step.phase)
        if level is None or level not in before:
            continue
        grown = len(state.lower[level].codes) - before[level]
        if grown:
            spent[level] += taken
            drawn[level] += grown
    return {
        level: (spent[level], drawn[level]) for level in drawn
    }, generator.bundle.card.fingerprint


def _row(
    level: int,
    plain: dict[int, tuple[float, int]],
    fast: dict[int, tuple[float, int]],
    rounds: Rounds,
) -> dict[str, float]:
    slow_ms, quick_ms = (1000 * spent / drawn for spent, drawn in (plain[level], fast[level]))
    return {
        "level": level,
        "draft_codes": exact.DRAFT_FRAMES,
        "teacher_ms_a_code": slow_ms,
        "exact_ms_a_code": quick_ms,
        "speed_up": slow_ms / quick_ms,
        "codes_a_round": float(np.mean(rounds.decided[level])),
        "kept": sum(rounds.accepted[level]) / sum(rounds.drafted[level]),
        "codes": fast[level][1],
    }


def _rtf(generator: StreamingGenerator, made: dict[int, tuple[float, int]]) -> float:
    """Return seconds of audio a second of drawing, all levels together."""
    rate = generator.bundle.config.codec.frame_rate
    return 1 / sum(spent / drawn * rate(level) for level, (spent, drawn) in made.items())


def _text(report: dict[str, Any]) -> str:
    rtf = report["rtf"]
    lines = [
        f"load average {report['load_average'][0]:.1f}, model {report['fingerprint']}",
        f"{'level':6}{'draft':>6}{'teacher':>12}{'exact':>12}{'speed-up':>10}"
        f"{'a round':>9}{'kept':>7}",
    ]
    lines += [
        f"{row['level']:<6}{row['draft_codes']:>6}{row['teacher_ms_a_code']:>9.2f} ms"
        f"{row['exact_ms_a_code']:>9.2f} ms{row['speed_up']:>9.2f}x{row['codes_a_round']:>9.1f}"
        f"{row['kept']:>7.1%}"
        for row in report["levels"]
    ]
    lines.append(
        f"drawing alone: teacher {rtf['teacher']:.3f}x, exact {rtf['exact']:.3f}x real time, "
        f"exact is {rtf['exact'] / rtf['teacher']:.2f} times as fast"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
