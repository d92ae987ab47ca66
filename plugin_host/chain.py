"""Plugins in order, by block: as many samples out as in, and every delay counted.

Pedalboard hides a plugin's latency by handing back shorter blocks until the plugin
has filled up. Each plugin is therefore filled with silence before the first block:
what it withheld is its latency, what follows comes in full, and the audio is late
by exactly the samples that were counted. The silence also fixes the largest block,
since pedalboard empties a plugin that meets a larger one than before.

A plugin that fails is replaced by its own delay and reported; the music goes on.
Knows neither beats nor sessions, nor where audio comes from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from plugin_host.errors import AudioFormatError, PluginLoadError
from plugin_host.loader import LoadedPlugin, Samples, load_plugin, read_chain_file

MIN_SAMPLE_RATE = 8_000
MAX_SAMPLE_RATE = 192_000
MAX_CHANNELS = 8
MAX_LATENCY_SECONDS = 10
_PIECE_SAMPLES = 8192
_SILENT_PEAK = 10 ** (-90 / 20)
# What Python code and pedalboard's C++ raise when a plugin cannot go on.
_FAULTS = (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, MemoryError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A plugin that failed and has been bypassed since.

    Attributes:
        plugin: The plugin's name.
        position: Its place in the chain, from 0.
        start_sample: Where the bypass began, in samples fed since the last reset.
        reason: What went wrong.
    """

    plugin: str
    position: int
    start_sample: int
    reason: str


def load_chain(path: Path, *, sample_rate: int, num_channels: int) -> "Chain":
    """Return the chain that a chain file describes, ready for its first block.

    Raises:
        PluginHostError: The file, a plugin, a parameter or the audio format is refused.
    """
    check_format(sample_rate, num_channels)
    plugins = [load_plugin(spec, sample_rate=sample_rate) for spec in read_chain_file(path)]
    return Chain(plugins, sample_rate=sample_rate, num_channels=num_channels)


