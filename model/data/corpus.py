"""Which works of the music21 corpus may train the model, why, and in which split.

Three gates: what evaluation keeps for itself, what the licence forbids, and what shares a
melody with a work that evaluation keeps. Works that share a melody stay in one split.
"""

import hashlib
import importlib.util
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from model.data.errors import MissingToolError
from model.data.score import Score

EVALUATION_WORKS = (
    "bach/bwv66.6",
    "bach/bwv269",
    "ryansMammoth/SandyBuchanansStrathspey",
    "monteverdi/madrigal.3.1",
    "mozart/k80/movement1",
    "schumann_clara/polonaise_op1n1",
)
_KEPT_FOR_EVALUATION = re.compile(
    r"joplin|chopin|corelli|handel|schubert|opus74|op74|bwv245|agnus_?01|bwv66\.6|bwv269(\D|$)"
    r"|sandybuchanan|madrigal\.3\.1(\D|$)|mozart/k80|polonaise_op1n1|sonic-pi",
    re.IGNORECASE,
)
_RESTRICTED = re.compile(
    r"all rights reserved|rights to all|non-?commercial|by-sa|sa-by|ut ?orpheus|by permission only",
    re.IGNORECASE,
)
_HELD_OUT_SHARE = 0.1
_HELD_OUT_OPUSES = frozenset({"mozart/k156", "mozart/k545"})
_MELODY_INTERVALS, _TUNE_INTERVALS, _TUNE_TURNS = 12, 5, 4
_CORPUS_TERMS = (
    "composer in the public domain; encoding distributed with music21 by permission of the"
    " encoders (corpus/license.txt), nothing embedded forbids it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder of the corpus; `refused` says why none of it is used, if so."""

    pattern: str
    composer: str
    genre: str
    limit: int = 10_000
    refused: str = ""


SOURCES = (
    Source(pattern="bach/bwv846*.mxl", composer="bach", genre="piano"),
    Source(pattern="bach/*.mxl", composer="bach", genre="chorale"),
    Source(pattern="monteverdi/madrigal.[34].*.mxl", composer="monteverdi", genre="madrigal"),
    Source(pattern="mozart/k545/*.mxl", composer="mozart", genre="piano"),
    Source(pattern="mozart/**/*.mxl", composer="mozart", genre="quartet"),
    Source(pattern="haydn/**/*.mxl", composer="haydn", genre="quartet"),
    Source(pattern="beethoven/**/*.mxl", composer="beethoven", genre="quartet"),
    Source(pattern="schumann_robert/opus41no1/*.mxl", composer="schumann_robert", genre="quartet"),
    Source(pattern="schumann_robert/*.mxl", composer="schumann_robert", genre="song"),
    Source(pattern="schumann_robert/*.xml", composer="schumann_robert", genre="song"),
    Source(pattern="josquin/*.abc", composer="josquin", genre="madrigal"),
    Source(pattern="lusitano/*.mxl", composer="lusitano", genre="madrigal"),
    Source(pattern="cpebach/*.mxl", composer="cpebach", genre="piano"),
    Source(pattern="verdi/*.mxl", composer="verdi", genre="song"),
    Source(pattern="liliuokalani/*.mxl", composer="liliuokalani", genre="song"),
    Source(pattern="leadSheet/foster*.mxl", composer="foster", genre="song"),
    Source(pattern="weber/*.mxl", composer="weber", genre="orchestral"),
    Source(pattern="ryansMammoth/*.abc", composer="traditional", genre="folk", limit=260),
    *(
        Source(pattern=f"{folder}/**/*.*", composer="", genre="", refused=reason)
        for folder, reason in {
            "palestrina": "rights to derivative electronic formats reserved",
            "essenFolksong": "non-commercial use only, legal status unclear",
            "trecento": "transcribed from editions under copyright",
            "schumann_clara": "CC BY-SA or unclear copyright mark",
            "beach": "CC BY-SA engraving",
            "luca": "CC BY-SA",
            "ciconia": "CC BY-SA",
            "johnson_j_r": "composer died in 1954",
            "schoenberg": "composer died in 1951",
            "webern": "composer died in 1945",
            "airdsAirs": "no licence stated by the transcriber",
            "oneills1850": "no licence stated by the transcribers",
            "nottingham-dataset": "no licence stated by the transcribers",
            "miscFolk": "no licence stated by the transcribers",
            "leadSheet": "all rights reserved",
            "monteverdi": "edition of books 5 and later carries a publisher's mark",
            "demos": "not music",
            "theoryExercises": "not music",
        }.items()
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A corpus file with the terms it comes under; `refused` is empty if it may be used."""

    name: str
    path: Path
    composer: str
    genre: str
    licence: str
    refused: str


def corpus_root() -> Path:
    """Return the folder of music21's corpus.

    Raises:
        MissingToolError: music21 is not installed.
    """
    spec = importlib.util.find_spec("music21")
    if spec is None or spec.origin is None:
        raise MissingToolError("the scores come from the Python package music21: not installed")
    return Path(spec.origin).parent / "corpus"


def survey(root: Path) -> list[Work]:
    """Return every score file of the corpus's listed folders, allowed or refused."""
    works: dict[str, Work] = {}
    for source in SOURCES:
        kept = 0
        for path in sorted(root.glob(source.pattern), key=_shuffled):
            name = _name(path, root)
            if name in works or not _is_score(path):
                continue
            work = _judge(path, name, source)
            if not work.refused and kept >= source.limit:
                continue
            kept += not work.refused
            works[name] = work
    return sorted(works.values(), key=lambda work: work.name)


def is_kept_for_evaluation(name: str) -> bool:
    """Return whether a work must never train, going by its name in the corpus."""
    return _KEPT_FOR_EVALUATION.search(name) is not None


def is_restricted(rights: str) -> bool:
    """Return whether a statement of rights forbids or burdens training on a work."""
    return _RESTRICTED.search(rights) is not None


def melody_grams(score: Score) -> frozenset[tuple[int, ...]]:
    """Return all runs of melodic intervals in the top part, the fingerprints of its tune."""
    by_onset: dict[float, int] = {}
    for note in score.parts[0].notes:
        by_onset[note.onset_quarters] = max(note.pitch, by_onset.get(note.onset_quarters, 0))
    tune = [pitch for _, pitch in sorted(by_onset.items())]
    steps = [after - before for before, after in pairwise(tune) if after != before]
    runs = range(len(steps) - _MELODY_INTERVALS + 1)
    return frozenset(tuple(steps[i : i + _MELODY_INTERVALS]) for i in runs)


def is_tune(gram: tuple[int, ...]) -> bool:
    """Return whether a run of intervals is characteristic, not a scale or a trill."""
    turns = sum((before > 0) != (after > 0) for before, after in pairwise(gram))
    return len(set(gram)) >= _TUNE_INTERVALS and turns >= _TUNE_TURNS


def group_by_melody(scores: Sequence[Score]) -> dict[str, str]:
    """Return a group name by work: works of one opus or with a common tune share it."""
    parent = {score.work: score.work for score in scores}

    def root(work: str) -> str:
        while parent[work] != work:
            work = parent[work]
        return work

    seen: dict[object, str] = {}
    for score in scores:
        for key in (_opus(score.work), *filter(is_tune, melody_grams(score))):
            other = seen.setdefault(key, score.work)
            first, last = sorted((root(other), root(score.work)))
            parent[last] = first
    return {work: root(work) for work in parent}


def split_of(work: str, group: str) -> str:
    """Return `held_out` for about one group in ten, else `train`; the same in every run.

    Genres with few works would have none held out by chance: an opus of each is named.
    """
    if _opus(work) in _HELD_OUT_OPUSES:
        return "held_out"
    return "held_out" if _fraction(group) < _HELD_OUT_SHARE else "train"


def shared_with(works: Iterable[Score], kept: Iterable[Score]) -> Mapping[str, str]:
    """Return, by work, the kept work with which it shares any run of intervals, even a scale."""
    owners = {gram: score.work for score in kept for gram in melody_grams(score)}
    found: dict[str, str] = {}
    for score in works:
        for gram in melody_grams(score):
            if gram in owners:
                found[score.work] = owners[gram]
    return found


def _judge(path: Path, name: str, source: Source) -> Work:
    rights = embedded_rights(path)
    refused = source.refused
    if is_kept_for_evaluation(name):
        refused = "kept for evaluation"
    elif not refused and is_restricted(rights):
        refused = f"embedded rights: {rights}"
    licence = f"{_CORPUS_TERMS}; embedded statement: {rights or 'none'}"
    return Work(
        name=name,
        path=path,
        composer=source.composer,
        genre=source.genre,
        licence=licence,
        refused=refused,
    )


def embedded_rights(path: Path) -> str:
    """Return what a score file says about its rights, shortened, or an empty text."""
    text = _text(path)
    found = re.findall(r"<rights[^>]*>([^<]*)<", text)
    found += re.findall(r"<credit-words[^>]*>([^<]*(?:icens|opyright|©|ights)[^<]*)<", text)
    found += re.findall(r"^%[^\n]*(?:General Public License|Copyright)[^\n]*", text, re.MULTILINE)
    return "; ".join(dict.fromkeys(" ".join(row.split())[:160] for row in found if row.strip()))


def _text(path: Path) -> str:
    if path.suffix != ".mxl":
        return _decoded(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.startswith("META-INF")]
        return "".join(_decoded(archive.read(name)) for name in names)


def _decoded(data: bytes) -> str:
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    return data.decode("utf-16" if wide else "utf-8", errors="replace")


def _is_score(path: Path) -> bool:
    return path.suffix in {".mxl", ".xml", ".musicxml", ".abc", ".krn"}


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _opus(work: str) -> str:
    pieces = work.split("/")
    return "/".join(pieces[:2]) if len(pieces) > 2 else work


def _shuffled(path: Path) -> float:
    return _fraction(path.name)


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
