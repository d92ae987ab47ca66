"""An imported model as the engine wants it: names to ids, plans to levels, whole pieces alone.

Such a model hears up to half a minute of what comes after a code before it makes
it, so nothing of it streams. Imported when one is loaded, for it brings torch.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from bridge.app.numbers import notes_of, stems_of
from bridge.errors import NotFoundError, UnsupportedError
from bridge.model_info import KeptAnswers, ModelInfo
from bridge.ports import (
    Conditions,
    LevelCodes,
    LevelPlan,
    Mono,
    Plan,
    Quality,
    StemKind,
    StepResult,
    TimedWord,
    Voice,
)
from model.conditioning.labels import UNKNOWN, LabelTables
from model.errors import ConditionError
from model.offline_checks import OfflinePlan
from model.offline_loading import LoadedOffline, load_offline
from model.offline_state import OfflineState, Song
from model.published.linear import Precision
from model.published.played import Played
from model.published.request import LevelSettings, SystemSizes
from model.published.request import Voice as Part
from model.values import TARGETS

SOURCES: Final = ("source:prime", "source:nothing", "source:take", "source:codes", "rewind")
HOP_FRACTION: Final = 0.5
TOP_HOP_FRACTION: Final = 0.125
"""As published."""
NUMBER: Final = "#"
"""Before an id that goes by number whatever the lists say."""
FEED_SAMPLES: Final = 65_536
_NEAR: Final = 3


def load_published(folder: Path, precision: str = Precision.HALF) -> "PublishedGenerator":
    """Return the imported model of a folder.

    Raises:
        ModelError: A file is missing, damaged or misshapen.
    """
    return PublishedGenerator(load_offline(folder, Precision(precision)))


class PublishedGenerator:
    """A published model behind the engine's port."""

    def __init__(self, loaded: LoadedOffline) -> None:
        self._loaded = loaded
        self._model = loaded.generator
        self._sizes = self._model.sizes
        self._info = _info_of(loaded)

    @property
    def info(self) -> ModelInfo:
        """Return what a caller may know of the model."""
        return self._info

    def open(
        self, conditions: Conditions, anchor_sample: int, end_sample: int | None
    ) -> OfflineState:
        """Return the state of a timeline that has heard nothing.

        Raises:
            UnsupportedError: A live session, or a condition that this model cannot use, by name.
            NotFoundError: A label outside the vocabulary.
        """
        del anchor_sample
        if end_sample is None:
            raise UnsupportedError(
                f"the model {self._info.name} hears what comes after a sample before it makes "
                "that sample: it makes whole pieces and cannot play live"
            )
        midi = conditions.midi
        played = Played(
            notes=notes_of(midi),
            spans=() if midi is None else ((midi.start_sample, midi.end_sample),),
            target=TARGETS.index(conditions.target),
        )
        return self._model.open(self._song(conditions), end_sample, played, stems_of(conditions))

    def begin(self, state: OfflineState, plan: Plan, end_sample: int) -> OfflineState:
        """Return the state that is ready to be stepped; refuses all that can be refused.

        Raises:
            UnsupportedError: A way to sample that this model has not.
            ModelError: A length, a hop, a label or a place that some window cannot have.
        """
        return self._model.begin(state, self._plan(plan, state), end_sample)

    def feed(self, state: OfflineState, audio: Mono) -> OfflineState:
        """Return the state after hearing more; encoded once it is all there."""
        return self._model.feed(state, audio)

    def steer(self, state: OfflineState, conditions: Conditions) -> OfflineState:
        """Refuse: a piece is made under the conditions that it was opened with."""
        del state, conditions
        raise UnsupportedError(f"the model {self._info.name} takes no conditions while it plays")

    def step(self, states: Sequence[OfflineState], plan: Plan) -> list[StepResult[OfflineState]]:
        """Return the states one step further: a few codes of one level, or less."""
        made = [self._model.step(state, self._plan(plan, state)) for state in states]
        return [StepResult(state=one.state, phase=one.phase, left=one.left) for one in made]

    def steps_per_second(self, plan: Plan) -> float:
        """Return how many steps one second of audio takes.

        Raises:
            UnsupportedError: A way to sample that this model has not.
            ModelError: A plan that no piece could be drawn by.
        """
        return self._model.steps_per_second(self._plan(plan, None))

    def decode(self, state: OfflineState, block: int) -> Mono:
        """Return one block of model samples."""
        return self._model.decode(state, block)

    def fidelity(self, audio: Mono) -> float:
        """Return how well the codec reproduces this audio."""
        return self._model.fidelity(audio)

    def kept_answers(self) -> dict[str, KeptAnswers]:
        """Return nothing: a piece's conditions are read once, with its window."""
        return {}

    def restore(self, data: bytes) -> OfflineState:
        """Return the state that `to_bytes` gave."""
        return self._model.restore(data)

    def rewind(self, state: OfflineState, sample: int) -> OfflineState:
        """Return the state as it was when its codes ended before a sample."""
        return self._model.rewind(state, sample)

    def adopt(
        self, state: OfflineState, codes: Sequence[LevelCodes], finest_level: int
    ) -> OfflineState:
        """Return the opened state with codes that were made elsewhere.

        Raises:
            ModelError: Levels or codes that this model has not.
        """
        top = max(level.level for level in codes)
        rows = {level.level: level.codes for level in codes}
        if len(rows) < len(codes) or min(rows) < 0:
            levels = [level.level for level in codes]
            raise ConditionError(f"codes of levels {levels} are given, each is allowed once")
        return self._model.adopt(state, [rows.get(level) for level in range(top + 1)], finest_level)

    def codes(self, state: OfflineState) -> tuple[LevelCodes, ...]:
        """Return the codes that are final, coarsest level first."""
        levels = reversed(list(enumerate(state.codes)))
        return tuple(LevelCodes(level=level, codes=codes) for level, codes in levels if codes.size)

    def words(self, state: OfflineState) -> tuple[TimedWord, ...]:
        """Return when each word is sung, in model samples."""
        hop = self._model.frame_samples
        return tuple(
            TimedWord(
                text=word.text,
                line=word.line,
                start_sample=word.start_frame * hop,
                end_sample=word.end_frame * hop,
                character_samples=tuple(frame * hop for frame in word.character_frames),
            )
            for word in self._model.words(state)
        )

    def warm_up(self) -> None:
        """Run the codec once; levels are loaded when they are asked for."""
        self._model.warm_up()

    def _song(self, conditions: Conditions) -> Song:
        labels, timing = conditions.labels, conditions.timing
        tables, sizes = self._loaded.tables, self._sizes
        return Song(
            artists=_artists(labels.artist, tables, sizes),
            genres=_genres(labels.genre, tables, sizes),
            blends=_blends(conditions.blend, tables, sizes),
            lyrics=conditions.lyrics or "",
            total_samples=0 if timing is None else timing.total_samples,
            offset_samples=0 if timing is None else timing.offset_samples,
            stretches=timing is None,
        )

    def _plan(self, plan: Plan, state: OfflineState | None) -> OfflinePlan:
        if plan.guidance != 1.0:
            raise UnsupportedError(f"guidance is {plan.guidance:g}, this model can do 1 (off) only")
        if plan.passes:
            raise UnsupportedError(f"passes is {plan.passes}, this model has none: 0 only")
        if plan.quality is not Quality.TEACHER:
            raise UnsupportedError(f"this model has no quality {plan.quality}")
        own = {level.level: level for level in plan.levels}
        wrong = [level for level in own if level > self._sizes.top]
        if wrong:
            raise UnsupportedError(
                f"level {wrong[0]} is planned, this model has levels 0 to {self._sizes.top}"
            )
        adopted = None if state is None else state.adopted_finest
        return OfflinePlan(
            seed=plan.seed,
            variation=plan.variation,
            finest_level=plan.finest_level if adopted is None else adopted,
            settings=tuple(
                _settings(plan, own.get(level), is_top=level == self._sizes.top)
                for level in range(self._sizes.top + 1)
            ),
        )


