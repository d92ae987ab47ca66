"""How a server is set up: ports, folders, bounds.

Values only, checked once; knows no framework and reads no environment. The
folders of the user's desktop come from `platformdirs` when they are asked for.
Each field is annotated with its `Setting`: its place in the file, its flag, its limits and
what it is for, so that file, flags, checks and documents say the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Final

import platformdirs

from bridge.security import UNIX, Security, is_local
from bridge.settings import (
    ListOf,
    OrOff,
    PathTo,
    Real,
    Setting,
    Switch,
    Text,
    Whole,
    settings_of,
)

APPLICATION = "jukebox-bridge"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7171
DEFAULT_OSC_PORT = 7172
DEFAULT_HTTP_PORT = 7173
DEFAULT_OSCQUERY_PORT = 7174
DEFAULT_PLUGIN_PORT = 7175
LAST_PORT = 65_535
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")

_PORT = Whole(0, LAST_PORT)
_FOLDER = PathTo("folder")
_LOCKS: Final = "security."


def default_spool() -> Path:
    """Return the folder of results in the user's XDG state folder."""
    return platformdirs.user_state_path(APPLICATION) / "spool"


def default_config_file() -> Path:
    """Return the configuration file in the user's XDG configuration folder."""
    return platformdirs.user_config_path(APPLICATION) / "config.toml"


