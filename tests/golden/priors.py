"""Priors of golden cases: modules, sizes and what each recorded window is told."""

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from model.conditioning.labels import Labels, labels_of_rows
from model.conditioning.text import RULES
from model.conditioning.timing import Extents
from model.prior import Prior
from model.published.level import Heard, PublishedLevel, hear
from model.published.linear import Precision
from model.published.request import LevelSettings, LevelSizes
from model.published.window import WindowRun
from model.upsampler import Upsampler
from tests.golden.configs import prior_config
from tests.vectors import Case, cases, fill

Module = Prior | Upsampler


def level_of(case: Case) -> tuple[Module, LevelSizes]:
    """Return a case's module, filled, and its sizes; the same one to every test."""
    return _level_of(case.name)


@cache
def _level_of(name: str) -> tuple[Module, LevelSizes]:
    return new_level_of(Case(name, cases()[name]))


def new_level_of(case: Case) -> tuple[Module, LevelSizes]:
    """Return a case's module, filled, and its sizes."""
    sizes = case["hyper_parameters"]
    config = prior_config(sizes, case.facts)
    module = Upsampler(config) if config.upper else Prior(config)
    fill(module, case)
    return module, LevelSizes(
        prior=config,
        rules=RULES["v3" if sizes["labels_v3"] else "v2"],
        hop_samples=case["raw_to_tokens"],
        codebook_size=case["l_bins"],
    )


def labels_in(case: Case) -> Labels:
    """Return the labels of a case's window; of one without labels, zeros."""
    recorded = case.arrays()
    if "y" in recorded:
        return labels_of_rows(recorded["y"], case["hyper_parameters"]["max_bow_genre_size"])
    nothing = torch.zeros(len(recorded["z"]), dtype=torch.long)
    return Labels(
        artist=nothing,
        genres=nothing[:, None],
        extents=Extents(total_samples=nothing, offset_samples=nothing, window_samples=nothing),
        characters=nothing[:, None][:, :0],
    )


def heard_in(case: Case, module: Module, sizes: LevelSizes) -> Heard:
    return hear(module, sizes, labels_in(case), case.arrays().get("z_cond"))


def sequence_in(case: Case, sizes: LevelSizes, heard: Heard) -> Tensor:
    """Return the window in the prior's own numbers, lyrics of one sequence included."""
    return torch.cat([heard.characters, case.arrays()["z"] + sizes.shift], dim=1)


def greedy_run(
    case: Case, module: Module, sizes: LevelSizes, *, prefix: int, frames: int, chunk: int
) -> Iterator[Tensor]:
    """Yield raw codes drawn likeliest first after `prefix` given ones, step by step."""
    heard = heard_in(case, module, sizes)
    known = sequence_in(case, sizes, heard)[:, : sizes.prefix_frames + prefix]
    run = WindowRun(
        PublishedLevel(module, sizes, precision=Precision.FLOAT32),
        heard,
        known,
        given=known.shape[1],
        draws=torch.zeros(len(known), frames - prefix, dtype=torch.double).numpy(),
        settings=LevelSettings(temperature=0.99, top_k=1, chunk_frames=chunk),
    )
    yield known
    while not run.done:
        yield run.advance(7)
