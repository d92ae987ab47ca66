"""Published systems in small: sizes, weights by a seed, and folders as users have them."""

import atexit
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch

from model.codec import Codec
from model.conditioning.text import V2
from model.config import (
    BlockConfig,
    CodecConfig,
    LabelConfig,
    LyricConfig,
    PlayedConfig,
    PriorConfig,
    TransformerConfig,
)
from model.importing import import_model
from model.offline import OfflineGenerator
from model.offline_loading import HEADS
from model.offline_state import Song
from model.prior import Prior
from model.published.alignment import Head
from model.published.level import PublishedLevel
from model.published.request import SystemSizes
from model.released import FILES, MODELS, RELEASED
from model.trained import NewPart, write_trained
from model.upsampler import Upsampler
from tests.checkpoints import synthetic_state, write_published
from tests.model.tiny import randomised

RATE = 44_100
LABELS = LabelConfig(artists=9, genres=7, timing_bins=8, seconds=(0.02, 60.0))
CODEC = CodecConfig(
    codebook_size=24,
    latent_width=8,
    levels=tuple(
        tuple(
            BlockConfig(stride=2, repeats=repeats, width=4, depth=1)
            for repeats in (3, 2, 2)[: level + 1]
        )
        for level in range(3)
    ),
)
CONTEXT = {0: 256, 1: 1024, 2: 1536}
"""Samples in a window of each level."""


def stack_of(frames, rows, **changes):
    return TransformerConfig(
        width=16, depth=3, heads=2, frames=frames, rows=rows,
        **{"attention_multiplier": 0.5} | changes,
    )  # fmt: skip


UPSAMPLER = PriorConfig(
    vocabulary=24,
    transformer=stack_of(32, 4),
    labels=LABELS,
    upper=BlockConfig(stride=2, repeats=2, width=4, depth=2, decoder_widens=True),
    upper_vocabulary=24,
)
PLAIN = PriorConfig(vocabulary=24, transformer=stack_of(12, 4), labels=LABELS, timing=True)
TOPS = {
    "5b": PLAIN,
    "5b_lyrics": replace(
        PLAIN,
        merged=True,
        lyrics=LyricConfig(vocabulary=80, transformer=stack_of(4, 2)),
        transformer=stack_of(12, 4, pattern=("row", "encoder")),
    ),
    "1b_lyrics": replace(
        PLAIN,
        vocabulary=24 + 79,
        transformer=stack_of(16, 4, pattern=("row", "prefix"), prefix_frames=4),
    ),
}
HEAD = Head(layer=1, head=0)


def sizes_of(name="5b"):
    return SystemSizes(codec=CODEC, priors=(UPSAMPLER, UPSAMPLER, TOPS[name]), rules=(V2,) * 3)


def generator_of(name="5b", loaded=None):
    """Return a generator with weights by seed; `loaded` hears which levels were asked for."""
    sizes = sizes_of(name)

    def load(level):
        if loaded is not None:
            loaded.append(level)
        config = sizes.priors[level]
        # What is drawn when it is built, too, is the same however often it is loaded.
        torch.manual_seed(level)
        module = Upsampler(config) if config.upper else Prior(config)
        return PublishedLevel(randomised(module, seed=level), sizes.level(level))

    head = HEAD if name != "5b" else None
    torch.manual_seed(9)
    return OfflineGenerator(sizes, randomised(Codec(CODEC), seed=9), load, head)


def song_of(**changes):
    facts = {
        "artists": (1, 1, 1),
        "genres": ((2,), (2,), (2,)),
        "blends": ((), (), ()),
        "lyrics": "",
        "total_samples": 2 * RATE,
        "offset_samples": 0,
    }
    return Song(**facts | changes)


def shrink(monkeypatch, name="5b"):
    """Let a released model have the small sizes."""
    made = {
        "vqvae": CODEC,
        "level_0": UPSAMPLER,
        "level_1": UPSAMPLER,
        "level_2": TOPS[name],
    }
    for part, of in MODELS[name].items():
        monkeypatch.setitem(RELEASED, of, made[part])
    monkeypatch.setitem(HEADS, name, HEAD)


@cache
def imported_folder(name):
    """Return the folder of a model of small sizes, imported once; `shrink` comes first."""
    place = Path(mkdtemp())
    atexit.register(shutil.rmtree, place)
    return import_model(write_files(place / "files", name), place / "models", name).folder


def write_files(folder, name="5b"):
    """Write the files that a user would have downloaded; return their folder."""
    for seed, (part, of) in enumerate(MODELS[name].items()):
        write_published(folder / FILES[part], synthetic_state(RELEASED[of], seed))
    return folder


PLAYS = replace(
    PLAIN, played=PlayedConfig(codebook_size=24, latent_width=8, roll_frames=4, stem_kinds=5)
)


def trained_folder(place):
    """Write a model as a user's training leaves it, whose top prior hears notes and stems."""
    made = None
    parts = (("vqvae", CODEC), ("level_2", PLAYS), ("level_1", UPSAMPLER), ("level_0", UPSAMPLER))
    for seed, (name, config) in enumerate(parts):
        torch.manual_seed(seed)
        kind = Codec if name == "vqvae" else Upsampler if config.upper else Prior
        module = randomised(kind(config), seed=seed)
        for own in module.buffers():
            own.normal_()
        text = "" if name == "vqvae" else "v2"
        part = NewPart(name=name, module=module, text=text, step=1)
        made = write_trained(place / name, part, base=made, shard_bytes=2**20)
    return made.folder
