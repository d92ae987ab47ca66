"""The server as a whole: an engine, the wires that lead to it, and their start and stop.

It listens at once and says NOT_SERVING while a thread loads and warms the model.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bridge.app.door import Load, TranslatedGenerator, shipped_model
from bridge.app.limits import calls_at_once, engine_limits, live_room, midi_settings, store_limits
from bridge.app.places import end_model, placed
from bridge.app.telling import gathered, midi_words
from bridge.config import ServerConfig
from bridge.engine import Engine
from bridge.errors import NotFoundError, NotReadyError, StoppingError
from bridge.grpc_service import GrpcServer
from bridge.midi.service import MidiServer
from bridge.model_info import ModelInfo
from bridge.osc.server import OscPorts, OscServer, OscSettings
from bridge.plugin_service import PluginServer
from bridge.ports import Generator as ModelGenerator
from bridge.security import read_keyring
from bridge.shelf import ShelvedModel
from bridge.sockets import target_of
from bridge.status import SERVING, ServerStatus
from bridge.store import StoreLimits, TakeStore

if TYPE_CHECKING:
    from bridge.http_service import HttpServer

SWITCH_SECONDS: Final = 5e-5
"""A thread that waits for the interpreter asks for it after so long. Python's own 5 ms are waited
after each layer of a network while another thread is busy with Python: live loops came late. It
holds for the whole process, and stays."""

log = logging.getLogger(__name__)


class App:
    """One server: an engine, and the wires that lead to it."""

    def __init__(
        self,
        config: ServerConfig,
        load: Load,
        *,
        beside: Sequence[Load] = (),
        resumes: bool = True,
    ) -> None:
        """Prepare to listen.

        Args:
            config: How the server is set up.
            load: Returns the model.
            beside: Return further models, served under their own names.
            resumes: Whether jobs of servers that died on the same spool go on here.
        """
        self._resumes = resumes
        self._config = config
        self._engine: Engine[Any] | None = None
        self._places = [_Place(load=one) for one in (load, *beside)]
        self._store: TakeStore | None = None
        self._grpc = GrpcServer(self.engine, shelf=self, security=config.security)
        self._osc = OscServer(self.engine, config.readable_folders())
        self._midi = MidiServer(self.engine)
        token_file = config.security.token_file
        self._plugins = PluginServer(
            self.engine, lambda: None if token_file is None else read_keyring(token_file)
        )
        self._http: HttpServer | None = None
        self._loading: asyncio.Task[None] | None = None
        self._stopping = False
        self._started_s = time.time()
        self.port = 0
        self.osc_ports = OscPorts()
        self.http_port: int | None = None
        self.plugin_port: int | None = None

    @property
    def osc_port(self) -> int | None:
        """Return the UDP port of OSC, None where there is none."""
        return self.osc_ports.udp

    @property
    def address(self) -> str:
        """Return where gRPC clients connect to."""
        return target_of(self._config.host, self.port)

    def engine(self) -> Engine[Any]:
        """Return the warm engine.

        Raises:
            NotReadyError: The model is still loading.
            StoppingError: The server goes away.
        """
        if self._stopping:
            raise StoppingError("the server is stopping and takes no more requests")
        first = self._places[0].info
        if self._engine is None and first is not None:
            raise NotReadyError(f"the model {first.name} is not loaded; LoadModel loads it")
        if self._engine is None or not self._engine.ready:
            raise NotReadyError("the model is still loading; ask again when health says SERVING")
        return self._engine

    async def listen(self) -> None:
        """Open the ports and begin to load the model.

        Raises:
            BusyError: A port is in use.
            NotReadyError: The spool cannot be written, or a port is refused.
        """
        config = self._config
        self._store = open_store(config.spool, store_limits(config))
        self.port = await self._grpc.start(config.host, config.port)
        self.osc_ports = await self._osc.start(_osc_settings(config))
        if config.http_port is not None:
            self.http_port = await self._listen_http(config.local_host(), config.http_port)
        if config.plugin_port is not None:
            self.plugin_port = await self._plugins.start(config.local_host(), config.plugin_port)
        if config.midi_inputs:
            await self._midi.start(midi_settings(config))
        self._loading = self._begin_loading(self._store)

    async def serve(self) -> None:
        """Return once requests are taken.

        Raises:
            NotReadyError: The model cannot be loaded.
        """
        assert self._loading is not None, "listen() comes first"
        await asyncio.shield(self._loading)
        await self._grpc.serve([model.info.name for model in self.models()])

    async def status(self) -> ServerStatus:
        """Return what the server tells of itself."""
        wires = {"gRPC": self.address}
        for name, port in self.osc_ports.named():
            wires[name] = f"{self._config.local_host()}:{port}"
        if self.plugin_port is not None:
            place = target_of(self._config.local_host(), self.plugin_port)
            wires["plugin"] = f"{place}, {self._plugins.num_plugins} connected"
        if self._config.midi_inputs:
            wires["MIDI"] = midi_words(self._midi.status())
        state = self._state()
        engine = self._engine if state == SERVING else None
        return await gathered(state, self._started_s, wires, engine)

    def models(self) -> tuple[ShelvedModel, ...]:
        """Return the models that there are, the one meant where none is named first.

        Raises:
            NotReadyError: They have not been loaded yet, so that not even names are known.
        """
        known = [(place.info, place.generator) for place in self._places if place.info is not None]
        if not known:
            raise NotReadyError("the model is still loading; ask again when health says SERVING")
        return tuple(
            ShelvedModel(info=info, loaded=generator is not None) for info, generator in known
        )

    async def load_model(self, name: str) -> ShelvedModel:
        """Return the model of this name, once it serves; where none serves, all are loaded.

        Raises:
            NotFoundError: No model has this name.
            NotReadyError: It cannot be loaded.
        """
        while not self._named(name).loaded:
            await self._load_again(self._named(name).info.name)
            await self._grpc.serve([model.info.name for model in self.models() if model.loaded])
        return self._named(name)

    async def unload_model(self, name: str) -> ShelvedModel:
        """Return the model of this name, once its jobs have ended and its memory is free.

        Those beside it go with the first one.

        Raises:
            NotFoundError: No model has this name.
        """
        model, engine = self._named(name), self._engine
        if engine is not None and model.loaded:
            if model.info.name == engine.info.name:
                self._engine = None
                await self._grpc.unserve([one.info.name for one in self.models()], everything=True)
                await engine.idle()
                await engine.close()
                gone = self._places
            else:
                await self._grpc.unserve([model.info.name])
                await engine.remove(model.info.name)
                gone = [self._place(model.info.name)]
            await asyncio.to_thread(_end, gone)
        return self._named(name)

    def _named(self, name: str) -> ShelvedModel:
        models = self.models()
        for model in models:
            if name in ("", model.info.name):
                return model
        known = ", ".join(model.info.name for model in models)
        raise NotFoundError(f"no model is named {name[:80]!r}; known: {known}")

    def _place(self, name: str) -> "_Place":
        return next(one for one in self._places if one.info is not None and one.info.name == name)

    def _state(self) -> str:
        if self._stopping:
            return "stopping"
        if self._engine is None and self._places[0].info is not None:
            return "unloaded"
        return SERVING if self._engine is not None and self._engine.ready else "loading"

    async def _listen_http(self, host: str, port: int) -> int:
        # Here, not above: it takes half a second, and a server of one process has no HTTP.
        from bridge.http_service import HttpServer

        self._http = HttpServer(self.status, self._state)
        return await self._http.start(host, port)

    def _begin_loading(self, store: TakeStore) -> asyncio.Task[None]:
        return asyncio.create_task(self._load_and_warm(store), name="load the model")

    async def stop(self) -> None:
        """Take no more requests, let running ones end for a while, then stop everything."""
        self._stopping = True
        drain_seconds = self._config.drain_seconds
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        stops = [wire.stop(drain_seconds) for wire in (self._grpc, self._osc, self._midi)]
        stops.append(self._plugins.stop())
        if self._engine is not None:
            stops.append(self._engine.drain(drain_seconds))
        await asyncio.gather(*stops)
        if self._http is not None:
            await self._http.stop()
        if self._engine is not None:
            await self._engine.close()
        await asyncio.to_thread(_end, self._places)
        if self._store is not None:
            self._store.close()

    async def _load_again(self, name: str) -> None:
        """Return once a model is loaded, or whatever was being loaded is."""
        if self._loading is None or self._loading.done():
            assert self._store is not None, "listen() comes first"
            self._loading = (
                self._begin_loading(self._store)
                if self._engine is None
                else asyncio.create_task(self._load_beside(name), name="load a model")
            )
        await asyncio.shield(self._loading)

    async def _load_beside(self, name: str) -> None:
        place, engine = self._place(name), self.engine()
        generator = await asyncio.to_thread(place.load)
        await engine.add(TranslatedGenerator(generator))
        place.generator = generator

    async def _load_and_warm(self, store: TakeStore) -> None:
        started_s = time.monotonic()
        for place in self._places:
            place.generator = await asyncio.to_thread(place.load)
        generators = [place.generator for place in self._places if place.generator is not None]
        streams = all(generator.info.streams for generator in generators)
        cores = len(os.sched_getaffinity(0))
        lanes = calls_at_once(self._config, cores, streams=streams)
        limits = engine_limits(self._config, lanes)
        if not streams:
            # One level's weights at a time: two jobs would load them in turns.
            limits = replace(limits, max_jobs=1)
        engine = Engine(
            TranslatedGenerator(generators[0]),
            store=store,
            clock=time.monotonic,
            limits=limits,
            live_room=live_room(self._config, cores, lanes),
        )
        self._engine = engine
        for generator in generators[1:]:
            await engine.add(TranslatedGenerator(generator))
        await asyncio.to_thread(store.tidy)
        if self._resumes:
            # Before anybody can ask: a key must find its job.
            resumed = await engine.resume()
            log.info("%d unfinished jobs were taken up again", resumed)
        await engine.warm_up()
        for place, info in zip(self._places, engine.infos, strict=True):
            place.info = info
        log.info("the models were ready after %.1f s", time.monotonic() - started_s)


@dataclass(slots=True)
class _Place:
    """Where a model is on the shelf; its name is known once it was loaded."""

    load: Load
    generator: ModelGenerator[Any] | None = None
    info: ModelInfo | None = None


def _end(places: Sequence[_Place]) -> None:
    """Free the memory of models; the replicas of some end."""
    for place in places:
        end_model(place.generator)
        place.generator = None


@asynccontextmanager
async def running(
    config: ServerConfig, load: Load | None = None, *, resumes: bool = True
) -> AsyncGenerator[App]:
    """Yield a listening server that loads its model; `App.serve` waits for that.

    Raises:
        BusyError: A port is in use.
        NotReadyError: The spool cannot be written, or a port is refused.
    """
    folders = (config.model, *config.beside)
    loads = [placed(config, shipped_model(folder, config.precision)) for folder in folders]
    app = App(config, load or loads[0], beside=loads[1:], resumes=resumes)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        await app.listen()
        yield app
    finally:
        await app.stop()


def _osc_settings(config: ServerConfig) -> OscSettings:
    return OscSettings(
        host=config.local_host(),
        udp_port=config.osc_port,
        tcp_port=config.osc_tcp_port,
        query_port=config.oscquery_port,
        announce=config.osc_announce,
    )


def open_store(spool: Path, limits: StoreLimits | None = None) -> TakeStore:
    """Return the store of takes in the spool.

    Raises:
        NotReadyError: The folder cannot be made or written.
    """
    try:
        return TakeStore(spool, limits)
    except OSError as error:
        raise NotReadyError(
            f"the spool folder {spool} cannot be used: {error.strerror}; choose one with --spool"
        ) from error