def default_midi_map() -> Path:
    """Return the map of pads and controllers in the user's XDG configuration folder."""
    return platformdirs.user_config_path(APPLICATION) / "midi.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Where a server listens, where it writes, from where it may read, and how much it takes on.

    What a field is for stands in its `Setting`, and in `docs/configuration.md`.

    Raises:
        InvalidRequestError: A value outside its limits, which the text holds; or a host that
            other machines can reach, without TLS and tokens.
    """

    host: Annotated[
        str, Setting("server.host", Text(means="loopback address"), "where gRPC listens", "--host")
    ] = DEFAULT_HOST
    port: Annotated[
        int, Setting("server.port", _PORT, "TCP port of gRPC; 0 takes a free one", "--port")
    ] = DEFAULT_PORT
    drain_seconds: Annotated[
        float,
        Setting(
            "server.drain_seconds",
            Real(0, 3600, "s"),
            "how long running requests may go on when the server is told to stop",
            "--drain-seconds",
        ),
    ] = 5.0
    osc_port: Annotated[
        int | None,
        Setting("osc.port", OrOff(_PORT), "UDP port of OSC; 0 takes a free one", "--osc-port"),
    ] = DEFAULT_OSC_PORT
    osc_tcp_port: Annotated[
        int | None,
        Setting(
            "osc.tcp_port", OrOff(_PORT), "TCP port of OSC; 0 takes a free one", "--osc-tcp-port"
        ),
    ] = None
    oscquery_port: Annotated[
        int | None,
        Setting(
            "osc.query_port",
            OrOff(_PORT),
            "TCP port of OSCQuery, HTTP and WebSocket; 0 takes a free one",
            "--oscquery-port",
        ),
    ] = None
    osc_announce: Annotated[
        bool,
        Setting(
            "osc.announce", Switch(), "announce OSC and OSCQuery by zeroconf", "--osc-announce"
        ),
    ] = False
    http_port: Annotated[
        int | None,
        Setting(
            "http.port",
            OrOff(_PORT),
            "TCP port of /status, /metrics and /healthz, on loopback always; 0 takes a free one",
            "--http-port",
        ),
    ] = DEFAULT_HTTP_PORT
    plugin_port: Annotated[
        int | None,
        Setting(
            "plugin.port",
            OrOff(_PORT),
            "TCP port of the DAW plugin, on loopback always; 0 takes a free one",
            "--plugin-port",
        ),
    ] = DEFAULT_PLUGIN_PORT
    security: Security = field(default_factory=Security)
    model: Annotated[
        Path | None,
        Setting(
            "model.folder",
            OrOff(_FOLDER),
            "folder of weights; off: the model in the box",
            "--model",
        ),
    ] = None
    beside: Annotated[
        tuple[Path, ...],
        Setting(
            "model.beside",
            ListOf(_FOLDER, 8),
            "folders of further models, such as adapted ones, that requests may name",
            "--beside",
        ),
    ] = ()
    precision: Annotated[
        str,
        Setting(
            "model.precision",
            Text(words=("half", "bfloat16", "float32")),
            "what an imported model's maps are held in; float32 needs twice the memory",
            "--precision",
        ),
    ] = "half"
    workers: Annotated[
        int,
        Setting(
            "model.workers",
            Whole(0, 64, "processes"),
            "processes that hold the model, each all of it; 0: the server's own. A process that "
            "dies is started again and its requests go on",
            "--workers",
        ),
    ] = 0
    threads: Annotated[
        int,
        Setting(
            "model.threads",
            Whole(0, 64, "threads"),
            "calls of the model at once in the server's own process; 0: one a core, at most 4",
        ),
    ] = 0
    engine: Annotated[
        str,
        Setting(
            "model.engine",
            Text(words=("local", "ray")),
            "where the model's processes are: on this machine, or actors of a Ray cluster",
            "--engine",
        ),
    ] = "local"
    ray_address: Annotated[
        str,
        Setting(
            "model.ray_address",
            Text(means="address"),
            "Ray's head, such as 10.0.0.5:6379; auto: the one this machine belongs to; local: a "
            "new one on this machine",
            "--address",
        ),
    ] = "auto"
    spool: Annotated[
        Path, Setting("files.spool", _FOLDER, "folder that results are written into", "--spool")
    ] = field(default_factory=default_spool)
    allowed: Annotated[
        tuple[Path, ...],
        Setting(
            "files.allowed",
            ListOf(_FOLDER, 64),
            "further folders that OSC clients may name files in",
            "--allow-path",
        ),
    ] = ()
    max_jobs: Annotated[
        int,
        Setting(
            "limits.jobs",
            Whole(1, 256, "jobs"),
            "requests that run beside each other",
            "--max-jobs",
        ),
    ] = 4
    max_live: Annotated[
        int,
        Setting("limits.live_jobs", Whole(1, 256, "jobs"), "live requests that run beside those"),
    ] = 4
    live_share: Annotated[
        float,
        Setting(
            "limits.live_share",
            Real(0, 64),
            "share of the cores, and of the model's time, that live sessions and their loops may "
            "take, as measured; one more is refused with a time to try again. 0: none is refused",
            "--live-share",
        ),
    ] = 0.75
    max_queued: Annotated[
        int,
        Setting(
            "limits.queued_jobs",
            Whole(0, 65_536, "jobs"),
            "requests that wait to begin; more are refused with a time to try again",
            "--max-queued",
        ),
    ] = 64
    max_client_jobs: Annotated[
        int,
        Setting("limits.client_jobs", Whole(1, 65_536, "jobs"), "of one client that run or wait"),
    ] = 64
    max_held_bytes: Annotated[
        int,
        Setting(
            "limits.held_bytes",
            Whole(2**20, 2**40, "bytes"),
            "audio in the requests that run or wait",
        ),
    ] = 512 * 1024**2
    checkpoint_seconds: Annotated[
        float,
        Setting(
            "limits.checkpoint_seconds",
            Real(0, 3600, "s"),
            "a running job is written down so often, to go on from there after a crash",
        ),
    ] = 2.0
    cache_bytes: Annotated[
        int,
        Setting(
            "limits.cache_bytes",
            Whole(0, 2**40, "bytes"),
            "memory for what the model has heard of primes; 0 switches caches off, and equal "
            "requests are computed again",
        ),
    ] = 128 * 1024**2
    max_events: Annotated[
        int,
        Setting(
            "limits.events",
            Whole(1, 65_536, "events"),
            "events of a request that wait for their reader before its work pauses",
        ),
    ] = 64
    store_bytes: Annotated[
        int,
        Setting(
            "store.bytes",
            Whole(2**20, 2**50, "bytes"),
            "codes and requests of takes; at the limit rejected takes go, then the oldest, never "
            "one that is kept, departed from, or younger than an hour",
        ),
    ] = 16 * 1024**3
    store_takes: Annotated[
        int, Setting("store.takes", Whole(1, 10**7, "takes"), "likewise, in number")
    ] = 100_000
    store_jobs: Annotated[
        int, Setting("store.jobs", Whole(1, 10**7, "jobs"), "ended jobs that are remembered")
    ] = 10_000
    midi_inputs: Annotated[
        tuple[str, ...],
        Setting(
            "midi.inputs",
            ListOf(Text(means="part of a port's name, virtual:NAME, or file:PATH"), 16),
            "ports that are listened to; `jukebox-bridge midi ports` lists them",
            "--midi-in",
        ),
    ] = ()
    midi_map: Annotated[
        Path,
        Setting(
            "midi.map", PathTo("file"), "what pads and controllers do, and presets", "--midi-map"
        ),
    ] = field(default_factory=default_midi_map)
    midi_quirk: Annotated[
        str,
        Setting(
            "midi.quirk",
            Text(words=("none", "ardour7")),
            "the host whose oddities the clock follows (ardour7: its song position is 6x too far)",
            "--midi-quirk",
        ),
    ] = "none"
    log_level: Annotated[
        str,
        Setting(
            "log.level",
            Text(words=LOG_LEVELS),
            "the least that is written to stderr",
            "--log-level",
        ),
    ] = "warning"
    log_format: Annotated[
        str,
        Setting(
            "log.format",
            Text(words=LOG_FORMATS),
            "lines for people, or one JSON object a line",
            "--log-format",
        ),
    ] = "text"

    def __post_init__(self) -> None:
        """Refuse what cannot be served."""
        for name, setting in settings().items():
            setting.kind.check(value_of(self, name), setting.name)
        self.security.check_bind(self.host)

    def readable_folders(self) -> tuple[Path, ...]:
        """Return the folders, links resolved, that a wire may name files in."""
        return tuple(folder.resolve() for folder in (self.spool, *self.allowed))

    def local_host(self) -> str:
        """Return where the wires without TLS and tokens listen: loopback, whatever the host."""
        on_tcp = is_local(self.host) and not self.host.startswith(UNIX)
        return self.host if on_tcp else DEFAULT_HOST


def private_config(spool: Path | None = None, model: Path | None = None) -> ServerConfig:
    """Return the configuration of a server that one process starts for itself: gRPC alone.

    It refuses no live session: who asks is who would be refused.
    """
    return ServerConfig(
        port=0,
        osc_port=None,
        http_port=None,
        plugin_port=None,
        spool=spool or default_spool(),
        model=model,
        live_share=0.0,
    )


def settings() -> Mapping[str, Setting]:
    """Return the settings by the path of their field, in the order of the file."""
    own, table = settings_of(ServerConfig), dict[str, Setting]()
    for item in fields(ServerConfig):
        if item.name == "security":
            locks = settings_of(Security).items()
            table |= {f"{_LOCKS}{name}": setting for name, setting in locks}
        else:
            table[item.name] = own[item.name]
    return table


def value_of(config: ServerConfig, name: str) -> Any:  # noqa: ANN401 - by setting
    """Return the value of the setting whose field has this path."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def built(values: Mapping[str, Any]) -> ServerConfig:
    """Return the configuration of values by the path of their field; the rest has its default.

    Raises:
        InvalidRequestError: A value outside its limits.
    """
    own = {name: value for name, value in values.items() if not name.startswith(_LOCKS)}
    locks = {
        name.removeprefix(_LOCKS): value
        for name, value in values.items()
        if name.startswith(_LOCKS)
    }
    return ServerConfig(**own, security=Security(**locks))
