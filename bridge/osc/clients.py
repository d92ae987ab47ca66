"""What clients leave with the server: their session's values, and what they listen to.

Three scopes of properties: `session` belongs to one client, `default` to all
(what a session has until it sets its own), `server` only tells. Clients and
their listening are bounded and expire. Knows no socket: whoever listens is a
`Peer`.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from bridge.errors import BusyError
from bridge.osc import values
from bridge.osc.values import Kind, Parameter
from bridge.ports import Plan, Quality, StemKind

MAX_CLIENTS: Final = 256
CLIENT_SECONDS: Final = 600.0
"""After so long without a message a client over UDP is forgotten."""
LISTEN_SECONDS: Final = 60.0
"""After so long listening over UDP ends, unless `start_listen` came again."""
MAX_LISTENING: Final = 1_024
"""Properties listened to by all clients together."""


class Peer(Protocol):
    """Who sent a packet, and the way back."""

    @property
    def key(self) -> str:
        """Return the client's name: transport, host and port."""
        ...

    @property
    def host(self) -> str:
        """Return the host alone, the same for all of its ports."""
        ...

    @property
    def connected(self) -> bool:
        """Return whether the transport says when the client goes (TCP, WebSocket)."""
        ...

    def send(self, packet: bytes, port: int = 0) -> None:
        """Send a packet back; over UDP to another port of the host, if one is given."""
        ...


class Scope(StrEnum):
    """Whose a property is."""

    SESSION = "session"
    DEFAULT = "default"
    SERVER = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """A value that clients may get and, unless the server alone knows it, set.

    Attributes:
        parameter: Its name, type, unit and range.
        default: Its value until one is set; None leaves the choice open.
    """

    parameter: Parameter
    default: Any = None

    @property
    def name(self) -> str:
        """Return its name."""
        return self.parameter.name


_PLAN: Final = Plan(seed=0)
SETTABLE: Final = (
    Property(parameter=values.TEMPO, default=120),
    Property(parameter=values.METER, default="4/4"),
    Property(parameter=values.BARS, default=4),
    Property(parameter=values.MODEL, default=""),
    Property(parameter=values.ARTIST, default=""),
    Property(parameter=values.GENRE, default=""),
    Property(parameter=values.TARGET, default=str(StemKind.MIX)),
    Property(parameter=values.QUALITY, default=str(Quality.FAST)),
    Property(parameter=values.TEMPERATURE, default=_PLAN.temperature),
    Property(parameter=values.TOP_P, default=_PLAN.top_p),
    Property(parameter=values.TOP_K, default=_PLAN.top_k),
    Property(parameter=values.GUIDANCE, default=_PLAN.guidance),
    Property(parameter=values.PASSES, default=_PLAN.passes),
    Property(parameter=values.REPRISE, default=_PLAN.reprise),
    Property(parameter=values.VARIATION, default=_PLAN.variation),
    Property(parameter=values.SEED),
    Property(
        parameter=values.flag("seed_lock", "take `seed` again, not a new one, where none is given"),
        default=False,
    ),
)
"""Properties of the scopes `session` and `default`; an empty text sets the default again."""

TOLD: Final = (
    Property(parameter=values.word("state", "of the model", ("SERVING", "NOT_SERVING"))),
    Property(parameter=values.text("loaded_model", "name of the model")),
    Property(parameter=Parameter(name="running_jobs", kind=Kind.WHOLE, does="jobs under way")),
    Property(parameter=Parameter(name="queued_jobs", kind=Kind.WHOLE, does="wait for their turn")),
    Property(parameter=Parameter(name="done_jobs", kind=Kind.WHOLE, does="ended well")),
    Property(parameter=Parameter(name="failed_jobs", kind=Kind.WHOLE, does="ended badly")),
    Property(parameter=Parameter(name="cancelled_jobs", kind=Kind.WHOLE, does="were cancelled")),
    Property(parameter=Parameter(name="waiting_bundles", kind=Kind.WHOLE, does="not yet due")),
    Property(parameter=Parameter(name="clients", kind=Kind.WHOLE, does="clients remembered")),
)
"""Properties of the scope `server`."""

PROPERTIES: Final = {Scope.SESSION: SETTABLE, Scope.DEFAULT: SETTABLE, Scope.SERVER: TOLD}
_BY_NAME: Final = {
    scope: {known.name: known for known in known_ones} for scope, known_ones in PROPERTIES.items()
}


@dataclass(frozen=True, slots=True)
class Node:
    """One property in one scope."""

    scope: Scope
    name: str

    @property
    def path(self) -> str:
        """Return its address."""
        return f"/jukebox/{self.scope}/{self.name}"

    @property
    def known(self) -> Property:
        """Return what it is."""
        return _BY_NAME[self.scope][self.name]


