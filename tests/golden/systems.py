"""Whole systems of golden cases: modules, labels and requests."""

from collections.abc import Mapping
from typing import Any

import torch

from model.codec import Codec
from model.conditioning.labels import PLACE_FIELDS, Piece
from model.conditioning.text import RULES
from model.prior import Prior
from model.published.level import PublishedLevel
from model.published.linear import Precision
from model.published.request import Item, LevelSettings, SystemRequest, SystemSizes
from model.published.system import Made, PublishedSystem, SystemState
from model.upsampler import Upsampler
from tests.golden.configs import codec_config, prior_config
from tests.vectors import Case, fill


class GoldenSystem:
    """The models of an `e2e` case."""

    def __init__(self, case: Case) -> None:
        sizes = case["vqvae_hyper_parameters"]
        self.case = case
        self.codec = Codec(codec_config(sizes))
        fill(self.codec, self._weights("vqvae"))
        priors = case["prior_hyper_parameters"]
        self.sizes = SystemSizes(
            codec=self.codec.config,
            priors=tuple(prior_config(prior, sizes) for prior in priors),
            rules=tuple(RULES["v3" if prior["labels_v3"] else "v2"] for prior in priors),
        )
        self.levels = [self._level(level) for level in range(len(priors))]

    def _weights(self, *path: Any) -> Mapping[str, Any]:
        tag, checksum = self.case["tags"], self.case["weights_crc32"]
        for step in path:
            tag, checksum = tag[step], checksum[step]
        return {"tag": tag, "weights_crc32": checksum}

    def _level(self, level: int) -> PublishedLevel:
        config = self.sizes.priors[level]
        module = Upsampler(config) if config.upper else Prior(config)
        fill(module, self._weights("priors", level))
        return PublishedLevel(module, self.sizes.level(level), precision=Precision.FLOAT32)

    def items(self, level: int) -> tuple[Item, ...]:
        """Return the labels that the case holds for a level."""
        recorded, slots = self.case.arrays(), self.sizes.level(level).labels().genre_slots
        made: list[Item] = []
        for index, row in enumerate(recorded[f"labels_y{level}"].tolist()):
            genres = [genre for genre in row[PLACE_FIELDS : PLACE_FIELDS + slots] if genre >= 0]
            piece = Piece(
                artist=row[3],
                genres=tuple(genres),
                lyrics=recorded[f"full_tokens{index}"].numpy(),
                total_samples=row[0],
                offset_samples=row[1],
            )
            made.append(Item(piece=piece))
        return tuple(made)

    def request(self, total_samples: int, levels: tuple[int, ...] = (0, 1, 2)) -> SystemRequest:
        case = self.case
        return SystemRequest(
            items=tuple(self.items(level) for level in range(3)),
            total_samples=total_samples,
            seed=0,
            variations=tuple(range(case["n_samples"])),
            settings=tuple(
                LevelSettings(
                    hop_fraction=case["hop_fraction"][level],
                    temperature=case["temp"],
                    top_k=case["top_k"],
                    chunk_frames=case["chunk_size"][level],
                    batch_items=case["max_batch_size"][level],
                )
                for level in range(3)
            ),
            levels=levels,
        )

    def system(self, **settings: Any) -> PublishedSystem:
        return PublishedSystem(self.sizes, lambda level: self.levels[level], **settings)


def run(system: PublishedSystem, state: SystemState) -> tuple[SystemState, list[Made]]:
    """Return the finished state, and all that was drawn on the way."""
    drawn: list[Made] = []
    while not state.finished:
        state, made = system.step(state)
        if made is not None:
            drawn.append(made)
    return state, drawn


def raw_window(drawn: list[Made], top: int, first: int, end: int) -> torch.Tensor:
    """Return the raw codes of the top level's frames from `first` to before `end`."""
    width = max(made.items.stop for made in drawn)
    raw = torch.full((width, end - first), -1)
    for made in drawn:
        if made.level == top and first <= made.first_frame < end:
            rows = slice(made.items.start, made.items.stop)
            start = made.first_frame - first
            raw[rows, start : start + made.raw.shape[1]] = made.raw
    return raw
