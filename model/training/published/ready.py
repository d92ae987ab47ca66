"""Everything that a training needs, put together and refused before its first step.

Reads a configuration, looks at every recording, opens the models that are
begun with, and checks lengths, labels and places against one another.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from model.codec import Codec
from model.conditioning.labels import LabelTables
from model.conditioning.text import RULES
from model.config import CodecConfig, PriorConfig
from model.errors import ConfigError, TrainingError
from model.imported import ImportedModel, load_labels
from model.prior import Prior
from model.published.request import LevelSizes
from model.quantizer import restore_codebook
from model.trained import (
    CODEC,
    Tables,
    codec_config,
    config_of,
    load_codec,
    load_trained,
    open_trained,
    part_of,
    text_of,
)
from model.training.published.clips import Cutter, Sorted, sort_out
from model.training.published.codec_task import CodecTask
from model.training.published.configuration import Asked
from model.training.published.crowd import Crowd
from model.training.published.initial import new_codec, new_prior
from model.training.published.labelling import (
    Labelling,
    as_names,
    check_labels_of,
    place_fault,
    rows_needed,
    tables_of,
    unknown_names,
)
from model.training.published.model_sizes import PriorModel
from model.training.published.playing import playing_of
from model.training.published.prior_task import PriorTask
from model.training.published.recordings import Recording
from model.training.published.same import check_same, lasting
from model.training.published.settings import (
    CodecSettings,
    DataSettings,
    LearningSettings,
    PriorSettings,
)
from model.training.published.task import PRECISIONS, Task
from model.training.published_losses import SPECTRAL, Bandwidth, bandwidth_of
from model.upsampler import Upsampler

CODEC_CLIP_SAMPLES: Final = 131_072
BANDWIDTH_STEP: Final = 2**40
"""Clips that are listened to for the data's width are drawn as of this step: no other uses it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ready:
    """A training that nothing speaks against."""

    task: Task
    cutter: Cutter
    part: str
    """What the result is in a model's folder."""
    text: str
    base: ImportedModel | None
    tables: Tables | None
    facts: dict[str, Any]
    """What must be the same when the training goes on."""
    notes: tuple[str, ...]
    """What the user should know before it begins."""


def make_ready(
    asked: Asked,
    recordings: Sequence[Recording],
    *,
    begin_with: Path | None,
    facts: dict[str, Any] | None,
    crowd: Crowd,
    device: torch.device,
) -> Ready:
    """Return a training that can begin.

    Args:
        asked: The configuration.
        recordings: The user's music.
        begin_with: A model whose weights the training begins with; None for random ones.
        facts: What a checkpoint says that is gone on from; None at a first start.
        crowd: The processes that train together.
        device: Where to compute.

    Raises:
        TrainingError: What is asked for cannot be trained, or not on these recordings.
        CheckpointError: A model that cannot be read.
    """
    start = None if begin_with is None else open_trained(begin_with)
    clashing = [key for key in asked.given if key.startswith("model.")]
    if start is not None and clashing:
        raise TrainingError(
            f"{clashing[0]} is given, but {begin_with} says the model's sizes: leave [model] out"
        )
    try:
        if isinstance(asked.settings, CodecSettings):
            ready = _codec(asked.settings, recordings, start, facts, crowd, device)
        else:
            ready = _prior(asked, asked.settings, recordings, start, crowd, device)
    except ConfigError as error:
        raise TrainingError(str(error)) from error
    given = {"kind": asked.kind, "settings": lasting(asked), **ready.facts}
    if facts is not None:
        check_same(facts, given)
    return replace(ready, facts=given)


