"""`jukebox-bridge doctor`: what this machine offers, what is missing, and what to do."""

import argparse
import importlib.metadata
import json
import os
import platform
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import psutil

from bridge.app import Load, shipped_model
from bridge.commands.console import progress_bar, say
from bridge.config import (
    DEFAULT_HOST,
    DEFAULT_OSC_PORT,
    DEFAULT_PORT,
    default_spool,
)
from bridge.errors import BridgeError
from bridge.sockets import check_port_free

LEAST_PYTHON: Final = (3, 11)
TORCH_VERSION: Final = "2.13.0"
LEAST_CORES: Final = 2
LEAST_MEMORY_BYTES: Final = 2 * 1024**3
CPU_INFO: Final = Path("/proc/cpuinfo")
FEATURES: Final = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


class Verdict(StrEnum):
    """What a finding means: fine, slower or odd, or nothing will work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at, and what to do about it."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `doctor` takes."""
    parser.add_argument("--spool", type=Path, metavar="DIR", default=default_spool())
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--osc-port", type=int, default=DEFAULT_OSC_PORT)
    parser.add_argument("--model", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="report as JSON")


def run(arguments: argparse.Namespace, load: Load | None = None) -> int:
    """Report all findings; return 1 if one of them stops everything, else 0."""
    with progress_bar("looking at this machine"):
        findings = (
            python_finding(sys.version_info[:2]),
            torch_finding(_installed("torch")),
            cores_finding(len(os.sched_getaffinity(0))),
            cpu_finding(CPU_INFO),
            memory_finding(psutil.virtual_memory().available),
            spool_finding(arguments.spool),
            port_finding("gRPC port", socket.SOCK_STREAM, arguments.port),
            port_finding("OSC port", socket.SOCK_DGRAM, arguments.osc_port),
            model_finding(load or shipped_model(arguments.model)),
        )
    say(_as_json(findings) if arguments.json else _as_text(findings))
    return int(any(finding.verdict is Verdict.FAIL for finding in findings))


def python_finding(version: Sequence[int]) -> Finding:
    """Return whether this Python can run the server."""
    least = ".".join(map(str, LEAST_PYTHON))
    return _finding(
        "Python",
        ".".join(map(str, version)),
        worst=None if tuple(version) >= LEAST_PYTHON else Verdict.FAIL,
        advice=f"install Python {least} or newer and make a new virtual environment with it",
    )


def torch_finding(version: str | None) -> Finding:
    """Return whether torch is the version whose bytes results are promised for."""
    wanted = f"install torch=={TORCH_VERSION}: another version makes other bytes from a seed"
    if version is None:
        return _finding("torch", "not installed", worst=Verdict.FAIL, advice=wanted)
    same = version.partition("+")[0] == TORCH_VERSION
    return _finding("torch", version, worst=None if same else Verdict.WARN, advice=wanted)


def cores_finding(cores: int) -> Finding:
    """Return whether generating and decoding can overlap."""
    return _finding(
        "cores",
        str(cores),
        worst=None if cores >= LEAST_CORES else Verdict.WARN,
        advice=f"give the server {LEAST_CORES} cores: one makes codes, one makes sound",
    )


def cpu_finding(cpu_info: Path) -> Finding:
    """Return which vector instructions the processor has."""
    try:
        words = set(cpu_info.read_text().split())
    except OSError:
        return _finding("processor", platform.machine())
    have = [name for name in FEATURES if name in words]
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    return _finding(
        "processor",
        f"{platform.machine()}: {', '.join(have) or 'no vector instructions known here'}",
        worst=Verdict.WARN if is_x86 and not have else None,
        advice="without AVX2 rendering is several times slower",
    )


def memory_finding(available_bytes: int) -> Finding:
    """Return whether the model fits beside what runs."""
    limit_mb = LEAST_MEMORY_BYTES // 1024**2
    return _finding(
        "free memory",
        f"{available_bytes // 1024**2} MiB",
        worst=None if available_bytes >= LEAST_MEMORY_BYTES else Verdict.WARN,
        advice=f"close other programs: the server wants up to {limit_mb} MiB",
    )


def spool_finding(spool: Path) -> Finding:
    """Return whether results can be written; leaves nothing behind in a folder that is there."""
    folder = next(parent for parent in (spool, *spool.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            return _finding("spool", str(spool))
    except OSError as error:
        return _finding(
            "spool",
            f"{spool}: {error.strerror}",
            worst=Verdict.FAIL,
            advice="name a folder that you may write to with --spool",
        )


def port_finding(name: str, kind: socket.SocketKind, port: int) -> Finding:
    """Return whether a port is free; it may be our own server that holds it."""
    try:
        check_port_free(kind, DEFAULT_HOST, port)
    except BridgeError as error:
        advice = "a server may be running already; otherwise serve on another port"
        return _finding(name, str(error), worst=Verdict.WARN, advice=advice)
    return _finding(name, f"{port} is free")


def model_finding(load: Load) -> Finding:
    """Return whether the weights are there, undamaged and load."""
    started_s = time.monotonic()
    try:
        info = load().info
    except BridgeError as error:
        advice = "install the package again, or name a folder of weights with --model"
        return _finding("model", str(error), worst=Verdict.FAIL, advice=advice)
    seconds = time.monotonic() - started_s
    return _finding("model", f"{info.name} ({info.fingerprint[:12]}), loaded in {seconds:.1f} s")


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _finding(name: str, found: str, *, worst: Verdict | None = None, advice: str = "") -> Finding:
    """Return a finding; without a verdict all is well and there is nothing to advise."""
    if worst is None:
        return Finding(name=name, verdict=Verdict.OK, found=found)
    return Finding(name=name, verdict=worst, found=found, advice=advice)


def _as_json(findings: Sequence[Finding]) -> str:
    return json.dumps([asdict(finding) for finding in findings], indent=1)


def _as_text(findings: Sequence[Finding]) -> str:
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{finding.verdict:4}  {finding.name}: {finding.found}")
        if finding.advice:
            lines.append(f"      -> {finding.advice}")
    return "\n".join(lines)