def _settings(plan: Plan, own: LevelPlan | None, *, is_top: bool) -> LevelSettings:
    own = own or LevelPlan(level=0)
    usual = TOP_HOP_FRACTION if is_top else HOP_FRACTION
    return LevelSettings(
        hop_fraction=usual if own.hop_fraction is None else own.hop_fraction,
        temperature=plan.temperature if own.temperature is None else own.temperature,
        top_k=plan.top_k if own.top_k is None else own.top_k,
        top_p=plan.top_p if own.top_p is None else own.top_p,
    )


def _artists(
    name: str | None, tables: Sequence[LabelTables | None], sizes: SystemSizes
) -> tuple[int, ...]:
    """Return an artist's id at each level; a number is the top level's."""
    if name is None:
        return (UNKNOWN,) * len(tables)
    top = tables[sizes.top]
    number = _number(name, known=top is not None and top.artist(name) != UNKNOWN)
    if number is not None:
        names = {} if top is None else {row: known for known, row in top.artists.items()}
        known = names.get(number, "")
        return tuple(
            number if same else _looked_up(own, known)
            for own, same in zip(tables, _like_top(sizes), strict=True)
        )
    if top is None:
        raise _no_lists("artist", name)
    if top.artist(name) == UNKNOWN:
        raise _unknown("artist", top.rules.name(name), list(top.artists))
    return tuple(_looked_up(own, name) for own in tables)