def _codec(
    settings: CodecSettings,
    recordings: Sequence[Recording],
    start: ImportedModel | None,
    facts: dict[str, Any] | None,
    crowd: Crowd,
    device: torch.device,
) -> Ready:
    config = settings.model.config() if start is None else codec_config(start)
    clip = settings.data.clip_samples or CODEC_CLIP_SAMPLES
    hop = config.hop(len(config.levels) - 1)
    shortest = SPECTRAL[0] // 2 + 1
    if clip % hop or clip < shortest:
        raise TrainingError(
            f"data.clip_samples is {clip} samples, it must be a multiple of {hop} samples and at "
            f"least {shortest}"
        )
    found = sort_out(recordings, config.sample_rate, clip)
    cutter = _cutter(found, settings.data, settings.learning, config, clip)
    crowd.rows(settings.data.batch_clips)
    known = None if facts is None else facts.get("bandwidth")
    width = Bandwidth(**known) if known else _bandwidth(cutter, settings.data)
    if start is None:
        module = new_codec(config, settings.learning.seed).to(device)
    else:
        module = load_codec(start).to(device)
        _restore_codebooks(module, clip, crowd)
    task = CodecTask(
        module=module,
        bandwidth=width,
        loss=settings.loss,
        codebook=settings.codebook,
        precision=PRECISIONS[settings.learning.precision],
        crowd=crowd,
        seed=settings.learning.seed,
    )
    return Ready(
        task=task,
        cutter=cutter,
        part=CODEC,
        text="",
        base=None,
        tables=None,
        facts={"config": asdict(config), "bandwidth": asdict(width)},
        notes=_notes(found, recordings, uses_stems=settings.data.stem_share > 0),
    )


