"""The worker process: loads a chain on its main thread and does what it is told.

Says in shared memory which plugin is at work, so that the other side knows whom to
blame. Whatever a plugin does wrong ends here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from plugin_host.chain import Chain
from plugin_host.errors import PluginHostError
from plugin_host.loader import (
    LoadedPlugin,
    PluginSpec,
    Samples,
    load_plugin,
    load_preset,
    set_parameters,
    set_state,
    state_of,
)
from plugin_host.parameters import Parameter
from plugin_host.shared_audio import Layout, SharedAudio


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a worker process shall load.

    Attributes:
        specs: The plugins, in order.
        sample_rate: In Hz.
        layout: Of the shared memory.
        bypassed: Latency in samples of the plugins that are only to delay, by place.
    """

    specs: tuple[PluginSpec, ...]
    sample_rate: int
    layout: Layout
    bypassed: dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What was loaded, plugin by plugin."""

    names: tuple[str, ...]
    latencies: tuple[int, ...]
    parameters: tuple[tuple[Parameter, ...], ...]


class Delay:
    """A plugin that only delays: what stays of one that is bypassed."""

    def __init__(self, delay_samples: int) -> None:
        self._delay_samples = delay_samples
        self._held: Samples | None = None

    def process(
        self, input_array: Samples, sample_rate: float, buffer_size: int, reset: bool
    ) -> Samples:
        """Return the block late; the first ones are short by as much, as pedalboard's are."""
        del sample_rate, buffer_size, reset
        held = input_array[:, :0] if self._held is None else self._held
        both = np.concatenate([held, input_array], axis=1)
        ready = max(0, both.shape[1] - self._delay_samples)
        self._held = both[:, ready:]
        return both[:, :ready]

    def reset(self) -> None:
        """Forget all audio."""
        self._held = None


def work(pipe: Connection, order: Order) -> None:
    """Load, then answer orders until the other side goes away: a process's main function."""
    audio = SharedAudio(order.layout, create=False)
    try:
        desk = _Desk(order, audio)
    except PluginHostError as error:
        pipe.send(error)
        return
    pipe.send(desk.ready)
    while True:
        try:
            what, position, given = pipe.recv()
        except (EOFError, OSError):
            return
        audio.working_position = position
        try:
            answer = desk.answer(what, position, *given)
        except PluginHostError as error:
            answer = error
        audio.working_position = -1
        pipe.send(answer)


class _Desk:
    """The chain and what can be asked of it."""

    def __init__(self, order: Order, audio: SharedAudio) -> None:
        self._audio = audio
        self._sample_rate = order.sample_rate
        self._plugins = tuple(self._loaded(order))

        def watch(position: int) -> None:
            audio.working_position = position

        self._chain = Chain(
            self._plugins,
            sample_rate=order.sample_rate,
            num_channels=order.layout.num_channels,
            watch=watch,
        )
        self._num_told = 0
        self.ready = Ready(
            names=tuple(plugin.name for plugin in self._plugins),
            latencies=self._chain.latencies,
            parameters=tuple(plugin.parameters for plugin in self._plugins),
        )

    def answer(self, what: str, position: int, *given: Any) -> Any:  # noqa: ANN401 - by order
        """Return what an order gives.

        Raises:
            PluginHostError: What the plugin or its loader refuses.
        """
        match what:
            case "process":
                return self._process(*given)
            case "set":
                return set_parameters(self._plugins[position], given[0], self._sample_rate)
            case "preset":
                return load_preset(self._plugins[position], *given)
            case "state":
                return state_of(self._plugins[position])
            case "set_state":
                return set_state(self._plugins[position], *given)
            case _:
                self._chain.reset()
                self._num_told = 0
                return None

    def _process(self, num_samples: int) -> tuple[tuple[int, str], ...]:
        self._audio.make(self._chain.process(self._audio.given(num_samples)))
        news = self._chain.reports[self._num_told :]
        self._num_told += len(news)
        return tuple((report.position, f"{report.reason}; it is bypassed") for report in news)

    def _loaded(self, order: Order) -> Iterator[LoadedPlugin]:
        for position, spec in enumerate(order.specs):
            self._audio.working_position = position
            if position in order.bypassed:
                yield LoadedPlugin(name=spec.plugin, plugin=Delay(order.bypassed[position]))
            else:
                yield load_plugin(spec, sample_rate=order.sample_rate)
        self._audio.working_position = -1