def _looked_up(own: LabelTables | None, name: str) -> int:
    return UNKNOWN if own is None else own.artist(name)


def _like_top(sizes: SystemSizes) -> tuple[bool, ...]:
    """Return which levels count artists and genres as the top level does."""
    return tuple(rules.version == sizes.rules[sizes.top].version for rules in sizes.rules)


def _genres(
    genre: str | None, tables: Sequence[LabelTables | None], sizes: SystemSizes
) -> tuple[tuple[int, ...], ...]:
    """Return a genre's ids at each level; numbers, apart by spaces, are the top level's."""
    if genre is None:
        return ((UNKNOWN,),) * len(tables)
    top = tables[sizes.top]
    parts = genre.split()
    numbers = [_number(part, known=False) for part in parts]
    if parts and None not in numbers:
        given = tuple(number for number in numbers if number is not None)
        return tuple(given if same else (UNKNOWN,) for same in _like_top(sizes))
    if top is None:
        raise _no_lists("genre", genre)
    if UNKNOWN in top.genre_ids(genre):
        words = top.rules.genre_words(genre)
        missing = next(word for word in words if top.genres.get(word, UNKNOWN) == UNKNOWN)
        raise _unknown("genre", missing, list(top.genres))
    return tuple((UNKNOWN,) if own is None else own.genre_ids(genre) for own in tables)


def _blends(
    voices: Sequence[Voice], tables: Sequence[LabelTables | None], sizes: SystemSizes
) -> tuple[tuple[Part, ...], ...]:
    rows = [
        (_artists(voice.artist, tables, sizes), _genres(voice.genre, tables, sizes), voice.weight)
        for voice in voices
    ]
    return tuple(
        tuple(
            Part(artist=artists[level], genres=genres[level], weight=weight)
            for artists, genres, weight in rows
        )
        for level in range(len(tables))
    )


def _number(text: str, *, known: bool) -> int | None:
    """Return the id that a text is: after `#`, or where it is a number and no name."""
    digits = text.removeprefix(NUMBER)
    is_number = digits.isascii() and digits.isdigit() and len(digits) < len("0" * 10)
    return int(digits) if is_number and (text != digits or not known) else None


def _no_lists(what: str, name: str) -> NotFoundError:
    return NotFoundError(
        f"the {what} {name[:80]!r} is a name, and this model was imported without lists of names: "
        f"give an id by number, such as {NUMBER}12, or import it again with --ids"
    )


def _unknown(what: str, name: str, names: list[str]) -> NotFoundError:
    near = get_close_matches(name, names, _NEAR)
    hint = f"; near: {', '.join(near)}" if near else ""
    return NotFoundError(f"the {what} {name[:80]!r} is none of the {len(names)} known{hint}")


def _info_of(loaded: LoadedOffline) -> ModelInfo:
    model, sizes, manifest = loaded.generator, loaded.generator.sizes, loaded.model.manifest
    top = sizes.level(sizes.top)
    names = loaded.top_labels
    supports = {
        *SOURCES,
        "timing",
        "finest_level",
        "levels",
        f"target:{StemKind.MIX}",
        f"quality:{Quality.TEACHER}",
    }
    if top.prior.labels is not None:
        supports |= {"artist", "genre", "blend"}
    if top.prefix_frames or top.prior.lyrics is not None:
        supports.add("lyrics")
    if top.prior.played is not None:
        supports |= {"midi", "stems", *(f"target:{kind}" for kind in StemKind)}
    return ModelInfo(
        name=loaded.model.name,
        fingerprint=loaded.fingerprint,
        sample_rate=sizes.codec.sample_rate,
        frame_samples=model.frame_samples,
        block_samples=model.block_samples,
        feed_samples=FEED_SAMPLES,
        lookahead_samples=model.block_samples,
        context_samples=model.context_samples,
        streams=False,
        supports=frozenset(supports),
        artists=() if names is None else tuple(sorted(names.artists)),
        genres=() if names is None else tuple(sorted(names.genres)),
        licence=manifest["licence"],
        output_licence=manifest["output_licence"],
        hops=tuple(sizes.codec.hop(level) for level in range(sizes.top + 1)),
    )
