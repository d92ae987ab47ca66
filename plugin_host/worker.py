"""Plugins in a process of their own: what they break is theirs.

A worker process loads a chain on its main thread and works on blocks in shared
memory. If it dies or hangs, the plugin that was at work is named in a report and
either started again or bypassed, while the audio goes on dry, as late as before.
Knows neither beats nor sessions.
"""

import contextlib
import signal
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

import numpy as np

from plugin_host.chain import Report, check_block, check_format, rendered
from plugin_host.errors import (
    PluginCrashError,
    PluginHostError,
    PluginLoadError,
    WorkerLostError,
)
from plugin_host.loader import PluginSpec, Samples
from plugin_host.parameters import Parameter, Setting
from plugin_host.shared_audio import Layout, SharedAudio
from plugin_host.working import Order, Ready, work

START_SECONDS: Final = 60.0
MAX_BLOCK_SAMPLES: Final = 8192
JOIN_SECONDS: Final = 5.0
DECLICK_SAMPLES: Final = 64
_SPAWN: Final = get_context("spawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is done about plugins that crash or hang.

    Attributes:
        restarts: How many times a plugin is started again before it is bypassed.
        patience_s: How long a block may take before the plugin at work counts as hung.
    """

    restarts: int = 1
    patience_s: float = 2.0


class IsolatedChain:
    """A chain in a process of its own, for one stream at a time and one thread at a time.

    Attributes:
        sample_rate: In Hz.
        num_channels: Of every block.
        reports: What went wrong, in the order in which it did.
    """

    def __init__(
        self,
        specs: Sequence[PluginSpec],
        *,
        sample_rate: int,
        num_channels: int,
        policy: Policy | None = None,
    ) -> None:
        """Return once the plugins are loaded and filled with silence.

        Args:
            specs: The plugins, in the order in which audio passes them.
            sample_rate: In Hz.
            num_channels: Of every block.
            policy: What is done about crashes.

        Raises:
            PluginHostError: A plugin, a parameter or the audio format is refused.
            PluginCrashError: A plugin crashed while it was loaded.
        """
        check_format(sample_rate, num_channels)
        self.sample_rate = sample_rate
        self.num_channels = num_channels
        self.reports: list[Report] = []
        self._specs = tuple(specs)
        self._policy = policy or Policy()
        self._settings: list[tuple[int, str, Setting]] = []
        self._crashes: Counter[int] = Counter()
        self._fed_samples = 0
        self._starting: threading.Thread | None = None
        self._worker: _Worker | None = _Worker(self._order({}))
        self._ready = self._worker.ready
        self._late = self._silence(self.latency_samples)
        self._was_wet = True
        self._last = self._silence(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def latency_samples(self) -> int:
        """By how many samples the output is late, whether plugins work or are bypassed."""
        return sum(self._ready.latencies)

    @property
    def names(self) -> tuple[str, ...]:
        """The plugins' names."""
        return self._ready.names

    @property
    def parameters(self) -> tuple[tuple[Parameter, ...], ...]:
        """What can be set, plugin by plugin."""
        return self._ready.parameters

    @property
    def is_running(self) -> bool:
        """Whether plugins are at work; while a crash is being mended audio goes on dry."""
        return self._worker is not None

    def process(self, samples: Samples) -> Samples:
        """Return the processed block, as long as the one given and `latency_samples` late.

        Raises:
            AudioFormatError: Not float32 of shape (num_channels, samples), or not finite.
        """
        check_block(samples, self.num_channels)
        pieces = [
            self._piece(samples[:, first : first + MAX_BLOCK_SAMPLES])
            for first in range(0, samples.shape[1], MAX_BLOCK_SAMPLES)
        ]
        return np.concatenate([self._silence(0), *pieces], axis=1)

    def render(self, samples: Samples, *, tail_seconds: float = 0.0) -> Samples:
        """Return the whole processed, no longer late, and its tail, as `Chain.render` does.

        Raises:
            AudioFormatError: Not float32 of shape (num_channels, samples), or not finite.
        """
        check_block(samples, self.num_channels)
        self.reset()
        return rendered(self, samples, tail_seconds)

    def set_parameter(self, position: int, name: str, value: Setting) -> None:
        """Set a plugin's parameter in its own unit; it is set again after a restart.

        Raises:
            ParameterError: Unknown, out of range, or not kept.
            PluginCrashError: The plugin crashed over it.
        """
        self._ask("set", position, {name: value})
        self._settings.append((position, name, value))

    def load_preset(self, position: int, path: Path) -> None:
        """Let a plugin read a `.vstpreset` file.

        Raises:
            PluginLoadError: It refuses.
            PluginCrashError: It crashed over it.
        """
        self._ask("preset", position, path)

    def state(self, position: int) -> bytes:
        """Return all that a plugin remembers.

        Raises:
            PluginLoadError: It is built in and has no state.
            PluginCrashError: It crashed over it.
        """
        return self._ask("state", position)

    def set_state(self, position: int, state: bytes) -> None:
        """Let a plugin remember what `state` gave.

        Raises:
            PluginLoadError: It refuses.
            PluginCrashError: It crashed over it.
        """
        self._ask("set_state", position, state)

    def reset(self) -> None:
        """Forget all audio, wait until a crash is mended, and give every plugin another chance."""
        self.wait()
        self._crashes.clear()
        self.reports.clear()
        self._late = self._silence(self.latency_samples)
        self._fed_samples = 0
        with contextlib.suppress(PluginCrashError):
            self._ask("reset", -1)

    def wait(self) -> None:
        """Return once no crash is being mended."""
        if self._starting is not None:
            self._starting.join()

    def close(self) -> None:
        """End the process; what it was doing is lost."""
        self.wait()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def _piece(self, block: Samples) -> Samples:
        before = self._late
        both = np.concatenate([before, block], axis=1)
        self._late, out = both[:, block.shape[1] :], both[:, : block.shape[1]].copy()
        worker, wet = self._worker, None
        if worker is not None:
            wet = self._through(worker, block, before)
        if (wet is not None) != self._was_wet:
            # No click where wet becomes dry or dry wet.
            now = out if wet is None else wet
            count = min(DECLICK_SAMPLES, block.shape[1])
            ramp = np.linspace(1, 0, count, dtype=np.float32)
            now[:, :count] += (self._last - now[:, :1]) * ramp
            self._was_wet = wet is not None
        out = out if wet is None else wet
        self._last = out[:, -1:].copy()
        self._fed_samples += block.shape[1]
        return out

    def _through(self, worker: "_Worker", block: Samples, before: Samples) -> Samples | None:
        try:
            if not worker.has_heard:
                # Else its delays would give the silence that they were filled with.
                for first in range(0, before.shape[1], MAX_BLOCK_SAMPLES):
                    piece = before[:, first : first + MAX_BLOCK_SAMPLES]
                    worker.process(piece, self._policy.patience_s)
            wet, faults = worker.process(block, self._policy.patience_s)
        except WorkerLostError as lost:
            self._lose(worker, lost)
            return None
        for position, reason in faults:
            self._report(position, reason)
        return wet

    def _ask(self, what: str, position: int, *given: object) -> Any:  # noqa: ANN401 - by order
        self.wait()
        if not -1 <= position < len(self._specs):
            limit = f"0 to {len(self._specs) - 1}"
            message = f"plugin {position} of the chain, there are {limit}"
            raise PluginLoadError(message, value=position, limit=limit)
        if self._worker is None:
            message = "the plugins' process has ended and could not be started again"
            raise PluginCrashError(message, value=position, limit="a running process")
        try:
            return self._worker.ask(what, position, *given, patience_s=START_SECONDS)
        except WorkerLostError as lost:
            name = self._lose(self._worker, lost)
            message = f"{name} {lost} when it was asked to {what}"
            raise PluginCrashError(message, value=name, limit="a plugin that lives") from lost

    def _lose(self, worker: "_Worker", lost: WorkerLostError) -> str:
        """Report who took the process away, and begin to mend it beside the audio."""
        position = max(0, worker.end())
        self._worker = None
        self._crashes[position] += 1
        again = self._crashes[position] <= self._policy.restarts
        self._report(position, f"{lost}; it is {'started again' if again else 'bypassed'}")
        self._starting = threading.Thread(target=self._mend, name="plugins start again")
        self._starting.start()
        return self._ready.names[position]

    def _mend(self) -> None:
        try:
            bypassed = {
                position: self._ready.latencies[position]
                for position, count in self._crashes.items()
                if count > self._policy.restarts
            }
            worker = _Worker(self._order(bypassed))
            for position, name, value in self._settings:
                if position not in bypassed:
                    worker.ask("set", position, {name: value}, patience_s=START_SECONDS)
        except PluginHostError as error:
            # Dry from now on, until somebody resets the chain.
            self._report(0, f"the chain could not be started again: {error}")
            return
        self._worker = worker

    def _order(self, bypassed: Mapping[int, int]) -> Order:
        return Order(
            specs=self._specs,
            sample_rate=self.sample_rate,
            layout=Layout(
                name=f"jukebox-bridge-{uuid4().hex[:12]}",
                num_channels=self.num_channels,
                max_samples=MAX_BLOCK_SAMPLES,
            ),
            bypassed=dict(bypassed),
        )

    def _report(self, position: int, reason: str) -> None:
        report = Report(
            plugin=self._ready.names[position],
            position=position,
            start_sample=self._fed_samples,
            reason=reason,
        )
        self.reports.append(report)

    def _silence(self, num_samples: int) -> Samples:
        return np.zeros((self.num_channels, num_samples), np.float32)


class _Worker:
    """One worker process and the memory shared with it."""

    def __init__(self, order: Order) -> None:
        self._audio = SharedAudio(order.layout, create=True)
        self._audio.working_position = -1
        self.has_heard = False
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=work, args=(theirs, order), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.ready: Ready = self._answer(START_SECONDS)
        except WorkerLostError as lost:
            position = self.end()
            name = order.specs[position].plugin if position >= 0 else "a plugin"
            message = f"{name} {lost} while it was loaded"
            raise PluginCrashError(message, value=name, limit="a plugin that loads") from lost
        except PluginHostError:
            self.end()
            raise

    def process(
        self, block: Samples, patience_s: float
    ) -> tuple[Samples, tuple[tuple[int, str], ...]]:
        self.has_heard = True
        self._audio.give(block)
        faults = self.ask("process", -1, block.shape[1], patience_s=patience_s)
        return self._audio.made(block.shape[1]), faults

    def ask(self, what: str, position: int, *given: object, patience_s: float) -> Any:  # noqa: ANN401 - by order
        try:
            self._pipe.send((what, position, given))
        except OSError as error:
            raise self._lost() from error
        return self._answer(patience_s)

    def end(self) -> int:
        """Return the place of the plugin that was at work, once the process is gone; -1 if none."""
        position = self._audio.working_position
        self._pipe.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join(JOIN_SECONDS)
        self._process.close()
        self._audio.close(forget=True)
        return position

    def _answer(self, patience_s: float) -> Any:  # noqa: ANN401 - by order
        try:
            if not self._pipe.poll(patience_s):
                raise WorkerLostError(
                    f"did not answer within {patience_s:g} s",
                    value="no answer",
                    limit=patience_s,
                    unit="s",
                )
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if isinstance(answer, PluginHostError):
            raise answer
        return answer

    def _lost(self) -> WorkerLostError:
        self._process.join(JOIN_SECONDS)
        code = self._process.exitcode
        message = f"ended its process with status {code}"
        if code is not None and code < 0:
            message = f"crashed with {signal.Signals(-code).name}"
        return WorkerLostError(message, value=code, limit="a process that lives")