NODES: Final = tuple(
    Node(scope, known.name) for scope, known_ones in PROPERTIES.items() for known in known_ones
)


@dataclass(slots=True)
class _Listening:
    until_s: float
    told: Any


@dataclass(slots=True)
class _Client:
    peer: Peer
    seen_s: float
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    listening: dict[Node, _Listening] = field(default_factory=dict[Node, _Listening])


class Clients:
    """All that clients set, and who listens to what."""

    def __init__(self, clock: Callable[[], float], told: Callable[[], Mapping[str, Any]]) -> None:
        """Start with nobody.

        Args:
            clock: Seconds, monotone.
            told: Returns the values of the scope `server`, by name.
        """
        self._clock = clock
        self._told = told
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._shared: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def touch(self, peer: Peer) -> None:
        """Note a client's message; one that was silent for too long begins anew."""
        self._forget_silent(self._clock())
        client = self._clients.get(peer.key)
        if client is not None:
            client.seen_s = self._clock()
            self._clients.move_to_end(peer.key)

    def get(self, node: Node, peer: Peer | None = None) -> Any:  # noqa: ANN401 - what its kind says
        """Return a property's value; of the scope `session` that of the client."""
        if node.scope is Scope.SERVER:
            return self._told()[node.name]
        if node.scope is Scope.SESSION and peer is not None:
            client = self._clients.get(peer.key)
            if client is not None and node.name in client.values:
                return client.values[node.name]
        return self._shared.get(node.name, node.known.default)

    def session(self, peer: Peer) -> dict[str, Any]:
        """Return all values of a client's session by name."""
        return {known.name: self.get(Node(Scope.SESSION, known.name), peer) for known in SETTABLE}

    def set(self, node: Node, value: Any, peer: Peer) -> None:  # noqa: ANN401 - as get
        """Keep a value, or the default again if it is None; who set it is not told of it.

        Raises:
            BusyError: As many clients are remembered as may be.
        """
        shared = node.scope is Scope.DEFAULT
        kept = self._shared if shared else self._client(peer).values
        if value is None:
            kept.pop(node.name, None)
        else:
            kept[node.name] = value
        client = self._clients.get(peer.key)
        if client is not None and node in client.listening:
            client.listening[node].told = self.get(node, peer)

    def note_seed(self, peer: Peer, seed: int) -> None:
        """Keep the seed of a request for a client that has a session, so that it can be locked."""
        if peer.key in self._clients:
            self.set(Node(Scope.SESSION, values.SEED.name), seed, peer)

    def listen(self, node: Node, peer: Peer) -> None:
        """Tell this client of changes from now on.

        Raises:
            BusyError: As many clients or listeners are remembered as may be.
        """
        client = self._client(peer)
        if node not in client.listening and self.num_listening >= MAX_LISTENING:
            raise BusyError(
                f"{self.num_listening} properties are listened to, the limit is {MAX_LISTENING}",
                retry_after_s=LISTEN_SECONDS,
            )
        lasts = float("inf") if peer.connected else LISTEN_SECONDS
        client.listening[node] = _Listening(self._clock() + lasts, self.get(node, peer))

    def ignore(self, node: Node, peer: Peer) -> None:
        """Tell this client no more."""
        client = self._clients.get(peer.key)
        if client is not None:
            client.listening.pop(node, None)

    @property
    def num_listening(self) -> int:
        """Return how many properties are listened to, by all clients together."""
        return sum(len(client.listening) for client in self._clients.values())

    def notices(self) -> list[tuple[Peer, Node, Any]]:
        """Return who is to be told which value now, each change once; expired ones end."""
        now = self._clock()
        found: list[tuple[Peer, Node, Any]] = []
        for client in self._clients.values():
            for node, listening in list(client.listening.items()):
                if listening.until_s <= now:
                    del client.listening[node]
                    continue
                value = self.get(node, client.peer)
                if value != listening.told:
                    listening.told = value
                    found.append((client.peer, node, value))
        return found

    def forget(self, key: str) -> None:
        """Drop all that a client left."""
        self._clients.pop(key, None)

    def _client(self, peer: Peer) -> _Client:
        now = self._clock()
        client = self._clients.get(peer.key)
        if client is None:
            if len(self._clients) >= MAX_CLIENTS:
                raise BusyError(
                    f"{len(self._clients)} clients have a session, the limit is {MAX_CLIENTS}",
                    retry_after_s=CLIENT_SECONDS,
                )
            client = self._clients[peer.key] = _Client(peer, now)
        client.seen_s = now
        self._clients.move_to_end(peer.key)
        return client

    def _forget_silent(self, now: float) -> None:
        # The one heard least recently comes first; connections end by themselves.
        for key, client in list(self._clients.items()):
            if now - client.seen_s <= CLIENT_SECONDS:
                break
            if not client.peer.connected:
                del self._clients[key]