class Chain:
    """Plugins in series, for one stream at a time and one thread at a time."""

    def __init__(
        self,
        plugins: Sequence[LoadedPlugin],
        *,
        sample_rate: int,
        num_channels: int,
        watch: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Fill every plugin with silence.

        Args:
            plugins: In the order in which audio passes them.
            sample_rate: In Hz.
            num_channels: Of every block.
            watch: Told the place of the plugin that is about to work, and -1 after the last.

        Raises:
            AudioFormatError: A rate or a channel count that no chain takes.
            PluginLoadError: A plugin that does not run so.
        """
        check_format(sample_rate, num_channels)
        self._watch = watch
        self.plugins = tuple(plugins)
        self.sample_rate = sample_rate
        self.num_channels = num_channels
        self._stages = [_Stage(plugin, sample_rate, num_channels) for plugin in plugins]
        self._reports: list[Report] = []
        self._fed_samples = 0
        self._fill()

    @property
    def latency_samples(self) -> int:
        """By how many samples the output is late; the same for any block size."""
        return sum(self.latencies)

    @property
    def latencies(self) -> tuple[int, ...]:
        """By how many samples each plugin is late."""
        return tuple(stage.latency_samples for stage in self._stages)

    @property
    def reports(self) -> list[Report]:
        """The plugins that failed since the last reset, in the order they did."""
        return list(self._reports)

    def process(self, samples: Samples) -> Samples:
        """Return the processed block, as long as the one given.

        The output is `latency_samples` late. A plugin that raises, or returns a wrong
        shape or a value that is not finite, is bypassed until the next reset.

        Raises:
            AudioFormatError: Not float32 of shape (num_channels, samples), or not finite.
        """
        check_block(samples, self.num_channels)
        out = np.empty(samples.shape, np.float32)
        for start in range(0, samples.shape[1], _PIECE_SAMPLES):
            piece = slice(start, start + _PIECE_SAMPLES)
            out[:, piece] = self._through(np.ascontiguousarray(samples[:, piece]))
        return out

    def render(self, samples: Samples, *, tail_seconds: float = 0.0) -> Samples:
        """Return the whole processed, no longer late: as long as given, and its tail.

        The chain is reset first and fed silence at the end, so the plugins' delay is
        cut off at the front.

        Args:
            samples: The whole.
            tail_seconds: At most so much of what still rings after the end is kept; it ends
                earlier where it falls under -90 dBFS.

        Raises:
            AudioFormatError: Not float32 of shape (num_channels, samples), or not finite.
        """
        check_block(samples, self.num_channels)
        self.reset()
        return rendered(self, samples, tail_seconds)

    def reset(self) -> None:
        """Forget all audio and all reports, and give bypassed plugins another chance.

        A plugin that fails to start again is bypassed and reported, at its old latency.
        """
        self._reports.clear()
        self._fed_samples = 0
        for position, stage in enumerate(self._stages):
            self._watch(position)
            reason = stage.fill()
            if reason is not None:
                self._report(position, reason)
        self._watch(-1)

    def _fill(self) -> None:
        for position, stage in enumerate(self._stages):
            self._watch(position)
            reason = stage.fill()
            self._watch(-1)
            if reason is not None:
                message = (
                    f"{stage.name} does not run at {self.sample_rate} Hz"
                    f" with {self.num_channels} channels: {reason}"
                )
                raise PluginLoadError(message, value=stage.name, limit=reason)

    def _through(self, piece: Samples) -> Samples:
        for position, stage in enumerate(self._stages):
            self._watch(position)
            piece, reason = stage.process(piece)
            if reason is not None:
                self._report(position, reason)
        self._watch(-1)
        self._fed_samples += piece.shape[1]
        return piece

    def _report(self, position: int, reason: str) -> None:
        name = self._stages[position].name
        report = Report(
            plugin=name, position=position, start_sample=self._fed_samples, reason=reason
        )
        self._reports.append(report)


class BlockProcessor(Protocol):
    """What takes audio block by block and is late by a known number of samples."""

    sample_rate: int
    num_channels: int

    @property
    def latency_samples(self) -> int:
        """By how many samples the output is late."""
        ...

    def process(self, samples: Samples) -> Samples:
        """Return the processed block, as long as the one given."""
        ...


def rendered(chain: BlockProcessor, samples: Samples, tail_seconds: float) -> Samples:
    """Return the whole processed by a chain that has heard nothing, as `Chain.render` says."""
    latency = chain.latency_samples
    fed = np.pad(samples, ((0, 0), (0, latency)))
    parts = [chain.process(fed)[:, latency:]]
    silence = np.zeros((chain.num_channels, _PIECE_SAMPLES), np.float32)
    left = round(tail_seconds * chain.sample_rate)
    while left > 0 and float(np.max(np.abs(parts[-1]), initial=0.0)) >= _SILENT_PEAK:
        parts.append(chain.process(silence[:, :left]))
        left -= parts[-1].shape[1]
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


class _Stage:
    """One plugin, its latency, and its input kept for as long as the plugin is late."""

    def __init__(self, loaded: LoadedPlugin, sample_rate: int, num_channels: int) -> None:
        self.name = loaded.name
        self.latency_samples = 0
        self._plugin = loaded.plugin
        self._sample_rate = sample_rate
        self._silence = np.zeros((num_channels, _PIECE_SAMPLES), np.float32)
        self._bypassed = False
        self._late = self._silence[:, :0]

    def fill(self) -> str | None:
        """Reset the plugin, feed silence until it answers in full, count what it kept.

        Returns what went wrong, if anything; the stage is then bypassed.
        """
        try:
            self._plugin.reset()
            withheld, reason = self._withheld()
        except _FAULTS as error:
            withheld, reason = self.latency_samples, _raised(error)
        self._bypassed = reason is not None
        self.latency_samples = self.latency_samples if self._bypassed else withheld
        self._late = np.zeros((len(self._silence), self.latency_samples), np.float32)
        return reason

    def process(self, block: Samples) -> tuple[Samples, str | None]:
        """Return the block after the plugin, and what went wrong, if anything."""
        dry = self._delayed(block)
        if self._bypassed:
            return dry, None
        try:
            wet = self._call(block)
            reason = _fault(wet, block)
        except _FAULTS as error:
            wet, reason = dry, _raised(error)
        self._bypassed = reason is not None
        return (dry if self._bypassed else wet), reason

    def _withheld(self) -> tuple[int, str | None]:
        limit = MAX_LATENCY_SECONDS * self._sample_rate
        withheld = 0
        while withheld <= limit:
            wet = self._call(self._silence)
            missing = self._silence.shape[1] - wet.shape[-1]
            if reason := _fault(wet, self._silence[:, : wet.shape[-1]]):
                return withheld, reason
            if missing == 0:
                return withheld, None
            withheld += missing
        return withheld, f"its latency is over the limit of {limit} samples"

    def _call(self, block: Samples) -> Samples:
        return self._plugin.process(block, self._sample_rate, _PIECE_SAMPLES, False)

    def _delayed(self, block: Samples) -> Samples:
        if self.latency_samples == 0:
            return block
        both = np.concatenate([self._late, block], axis=1)
        self._late = both[:, block.shape[1] :]
        return both[:, : block.shape[1]]


def _raised(error: Exception) -> str:
    return f"raised {type(error).__name__}: {error}"


def _fault(wet: Samples, expected: Samples) -> str | None:
    if wet.shape != expected.shape or wet.dtype != np.float32:
        return f"returned {wet.dtype} of {wet.shape}, expected float32 of {expected.shape}"
    finite = np.isfinite(wet)
    if finite.all():
        return None
    return f"returned {finite.size - int(finite.sum())} values that are not finite"


def check_format(sample_rate: int, num_channels: int) -> None:
    """Refuse a rate or a channel count that no chain takes.

    Raises:
        AudioFormatError: The value, the limit and the unit.
    """
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        limit = f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
        message = f"sample rate {sample_rate} Hz, must be {limit} Hz"
        raise AudioFormatError(message, value=sample_rate, limit=limit, unit="Hz")
    if not 1 <= num_channels <= MAX_CHANNELS:
        message = f"{num_channels} channels, must be 1 to {MAX_CHANNELS} channels"
        limit = f"1 to {MAX_CHANNELS}"
        raise AudioFormatError(message, value=num_channels, limit=limit, unit="channels")


def check_block(samples: Samples, num_channels: int) -> None:
    """Refuse a block that no plugin should see.

    Raises:
        AudioFormatError: Not float32 of shape (num_channels, samples), or not finite.
    """
    if samples.dtype != np.float32:
        message = f"block of {samples.dtype}, must be float32"
        raise AudioFormatError(message, value=str(samples.dtype), limit="float32")
    if samples.ndim != 2 or samples.shape[0] != num_channels:
        limit = f"({num_channels}, samples)"
        message = f"block of shape {samples.shape}, must be {limit}"
        raise AudioFormatError(message, value=samples.shape, limit=limit, unit="samples")
    wrong = np.flatnonzero(~np.isfinite(samples).all(axis=0))
    if wrong.size:
        message = f"sample {wrong[0]} of the block is not a finite number"
        raise AudioFormatError(message, value=int(wrong[0]), limit="finite", unit="sample")
