"""What a start needs: ports, folders, model files, locks, MIDI; looked at, nothing kept open."""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bridge.app import verify_model
from bridge.commands.findings import Finding, Verdict, finding
from bridge.config import ServerConfig
from bridge.errors import BridgeError
from bridge.midi.map_file import read_map
from bridge.midi.ports import check_input
from bridge.security import UNIX, is_local, read_keyring, read_secret
from bridge.sockets import check_port_free

LEAST_FREE_BYTES: Final = 1024**3
_MIB: Final = 1024**2


def start_findings(config: ServerConfig, *, blocked: Verdict) -> tuple[Finding, ...]:
    """Return what a start of the server needs.

    Args:
        config: How the server would start.
        blocked: What a port in use means: a start fails, while a look around may meet our
            own server.
    """
    return (
        *port_findings(config, blocked),
        spool_finding(config.spool),
        disk_finding(config.spool),
        *(allowed_finding(folder) for folder in config.allowed),
        *security_findings(config),
        *(model_files_finding(folder) for folder in (config.model, *config.beside)),
        *midi_findings(config),
    )


def port_findings(config: ServerConfig, blocked: Verdict) -> tuple[Finding, ...]:
    """Return of each port that is configured whether it is free."""
    local = config.local_host()
    wires = (
        ("gRPC port", socket.SOCK_STREAM, config.host, config.port),
        ("OSC port", socket.SOCK_DGRAM, local, config.osc_port),
        ("OSC TCP port", socket.SOCK_STREAM, local, config.osc_tcp_port),
        ("OSCQuery port", socket.SOCK_STREAM, local, config.oscquery_port),
        ("HTTP port", socket.SOCK_STREAM, local, config.http_port),
        ("plugin port", socket.SOCK_STREAM, local, config.plugin_port),
    )
    return tuple(
        port_finding(name, kind, host, port, blocked)
        for name, kind, host, port in wires
        if port is not None and not host.startswith(UNIX)
    )


def port_finding(
    name: str, kind: socket.SocketKind, host: str, port: int, blocked: Verdict = Verdict.WARN
) -> Finding:
    """Return whether a port is free; it may be our own server that holds it."""
    try:
        check_port_free(kind, host, port)
    except BridgeError as error:
        advice = "a server may be running already; otherwise serve on another port"
        return finding(name, str(error), worst=blocked, advice=advice)
    return finding(name, f"{port} on {host} is free" if port else f"any free one on {host}")


def spool_finding(spool: Path) -> Finding:
    """Return whether results can be written; leaves nothing behind in a folder that is there."""
    try:
        with tempfile.TemporaryFile(dir=_nearest_folder(spool)):
            return finding("spool", str(spool))
    except OSError as error:
        return finding(
            "spool",
            f"{spool}: {error.strerror}",
            worst=Verdict.FAIL,
            advice="name a folder that you may write to with --spool, or files.spool",
        )


def disk_finding(spool: Path, least_bytes: int = LEAST_FREE_BYTES) -> Finding:
    """Return whether there is room for results."""
    try:
        free = shutil.disk_usage(_nearest_folder(spool)).free
    except OSError as error:
        return finding("free disk", f"{spool}: {error.strerror}", worst=Verdict.WARN)
    return finding(
        "free disk",
        f"{free // _MIB} MiB where the spool is",
        worst=Verdict.WARN if free < least_bytes else None,
        advice=f"make room: at least {least_bytes // _MIB} MiB are advised, or move the spool",
    )


def allowed_finding(folder: Path) -> Finding:
    """Return whether a folder that wires may name files in can be read."""
    name = "allowed folder"
    if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
        return finding(name, str(folder))
    advice = "make it, mend its permissions, or take it from files.allowed"
    return finding(
        name, f"{folder} is no folder that can be read", worst=Verdict.WARN, advice=advice
    )


def security_findings(config: ServerConfig) -> tuple[Finding, ...]:
    """Return who can come in, and whether the files of tokens and keys can be used."""
    security = config.security
    reach = "this machine alone" if is_local(config.host) else "other machines, with TLS and token"
    found = [finding("reach", f"{config.host}: {reach}")]
    for name, path, read in (
        ("token file", security.token_file, _tokens),
        ("private key", security.private_key, _secret),
        ("certificate", security.certificate, _readable),
        ("client authority", security.client_ca, _readable),
    ):
        if path is not None:
            found.append(_file_finding(name, path, read))
    return tuple(found)


def model_files_finding(folder: Path | None) -> Finding:
    """Return whether the weights are there and undamaged; every byte is hashed, none loaded."""
    try:
        files = verify_model(folder)
    except BridgeError as error:
        return finding(
            "model files",
            str(error),
            worst=Verdict.FAIL,
            advice="install the package again, or name a folder of weights with --model",
        )
    megabytes = files.num_bytes / 1e6
    return finding(
        "model files", f"{files.name}: {files.num_files} files, {megabytes:.0f} MB, hashes agree"
    )


def midi_findings(config: ServerConfig) -> tuple[Finding, ...]:
    """Return whether the map of pads can be read, and each input is there."""
    if not config.midi_inputs:
        return ()
    return (
        _file_finding("MIDI map", config.midi_map, _map),
        *(_input_finding(spec) for spec in config.midi_inputs),
    )


def _input_finding(spec: str) -> Finding:
    try:
        return finding("MIDI input", f"{spec}: {check_input(spec)}")
    except BridgeError as error:
        advice = "`jukebox-bridge midi ports` lists the names"
        return finding("MIDI input", str(error), worst=Verdict.FAIL, advice=advice)


def _map(path: Path) -> str:
    found = read_map(path)
    return f"{path}: {len(found.rows)} rows, {len(found.presets)} presets"


def _file_finding(name: str, path: Path, read: Callable[[Path], str]) -> Finding:
    try:
        return finding(name, read(path))
    except (BridgeError, OSError) as error:
        advice = "mend the file, or name another one; docs/configuration.md lists the settings"
        return finding(name, str(error), worst=Verdict.FAIL, advice=advice)


def _tokens(path: Path) -> str:
    return f"{path}: {len(read_keyring(path))} tokens"


def _secret(path: Path) -> str:
    return f"{path}: {len(read_secret(path))} bytes, its owner's alone"


def _readable(path: Path) -> str:
    return f"{path}: {len(path.read_bytes())} bytes"


def _nearest_folder(path: Path) -> Path:
    absolute = path.absolute()
    return next(parent for parent in (absolute, *absolute.parents) if parent.exists())
