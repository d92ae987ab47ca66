"""How a server is set up: ports, folders, bounds.

Values only, checked once; knows no framework and reads no environment. The
folders of the user's desktop come from `platformdirs` when they are asked for.
Each field carries its `Setting`: its place in the file, its flag, its limits and
what it is for, so that file, flags, checks and documents say the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import platformdirs

from bridge.security import UNIX, Security, is_local
from bridge.settings import Kind, ListOf, OrOff, PathTo, Real, Setting, Switch, Text, Whole

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


def default_spool() -> Path:
    """Return the folder of results in the user's XDG state folder."""
    return platformdirs.user_state_path(APPLICATION) / "spool"


def default_config_file() -> Path:
    """Return the configuration file in the user's XDG configuration folder."""
    return platformdirs.user_config_path(APPLICATION) / "config.toml"


def default_midi_map() -> Path:
    """Return the map of pads and controllers in the user's XDG configuration folder."""
    return platformdirs.user_config_path(APPLICATION) / "midi.toml"


def _at(section: str, key: str, kind: Kind, does: str, flag: str = "") -> Mapping[str, Setting]:
    return Setting(section=section, key=key, kind=kind, does=does, flag=flag).metadata()


SECURITY_SETTINGS: Final[Mapping[str, Setting]] = {
    f"security.{key}": Setting(section="security", key=key, kind=kind, does=does, flag=flag)
    for key, kind, does, flag in (
        (
            "token_file",
            OrOff(PathTo("file")),
            "lines of a name and a token, mode 0600; with it every call must bring a token",
            "--token-file",
        ),
        (
            "certificate",
            OrOff(PathTo("file")),
            "PEM chain of the server; turns TLS on",
            "--tls-cert",
        ),
        (
            "private_key",
            OrOff(PathTo("file")),
            "PEM key of the certificate, mode 0600",
            "--tls-key",
        ),
        (
            "client_ca",
            OrOff(PathTo("file")),
            "PEM authority that must have signed every client's certificate",
            "--tls-client-ca",
        ),
        (
            "audit_file",
            OrOff(PathTo("file")),
            "one JSON line a remote call; off: they go to the log",
            "--audit-file",
        ),
        (
            "max_calls",
            Whole(1, 65_536, "calls"),
            "calls that one token may have open at once",
            "--max-calls-per-token",
        ),
        (
            "max_upload_bytes",
            Whole(1, 2**40, "bytes"),
            "audio that one token may have under way in all its calls",
            "",
        ),
    )
}
"""The settings of `Security`, by the path of their field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Where a server listens, where it writes, from where it may read, and how much it takes on.

    What a field is for stands in its `Setting`, and in `docs/configuration.md`.

    Raises:
        InvalidRequestError: A value outside its limits, which the text holds; or a host that
            other machines can reach, without TLS and tokens.
    """

    host: str = field(
        default=DEFAULT_HOST,
        metadata=_at(
            "server", "host", Text(means="loopback address"), "where gRPC listens", "--host"
        ),
    )
    port: int = field(
        default=DEFAULT_PORT,
        metadata=_at("server", "port", _PORT, "TCP port of gRPC; 0 takes a free one", "--port"),
    )
    drain_seconds: float = field(
        default=5.0,
        metadata=_at(
            "server",
            "drain_seconds",
            Real(0, 3600, "s"),
            "how long running requests may go on when the server is told to stop",
            "--drain-seconds",
        ),
    )
    osc_port: int | None = field(
        default=DEFAULT_OSC_PORT,
        metadata=_at(
            "osc", "port", OrOff(_PORT), "UDP port of OSC; 0 takes a free one", "--osc-port"
        ),
    )
    osc_tcp_port: int | None = field(
        default=None,
        metadata=_at(
            "osc", "tcp_port", OrOff(_PORT), "TCP port of OSC; 0 takes a free one", "--osc-tcp-port"
        ),
    )
    oscquery_port: int | None = field(
        default=None,
        metadata=_at(
            "osc",
            "query_port",
            OrOff(_PORT),
            "TCP port of OSCQuery, HTTP and WebSocket; 0 takes a free one",
            "--oscquery-port",
        ),
    )
    osc_announce: bool = field(
        default=False,
        metadata=_at(
            "osc", "announce", Switch(), "announce OSC and OSCQuery by zeroconf", "--osc-announce"
        ),
    )
    http_port: int | None = field(
        default=DEFAULT_HTTP_PORT,
        metadata=_at(
            "http",
            "port",
            OrOff(_PORT),
            "TCP port of /status, /metrics and /healthz, on loopback always; 0 takes a free one",
            "--http-port",
        ),
    )
    plugin_port: int | None = field(
        default=DEFAULT_PLUGIN_PORT,
        metadata=_at(
            "plugin",
            "port",
            OrOff(_PORT),
            "TCP port of the DAW plugin, on loopback always; 0 takes a free one",
            "--plugin-port",
        ),
    )
    security: Security = field(default_factory=Security)
    model: Path | None = field(
        default=None,
        metadata=_at(
            "model",
            "folder",
            OrOff(_FOLDER),
            "folder of weights; off: the model in the box",
            "--model",
        ),
    )
    beside: tuple[Path, ...] = field(
        default=(),
        metadata=_at(
            "model",
            "beside",
            ListOf(_FOLDER, 8),
            "folders of further models, such as adapted ones, that requests may name",
            "--beside",
        ),
    )
    precision: str = field(
        default="half",
        metadata=_at(
            "model",
            "precision",
            Text(words=("half", "bfloat16", "float32")),
            "what an imported model's maps are held in; float32 needs twice the memory",
            "--precision",
        ),
    )
    workers: int = field(
        default=0,
        metadata=_at(
            "model",
            "workers",
            Whole(0, 64, "processes"),
            "processes that hold the model, each all of it; 0: the server's own. A process that "
            "dies is started again and its requests go on",
            "--workers",
        ),
    )
    engine: str = field(
        default="local",
        metadata=_at(
            "model",
            "engine",
            Text(words=("local", "ray")),
            "where the model's processes are: on this machine, or actors of a Ray cluster",
            "--engine",
        ),
    )
    ray_address: str = field(
        default="auto",
        metadata=_at(
            "model",
            "ray_address",
            Text(means="address"),
            "Ray's head, such as 10.0.0.5:6379; auto: the one this machine belongs to; local: a "
            "new one on this machine",
            "--address",
        ),
    )
    spool: Path = field(
        default_factory=default_spool,
        metadata=_at("files", "spool", _FOLDER, "folder that results are written into", "--spool"),
    )
    allowed: tuple[Path, ...] = field(
        default=(),
        metadata=_at(
            "files",
            "allowed",
            ListOf(_FOLDER, 64),
            "further folders that OSC clients may name files in",
            "--allow-path",
        ),
    )
    max_jobs: int = field(
        default=4,
        metadata=_at(
            "limits",
            "jobs",
            Whole(1, 256, "jobs"),
            "requests that run beside each other",
            "--max-jobs",
        ),
    )
    max_live: int = field(
        default=2,
        metadata=_at(
            "limits", "live_jobs", Whole(1, 256, "jobs"), "live requests that run beside those"
        ),
    )
    max_queued: int = field(
        default=64,
        metadata=_at(
            "limits",
            "queued_jobs",
            Whole(0, 65_536, "jobs"),
            "requests that wait to begin; more are refused with a time to try again",
            "--max-queued",
        ),
    )
    max_client_jobs: int = field(
        default=64,
        metadata=_at(
            "limits", "client_jobs", Whole(1, 65_536, "jobs"), "of one client that run or wait"
        ),
    )
    max_held_bytes: int = field(
        default=512 * 1024**2,
        metadata=_at(
            "limits",
            "held_bytes",
            Whole(2**20, 2**40, "bytes"),
            "audio in the requests that run or wait",
        ),
    )
    checkpoint_seconds: float = field(
        default=2.0,
        metadata=_at(
            "limits",
            "checkpoint_seconds",
            Real(0, 3600, "s"),
            "a running job is written down so often, to go on from there after a crash",
        ),
    )
    cache_bytes: int = field(
        default=128 * 1024**2,
        metadata=_at(
            "limits",
            "cache_bytes",
            Whole(0, 2**40, "bytes"),
            "memory for what the model has heard of primes; 0 switches caches off, and equal "
            "requests are computed again",
        ),
    )
    max_events: int = field(
        default=64,
        metadata=_at(
            "limits",
            "events",
            Whole(1, 65_536, "events"),
            "events of a request that wait for their reader before its work pauses",
        ),
    )
    store_bytes: int = field(
        default=16 * 1024**3,
        metadata=_at(
            "store",
            "bytes",
            Whole(2**20, 2**50, "bytes"),
            "codes and requests of takes; at the limit rejected takes go, then the oldest, never "
            "one that is kept, departed from, or younger than an hour",
        ),
    )
    store_takes: int = field(
        default=100_000,
        metadata=_at("store", "takes", Whole(1, 10**7, "takes"), "likewise, in number"),
    )
    store_jobs: int = field(
        default=10_000,
        metadata=_at("store", "jobs", Whole(1, 10**7, "jobs"), "ended jobs that are remembered"),
    )
    midi_inputs: tuple[str, ...] = field(
        default=(),
        metadata=_at(
            "midi",
            "inputs",
            ListOf(Text(means="part of a port's name, virtual:NAME, or file:PATH"), 16),
            "ports that are listened to; `jukebox-bridge midi ports` lists them",
            "--midi-in",
        ),
    )
    midi_map: Path = field(
        default_factory=default_midi_map,
        metadata=_at(
            "midi", "map", PathTo("file"), "what pads and controllers do, and presets", "--midi-map"
        ),
    )
    midi_quirk: str = field(
        default="none",
        metadata=_at(
            "midi",
            "quirk",
            Text(words=("none", "ardour7")),
            "the host whose oddities the clock follows (ardour7: its song position is 6x too far)",
            "--midi-quirk",
        ),
    )
    log_level: str = field(
        default="warning",
        metadata=_at(
            "log",
            "level",
            Text(words=LOG_LEVELS),
            "the least that is written to stderr",
            "--log-level",
        ),
    )
    log_format: str = field(
        default="text",
        metadata=_at(
            "log",
            "format",
            Text(words=LOG_FORMATS),
            "lines for people, or one JSON object a line",
            "--log-format",
        ),
    )

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
    """Return the configuration of a server that one process starts for itself: gRPC alone."""
    return ServerConfig(
        port=0,
        osc_port=None,
        http_port=None,
        plugin_port=None,
        spool=spool or default_spool(),
        model=model,
    )


def settings() -> Mapping[str, Setting]:
    """Return the settings by the path of their field, in the order of the file."""
    table: dict[str, Setting] = {}
    for item in fields(ServerConfig):
        if item.name == "security":
            table |= SECURITY_SETTINGS
        else:
            table[item.name] = item.metadata["setting"]
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
    own = {name: value for name, value in values.items() if name not in SECURITY_SETTINGS}
    locks = {
        name.removeprefix("security."): value
        for name, value in values.items()
        if name in SECURITY_SETTINGS
    }
    return ServerConfig(**own, security=Security(**locks))
