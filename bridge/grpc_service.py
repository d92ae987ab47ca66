"""The listening gRPC server: our verbs, health and reflection behind one gate.

Knows neither OSC nor how music is made.
"""

import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from bridge.callers import AuditLog, CallerLimits, Callers
from bridge.errors import BusyError
from bridge.grpc_calls import UPLOAD_VERBS
from bridge.grpc_gate import (
    MAX_CALLS,
    SERVER_OPTIONS,
    Desk,
    EngineSource,
    Gate,
    Verb,
    credentials,
    handlers,
)
from bridge.grpc_jobs import JOB_VERBS
from bridge.grpc_live import LIVE_VERBS
from bridge.grpc_models import MODEL_VERBS
from bridge.grpc_takes import TAKE_VERBS
from bridge.security import UNIX, Security, read_keyring
from bridge.shelf import Shelf
from bridge.sockets import (
    check_port_free,
    clear_unix_path,
    private_files,
    target_of,
    unix_path,
)
from bridge.upload import MAX_UPLOAD_BYTES
from protos import bridge_pb2

DESCRIPTOR: Final = bridge_pb2.DESCRIPTOR.services_by_name["Bridge"]
SERVICE: Final = DESCRIPTOR.full_name
HEALTH_NAMES: Final = ("", SERVICE)
VERBS: Final[Mapping[str, Verb]] = {
    **UPLOAD_VERBS,
    **LIVE_VERBS,
    **JOB_VERBS,
    **TAKE_VERBS,
    **MODEL_VERBS,
}
MAX_UPLOADS_BYTES = 2 * MAX_UPLOAD_BYTES
"""Of audio that all calls together may have under way."""

# grpcio ships no types for what its tools generate, nor for the health servicer.
_health_grpc: Any = health_pb2_grpc
_aio_health: Any = vars(health)["aio"]


class GrpcServer:
    """One listening server: on a TCP port, with TLS or without, or on a unix socket."""

    def __init__(
        self, engine: EngineSource, shelf: Shelf, security: Security | None = None
    ) -> None:
        """Remember what is served.

        Args:
            engine: Where the engine comes from.
            shelf: The models that can be listed, loaded and unloaded.
            security: Tokens, TLS and limits; none of them if not given.
        """
        self._engine = engine
        self._shelf = shelf
        self._security = security or Security()
        self._health: Any = _aio_health.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._audit: AuditLog | None = None
        self._socket: Path | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, saying NOT_SERVING; return the port, which is another one if 0 was given.

        Args:
            host: An address, or `unix:PATH`.
            port: TCP port; of no meaning for a unix socket.

        Raises:
            InvalidRequestError: Other machines can reach the host, and TLS or tokens are missing.
            BusyError: Another process holds the port or the socket.
            NotReadyError: The machine refuses the address, or a file of keys cannot be used.
        """
        self._security.check_bind(host)
        self._server = self._build()
        await self._tell(HEALTH_NAMES, health_pb2.HealthCheckResponse.NOT_SERVING)
        if host.startswith(UNIX):
            path = unix_path(host)
            clear_unix_path(path)
            with private_files():
                bound = self._bind(host, port)
            self._socket = path  # ours from now on, to be removed at the end
        else:
            check_port_free(socket.SOCK_STREAM, host, port)
            bound = self._bind(host, port)
        await self._server.start()
        return bound

    async def serve(self, models: Iterable[str] = ()) -> None:
        """Say SERVING, for the service and for these models: the engine is warm."""
        names = (*HEALTH_NAMES, *(health_name(model) for model in models))
        await self._tell(names, health_pb2.HealthCheckResponse.SERVING)

    async def unserve(self, models: Iterable[str], *, everything: bool = False) -> None:
        """Say NOT_SERVING for models that are unloaded, and for the service if all are."""
        names = [*(HEALTH_NAMES if everything else ()), *(health_name(model) for model in models)]
        await self._tell(names, health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Say NOT_SERVING, take no more calls, let running ones end for so long, cut the rest."""
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)
        if self._audit is not None:
            self._audit.close()
        if self._socket is not None:
            with suppress(FileNotFoundError):
                self._socket.unlink()

    def _build(self) -> grpc.aio.Server:
        security = self._security
        self._audit = AuditLog(security.audit_file, _now)
        limits = CallerLimits(
            max_calls=security.max_calls,
            max_upload_bytes=security.max_upload_bytes,
            max_total_upload_bytes=MAX_UPLOADS_BYTES,
        )
        keys = None if security.token_file is None else read_keyring(security.token_file)
        desk = Desk(
            engine=self._engine,
            shelf=self._shelf,
            callers=Callers(limits),
            audit=self._audit,
            keys=keys,
        )
        server = grpc.aio.server(
            options=SERVER_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS, interceptors=(Gate(desk),)
        )
        server.add_generic_rpc_handlers((handlers(desk, DESCRIPTOR, VERBS),))
        _health_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return server

    def _bind(self, host: str, port: int) -> int:
        assert self._server is not None, "the server is built first"
        tls = credentials(self._security)
        target = target_of(host, port)
        try:
            if tls is None:
                return self._server.add_insecure_port(target)
            return self._server.add_secure_port(target, tls)
        except RuntimeError as error:
            raise BusyError(f"{target} cannot be listened on: {error}") from error

    async def _tell(
        self,
        names: Iterable[str],
        status: health_pb2.HealthCheckResponse.ServingStatus,
    ) -> None:
        for name in names:
            await self._health.set(name, status)


def health_name(model: str) -> str:
    """Return the name under which `grpc.health.v1` tells of a model."""
    return f"model/{model}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
