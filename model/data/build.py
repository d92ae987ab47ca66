"""The whole pipeline: parse the scores, draw the examples, render shards, write the manifest.

Every example follows from (seed, split, its index) alone, so the number of workers changes
nothing.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from model.data import corpus
from model.data.arrange import Arrangement, SoundingPart, arrange
from model.data.augment import (
    UNMASTERED_DBFS,
    colour,
    draw_augmentation,
    draw_mastering,
    mastering,
    noise,
)
from model.data.dataset import SAMPLE_RATE, SPLITS, STEM_KINDS
from model.data.errors import DataError, UnreadableScoreError
from model.data.generate import compose
from model.data.render import Renderer
from model.data.rows import EXCERPT_SAMPLES, Pcm, row_of
from model.data.score import Score, load_score, save_score

EXAMPLES_PER_SHARD = 32
HELD_OUT_SHARE = 0.1
RECIPE = 3
"""Changes whenever the same seed gives other data: finished shards are then of another kind."""
_PEAK_LIMIT = 0.95
_MAX_ATTEMPTS = 20
_COMPOSED_SECONDS = 30.0
_GENRE_SHARES = {
    "chorale": 0.34,
    "folk": 0.2,
    "quartet": 0.18,
    "madrigal": 0.12,
    "piano": 0.1,
    "song": 0.04,
    "orchestral": 0.02,
}

Signal = Float32[np.ndarray, "samples"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """What to build; `minutes` counts training audio, held-out comes on top."""

    out: Path
    scores: Path
    soundfont: Path
    minutes: float
    seed: int
    workers: int

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.workers < 1 or self.seed < 0:
            raise DataError(
                f"minutes {self.minutes} must be > 0, workers {self.workers} >= 1,"
                f" seed {self.seed} >= 0"
            )

    def num_examples(self, split: str) -> int:
        """Return how many excerpts a split gets."""
        minutes = self.minutes * (HELD_OUT_SHARE if split == "held_out" else 1)
        return max(2, round(minutes * 60 * SAMPLE_RATE / EXCERPT_SAMPLES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One unit of work: a range of example indices of a split."""

    split: str
    index: int
    examples: range


def build(config: BuildConfig) -> None:
    """Make the data folder: scores if missing, then shards, then the manifest.

    Raises:
        DataError: A tool is missing, or a work that is wanted cannot be used.
    """
    Renderer(config.soundfont)
    _claim(config)
    works, splits = prepare_scores(config.scores, config.workers)
    shards = [shard for split in SPLITS for shard in _shards(config, split)]
    with ProcessPoolExecutor(config.workers) as pool:
        tables = list(pool.map(_render_shard, [(config, shard) for shard in shards]))
    _write_manifest(config, works, splits, [row for table in tables for row in table])


def _claim(config: BuildConfig) -> None:
    """Write down what a folder is made from; refuse one that is made from something else."""
    own = {"seed": config.seed, "soundfont": config.soundfont.name, "recipe": RECIPE}
    path = config.out / "build.json"
    if path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if kept != own:
            raise DataError(f"{config.out} holds data made of {kept}, now it is {own}")
    config.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(own), encoding="utf-8")


