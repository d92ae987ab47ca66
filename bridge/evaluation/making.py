"""Makes the audio of any candidate by its name, and keeps what a model made.

A name says it all: `fast_notes` is the fast model told the notes, `fast_free_seed8` another draw of
the model that is told nothing, `bass_fast` the bass it adds to stems.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from bridge import toys
from bridge.app.codec import CodecTrips, codec_loss, open_codec
from bridge.app.door import shipped_model
from bridge.client import Client
from bridge.evaluation import candidates, parts
from bridge.evaluation.candidates import Kept, Made, Told
from bridge.evaluation.pieces import Clip
from bridge.ports import Generator, Quality

LEVELS: Final = 3
_PART: Final = "bass_"
BASS_TRUTH, BASS_OTHER = f"{_PART}truth", f"{_PART}other_piece"
BASS_LAST_BAR: Final = f"{_PART}{candidates.LAST_BAR}"
GIVEN_BASSES: Final = (BASS_TRUTH, BASS_OTHER, BASS_LAST_BAR)
"""Those that no model makes."""
BASS_FAST: Final = f"{_PART}{Quality.FAST}"
_SEED: Final = "_seed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A candidate that a model draws: by which sampler, knowing what, with which seed."""

    quality: Quality
    known: str
    seed: int

    @property
    def plan(self) -> str:
        """Return what names the way it was sampled."""
        way = "no reprise" if self.known == candidates.MADE else "default"
        return f"{way}, seed {self.seed}"


def drawn(name: str) -> Drawn | None:
    """Return how a model draws a candidate; None if none does."""
    first, _, rest = name.partition("_")
    if is_part(name) and rest in list(Quality):
        return Drawn(quality=Quality(rest), known="bass", seed=candidates.SEED)
    if first not in list(Quality):
        return None
    known, _, seed = rest.partition(_SEED)
    if seed and not seed.isdecimal():
        return None
    return Drawn(quality=Quality(first), known=known, seed=int(seed or candidates.SEED))


def is_candidate(name: str) -> bool:
    """Return whether a name is one that can be measured."""
    fixed = {candidates.TRUTH, *candidates.TOYS, candidates.FINISHER, *GIVEN_BASSES}
    how = drawn(name)
    return name in fixed | {candidates.codec_name(level) for level in range(LEVELS)} or (
        how is not None and how.known in (*candidates.KNOWN, "bass")
    )


def truth_of(name: str) -> str:
    """Return the candidate that another is heard beside: the true mix, or the true bass."""
    return BASS_TRUTH if is_part(name) else candidates.TRUTH


def is_part(name: str) -> bool:
    """Return whether a candidate is a bass to other stems, not a mix."""
    return name.startswith(_PART)


def with_seed(name: str, seed: int) -> str:
    """Return the name of another draw of a candidate."""
    return f"{name}{_SEED}{seed}"


class Maker:
    """One model, and what it has made so far."""

    def __init__(self, client: Client, model: Path | None, out: Path) -> None:
        """Take a client of a server that serves the model, and a folder to keep audio in."""
        self._client = client
        self._folder = model
        self.fingerprint = client.models()[0].fingerprint
        self._kept = Kept(out / "audio")

    @cached_property
    def codec(self) -> CodecTrips:
        """Return the model's codec alone."""
        return open_codec(self._folder)

    @cached_property
    def _generator(self) -> Generator[Any]:
        return shipped_model(self._folder)()

    def owner(self, name: str) -> tuple[str, str]:
        """Return the model that a candidate depends on, and its plan; empty where there is none."""
        if name in (candidates.TRUTH, *candidates.TOYS, *GIVEN_BASSES):
            return "", ""
        how = drawn(name)
        return self.fingerprint, "" if how is None else how.plan

    def make(self, name: str, clip: Clip, other: Clip) -> tuple[Made, Told]:
        """Return a candidate's audio, and what is told of it besides its sound."""
        if name in GIVEN_BASSES:
            return self._given_bass(name, clip, other), {}
        if name == candidates.TRUTH or name in candidates.TOYS:
            made = candidates.toy(name, clip, other)
            if name == candidates.TRUTH:
                self._kept.keep(name, clip, made, {})
            return made, {}
        owner = f"{self.fingerprint}/{name}"
        found = self._kept.load(owner, clip)
        if found is None:
            found = self._by_model(name, clip)
            self._kept.keep(owner, clip, *found)
        return found

    def _by_model(self, name: str, clip: Clip) -> tuple[Made, Told]:
        if name == candidates.FINISHER:
            return candidates.after_finisher(self._generator, clip), {}
        for level in range(LEVELS):
            if name == candidates.codec_name(level):
                return self._after_codec(level, clip)
        return self._drawn(name, clip)

    def _given_bass(self, name: str, clip: Clip, other: Clip) -> Made:
        bass = (other if name == BASS_OTHER else clip).stem(parts.TARGET)
        before, result = np.split(bass, [clip.prime_samples])
        if name == BASS_LAST_BAR:
            bar_samples = min(clip.bar_samples, before.size)
            result = toys.looped(before[None], result.size, bar_samples)[0]
        return Made(result=result, before=before)

    def _after_codec(self, level: int, clip: Clip) -> tuple[Made, Told]:
        made = candidates.after_codec(self.codec, level, clip)
        return made, {**codec_loss(made.result, clip.truth)}

    def _drawn(self, name: str, clip: Clip) -> tuple[Made, Told]:
        how = drawn(name)
        assert how is not None, name
        plan = candidates.plan_of(how.quality, clip, how.seed)
        plan = replace(plan, reprise=how.known != candidates.MADE)
        if how.known == "bass":
            made, gain_db = candidates.accompanied(self._client, clip, parts.TARGET, plan)
        else:
            made, gain_db = candidates.continued(self._client, clip, how.known, plan)
        return made, {"gain_db": gain_db}