def _restore_codebooks(codec: Codec, clip_samples: int, crowd: Crowd) -> None:
    for index in range(len(codec.levels)):
        level = codec.level(index)
        rows = len(level.quantizer.codebook)
        restore_codebook(level.quantizer, clip_samples // level.hop * crowd.size / rows)


def _bandwidth(cutter: Cutter, data: DataSettings) -> Bandwidth:
    seconds = cutter.clip_samples / cutter.sample_rate
    count = max(1, round(data.bandwidth_seconds / seconds))
    clips = (cutter.batch(BANDWIDTH_STEP, range(row, row + 1)).audio for row in range(count))
    width = bandwidth_of(clips)
    if min(width.l1, width.l2, width.spectrum) <= 0:
        raise TrainingError(
            f"{count} clips of {seconds:.2f} s are all silent: there is nothing to learn from"
        )
    return width


def _prior(
    asked: Asked,
    settings: PriorSettings,
    recordings: Sequence[Recording],
    start: ImportedModel | None,
    crowd: Crowd,
    device: torch.device,
) -> Ready:
    assert asked.base is not None
    base = open_trained(asked.base)
    codec = codec_config(base)
    level = _level(asked, codec)
    part, top = part_of(level), level == len(codec.levels) - 1
    text = settings.model.text if start is None else text_of(start, part)
    tables, all_tables = _tables(base if start is None else start, base, recordings, text)
    config = (
        settings.model.config(codec, level, *rows_needed(recordings, tables))
        if start is None
        else _config_of(start, part, codec, top=top)
    )
    sizes = LevelSizes(
        prior=config,
        rules=RULES[text],
        hop_samples=codec.hop(level),
        codebook_size=codec.codebook_size,
    )
    clip = _prior_clip(settings.data, sizes, codec)
    _check_timing(config, clip, codec)
    if config.labels:
        check_labels_of(recordings, tables, config.labels)
    labels = config.labels if config.timing else None
    found = sort_out(
        recordings,
        codec.sample_rate,
        clip,
        (lambda one: place_fault(one, labels)) if labels else (lambda _: None),
    )
    if settings.data.stem_share:
        raise TrainingError(
            f"data.stem_share is {settings.data.stem_share:g}: a prior learns from whole mixes"
        )
    crowd.rows(settings.data.batch_clips)
    sounds = load_codec(base).to(device).eval().requires_grad_(False)
    module = _prior_module(config, settings.model, start, part, settings.learning.seed, device)
    task = PriorTask(
        module=module,
        codec=sounds,
        level=level,
        sizes=sizes,
        labelling=Labelling(tables=tables, sample_rate=codec.sample_rate),
        lyric_fraction=settings.loss.lyric_fraction,
        precision=PRECISIONS[settings.learning.precision],
        playing=playing_of(module, recordings, sounds.level(level), codec.sample_rate),
    )
    unknown = unknown_names(recordings, tables) if config.labels else ()
    notes = _notes(found, recordings, uses_stems=config.played is not None)
    if config.played is None and any(one.midi for one in recordings):
        notes = (*notes, "MIDI is checked, and not used: a top prior hears it with model.plays")
    if unknown:
        notes = (*notes, f"names that count as unknown: {', '.join(unknown[:10])}")
    if not sizes.labels().lyric_slots and any(one.lyrics for one in recordings):
        notes = (*notes, "this model reads no lyrics (model.lyrics): those given are not used")
    return Ready(
        task=task,
        cutter=replace(
            _cutter(found, settings.data, settings.learning, codec, clip),
            plays=config.played is not None,
        ),
        part=part,
        text=text,
        base=base,
        tables=all_tables if config.labels else None,
        facts={
            "config": asdict(config),
            "names": {kind: dict(names) for kind, names in as_names(tables).items()},
            "codec": {file: row["sha256"] for file, row in base.part(CODEC)["files"].items()},
        },
        notes=notes,
    )


def _level(asked: Asked, codec: CodecConfig) -> int:
    top = len(codec.levels) - 1
    if asked.level is None:
        return top
    if asked.level >= top:
        raise TrainingError(
            f"level is {asked.level}, upsamplers of this codec have levels 0 to {top - 1}"
            if top
            else "this codec has one level: there is nothing to upsample"
        )
    return asked.level


def _tables(
    first: ImportedModel, base: ImportedModel, recordings: Sequence[Recording], text: str
) -> tuple[LabelTables, Tables]:
    """Return the names that a training knows, and all of the model's folder.

    A model that is begun with, or built on, keeps its ids; else names are numbered.
    """
    rules = RULES[text]
    known = load_labels(base) | load_labels(first)
    if text in known:
        names = known[text]
        tables = LabelTables(rules=rules, artists=names["artist"], genres=names["genre"])
    else:
        tables = tables_of(recordings, rules)
    return tables, {**known, text: as_names(tables)}


def _config_of(start: ImportedModel, part: str, codec: CodecConfig, *, top: bool) -> PriorConfig:
    config = config_of(start, part)
    if not isinstance(config, PriorConfig) or (config.upper is None) != top:
        raise TrainingError(f"{part} in {start.folder} is no prior of this kind")
    if config.vocabulary < codec.codebook_size or (
        not config.transformer.prefix_frames and config.vocabulary != codec.codebook_size
    ):
        raise TrainingError(
            f"{part} in {start.folder} knows {config.vocabulary} codes, the codec has "
            f"{codec.codebook_size}"
        )
    return config


def _prior_clip(data: DataSettings, sizes: LevelSizes, codec: CodecConfig) -> int:
    """Return a clip's length: the model's context, which alone fits."""
    clip = sizes.context_frames * sizes.hop_samples
    if data.clip_samples not in (0, clip):
        raise TrainingError(
            f"data.clip_samples is {data.clip_samples} samples "
            f"({data.clip_samples / codec.sample_rate:.2f} s), this model's context of "
            f"{sizes.context_frames} codes takes {clip} ({clip / codec.sample_rate:.2f} s): leave "
            "it out"
        )
    return clip


def _check_timing(config: PriorConfig, clip: int, codec: CodecConfig) -> None:
    """Pass if every piece that timing can tell holds a clip."""
    if not config.timing or config.labels is None:
        return
    shortest, longest = config.labels.seconds
    clip_seconds = clip / codec.sample_rate
    if not clip_seconds <= shortest < longest:
        raise TrainingError(
            f"model.shortest_seconds is {shortest:g} s and model.longest_seconds {longest:g} s; a "
            f"clip is {clip_seconds:.3f} s: they must lie above it, and in this order"
        )


def _prior_module(
    config: PriorConfig,
    model: PriorModel,
    start: ImportedModel | None,
    part: str,
    seed: int,
    device: torch.device,
) -> Prior | Upsampler:
    module = new_prior(config, model, seed) if start is None else load_trained(start, part)
    assert not isinstance(module, Codec)
    return module.to(device)


def _cutter(
    found: Sorted, data: DataSettings, learning: LearningSettings, codec: CodecConfig, clip: int
) -> Cutter:
    return Cutter(
        recordings=found.usable,
        sample_rate=codec.sample_rate,
        clip_samples=clip,
        seed=learning.seed,
        shift=data.shift,
        downmix=data.downmix,
        stem_share=data.stem_share,
    )


def _notes(found: Sorted, recordings: Sequence[Recording], *, uses_stems: bool) -> tuple[str, ...]:
    notes = [f"{len(found.usable)} of {len(recordings)} recordings are used"]
    notes += [f"left out: {why}" for why in found.left_out[:20]]
    if len(found.left_out) > 20:
        notes.append(f"left out: {len(found.left_out) - 20} more")
    if not uses_stems and any(one.stems for one in recordings):
        notes.append(
            "stems are checked, and not used: a codec learns from them with data.stem_share, a "
            "top prior hears them with model.plays"
        )
    return tuple(notes)