def prepare_scores(folder: Path, workers: int) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Return the table of all works, used or not, and the split by used work.

    Parses once; a folder that has an index is read, not parsed again.
    """
    index = folder / "index.json"
    if not index.is_file():
        _parse_all(folder, workers)
    table: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
    return table["works"], table["splits"]


def _parse_all(folder: Path, workers: int) -> None:
    works = corpus.survey(corpus.corpus_root())
    kept = [work for work in works if work.name in corpus.EVALUATION_WORKS]
    allowed = [work for work in works if not work.refused]
    with ProcessPoolExecutor(workers) as pool:
        jobs = [(work, folder) for work in allowed]
        parsed = dict(
            zip([w.name for w in allowed], pool.map(_parse_one, jobs, chunksize=4), strict=True)
        )
        evaluation = [s for s in pool.map(_parse_only, kept) if isinstance(s, Score)]
    scores = [score for score in parsed.values() if isinstance(score, Score)]
    refused = {work.name: work.refused for work in works if work.refused}
    refused |= {name: result for name, result in parsed.items() if isinstance(result, str)}
    shared = corpus.shared_with(scores, evaluation)
    refused |= {name: f"shares a melody with {other}" for name, other in shared.items()}
    groups = corpus.group_by_melody([score for score in scores if score.work not in refused])
    table = {
        "works": [
            {"work": w.name, "licence": w.licence, "refused": refused.get(w.name, "")}
            for w in works
        ],
        "splits": {work: corpus.split_of(work, group) for work, group in sorted(groups.items())},
        "groups": groups,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.json").write_text(json.dumps(table, indent=1), encoding="utf-8")


def _parse_only(work: corpus.Work) -> Score | str:
    from model.data.parse import parse_score  # music21 takes seconds to import

    try:
        return parse_score(work.path, work.name, work.composer, work.genre or "folk", work.licence)
    except UnreadableScoreError as error:
        log.warning("%s", error)
        return f"cannot be parsed: {error}"[:200]


def _parse_one(job: tuple[corpus.Work, Path]) -> Score | str:
    work, folder = job
    path = folder / f"{work.name}.json"
    if path.is_file():
        return load_score(path)
    result = _parse_only(work)
    if isinstance(result, Score):
        save_score(result, path)
    return result


def _shards(config: BuildConfig, split: str) -> list[Shard]:
    total = config.num_examples(split)
    starts = range(0, total, EXAMPLES_PER_SHARD)
    return [
        Shard(split=split, index=i, examples=range(s, min(s + EXAMPLES_PER_SHARD, total)))
        for i, s in enumerate(starts)
    ]


def _render_shard(job: tuple[BuildConfig, Shard]) -> list[dict[str, Any]]:
    config, shard = job
    folder = config.out / shard.split
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"shard-{shard.index:04d}.i16"
    made = _made_rows(path.with_suffix(".json"), shard)
    if made is not None:
        return made
    rows: list[dict[str, Any]] = []
    offset = 0
    renderer = Renderer(config.soundfont)
    with path.open("wb") as audio:
        for number in shard.examples:
            row, signals = make_example(config, renderer, shard.split, number)
            row["mix_offset"] += offset
            row["stems"] = {kind: at + offset for kind, at in row["stems"].items()}
            for signal in signals:
                audio.write(signal.astype("<i2").tobytes())
            offset += len(signals) * EXCERPT_SAMPLES
            rows.append(row)
    table = {"sample_rate": SAMPLE_RATE, "examples": rows}
    # The table comes last and whole: a shard without one is rendered again.
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(table), encoding="utf-8")
    unfinished.replace(path.with_suffix(".json"))
    return _without_notes(rows)


def _made_rows(table: Path, shard: Shard) -> list[dict[str, Any]] | None:
    """Return the rows of a shard that was rendered before; None if it is not all there."""
    if not table.is_file():
        return None
    rows: list[dict[str, Any]] = json.loads(table.read_text(encoding="utf-8"))["examples"]
    names = [f"{shard.split}-{number:05d}" for number in shard.examples]
    return _without_notes(rows) if [row["name"] for row in rows] == names else None


def _without_notes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "notes"} for row in rows]


def make_example(
    config: BuildConfig, renderer: Renderer, split: str, number: int
) -> tuple[dict[str, Any], list[Pcm]]:
    """Return the table row and the signals of one example; offsets count from the first."""
    rng = np.random.default_rng([config.seed, SPLITS.index(split), number])
    for _ in range(_MAX_ATTEMPTS):
        score = _draw_score(rng, config, split, number)
        rendered = render_example(rng, renderer, score, (split, number))
        if rendered is not None:
            return rendered
    raise DataError(f"no usable excerpt for example {number} of {split} in {_MAX_ATTEMPTS} draws")


def render_example(
    rng: np.random.Generator,
    renderer: Renderer,
    score: Score,
    place: tuple[str, int],
    *,
    mastered: bool = True,
) -> tuple[dict[str, Any], list[Pcm]] | None:
    """Return a random excerpt of a score, as `make_example` does; None if it is hardly played.

    What is not mastered has the same level always.
    """
    arrangement = arrange(rng, score, EXCERPT_SAMPLES)
    if not arrangement.is_full(EXCERPT_SAMPLES):
        return None
    settings = draw_augmentation(rng)
    settings |= draw_mastering(rng) if mastered else {"rms_dbfs": UNMASTERED_DBFS}
    stems, mix = _sound(rng, renderer, arrangement, settings)
    if np.abs(mix).max() == 0:
        return None
    return row_of(arrangement, settings, place, stems, mix)


def _draw_score(rng: np.random.Generator, config: BuildConfig, split: str, number: int) -> Score:
    if number % 2:
        return compose(rng, f"generated/{config.seed}/{split}/{number:05d}", _COMPOSED_SECONDS)
    by_genre = _works_by_genre(config.scores, split)
    genres = sorted(by_genre)
    shares = np.array([_GENRE_SHARES[genre] for genre in genres])
    genre = str(rng.choice(genres, p=shares / shares.sum()))
    return load_score(config.scores / f"{rng.choice(by_genre[genre])}.json")


@cache
def _works_by_genre(folder: Path, split: str) -> dict[str, list[str]]:
    table: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    by_genre: dict[str, list[str]] = {}
    for work, its_split in table["splits"].items():
        if its_split == split:
            genre = load_score(folder / f"{work}.json").genre
            by_genre.setdefault(genre, []).append(work)
    return by_genre


def _sound(
    rng: np.random.Generator,
    renderer: Renderer,
    arrangement: Arrangement,
    settings: dict[str, float],
) -> tuple[dict[str, Pcm], Pcm]:
    """Return stems by kind and the mix, which is their exact sum plus the noise."""
    by_kind: dict[str, list[SoundingPart]] = {}
    for part in arrangement.parts:
        by_kind.setdefault(part.kind, []).append(part)
    stems = dict[str, Signal]()
    for kind in STEM_KINDS:
        if kind in by_kind:
            dry = renderer.render(by_kind[kind], EXCERPT_SAMPLES)
            gain = np.float32(10 ** (rng.uniform(-4, 4) / 20))
            stems[kind] = colour(dry * gain, settings)
    gain = mastering(np.sum(list(stems.values()), axis=0), settings)
    stems = {kind: stem * gain for kind, stem in stems.items()}
    total = np.sum(list(stems.values()), axis=0)
    hiss = noise(rng, EXCERPT_SAMPLES, settings)
    peak = max(float(np.abs(signal).max()) for signal in (total, *stems.values()))
    headroom = 0.0 if hiss is None else float(np.abs(hiss).max())
    level = _level_gain(total, settings["rms_dbfs"], peak, headroom)
    whole = {kind: _as_int16(stem * level) for kind, stem in stems.items()}
    layers = [*whole.values()] if hiss is None else [*whole.values(), _as_int16(hiss)]
    mix = np.sum(np.stack(layers), axis=0, dtype=np.int32)
    return whole, np.asarray(mix, dtype=np.int16)


def _level_gain(total: Signal, rms_dbfs: float, peak: float, headroom: float) -> float:
    """Return the gain to a level, less if a peak, of a stem or the mix, passed its limit."""
    rms = float(np.sqrt(np.mean(total**2)))
    if rms == 0:
        return 0.0
    return min(10 ** (rms_dbfs / 20) / rms, (_PEAK_LIMIT - 0.001 - headroom) / peak)


def _as_int16(samples: Signal) -> Pcm:
    return np.round(samples * 32767).astype(np.int16)


def _write_manifest(
    config: BuildConfig,
    works: Sequence[dict[str, str]],
    splits: dict[str, str],
    rows: list[dict[str, Any]],
) -> None:
    used = {row["work"] for row in rows}
    counts = {split: sum(row["split"] == split for row in rows) for split in SPLITS}
    with config.soundfont.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    manifest = {
        "seed": config.seed,
        "sample_rate": SAMPLE_RATE,
        "excerpt_samples": EXCERPT_SAMPLES,
        "examples": counts,
        "hours": {s: n * EXCERPT_SAMPLES / SAMPLE_RATE / 3600 for s, n in counts.items()},
        "soundfont": {"name": config.soundfont.name, "sha256": digest},
        "works_used": [
            {"work": work["work"], "licence": work["licence"], "split": splits[work["work"]]}
            for work in works
            if work["work"] in used
        ],
        "works_unused": [w["work"] for w in works if not w["refused"] and w["work"] not in used],
        "works_excluded": [
            {"work": work["work"], "reason": work["refused"]} for work in works if work["refused"]
        ],
        "generated_pieces": sum(work.startswith("generated/") for work in used),
    }
    (config.out / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
