"""What a caller may know of a loaded model: its measures, its words, what it supports and keeps."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a caller may know of a loaded model."""

    name: str
    fingerprint: str
    """Hash of weights, configuration, dtype, kernels and library version: same bytes within it."""
    sample_rate: int
    frame_samples: int
    """Samples per top-level code frame; generation starts on this grid."""
    block_samples: int
    """Samples in one canonical block of `Generator.decode`."""
    feed_samples: int
    """Samples in one canonical block of `Generator.feed`; more at once is split."""
    lookahead_samples: int
    context_samples: int
    """The longest prime, in model samples, that can matter."""
    streams: bool
    supports: frozenset[str]
    """Names of the `Conditions` fields, target kinds (`target:bass`), qualities
    (`quality:fast`) and sources (`source:prime`, `source:nothing`, `source:take`,
    `source:codes`) that work; `rewind` if a take can be left before its end, `levels`,
    `finest_level` and `changes` if a plan may name them."""
    artists: tuple[str, ...]
    genres: tuple[str, ...]
    licence: str
    output_licence: str
    hops: tuple[int, ...] = ()
    """Model samples a code, by level, finest first."""
    keeps_level: bool = False
    """Whether what `quality:fast` makes of a prime has its level, so that none is matched."""
    passes: int = 0
    """What a chunk of `quality:fast` is given where a plan says nothing; fewer are cheaper, and
    a plan's `changes` may ask for fewer. 0: there are none to choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswers:
    """What a model keeps in memory of one kind of its networks' answers, by their content.

    Counts are since it was loaded.
    """

    held: int = 0
    held_bytes: int = 0
    limit_bytes: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0
