"""`jukebox-bridge doctor`: what this machine offers, what is missing, and what to do."""

import argparse
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from bridge.app import Load, shipped_model
from bridge.commands.checks import start_findings
from bridge.commands.companions import companion_findings
from bridge.commands.configured import add_setting_flags, config_file_of, config_of
from bridge.commands.console import progress_bar, say
from bridge.commands.findings import Finding, Verdict, as_json, as_text, exit_code, finding
from bridge.config import default_config_file
from bridge.errors import BridgeError
from bridge.midi.ports import input_names
from bridge.request import SAMPLE_RATES

LEAST_PYTHON: Final = (3, 11)
TORCH_VERSION: Final = "2.13.0"
LEAST_CORES: Final = 2
LEAST_MEMORY_BYTES: Final = 2 * 1024**3
CPU_INFO: Final = Path("/proc/cpuinfo")
FEATURES: Final = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
THREAD_VARIABLE: Final = "OMP_NUM_THREADS"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `doctor` takes."""
    add_setting_flags(parser)
    parser.add_argument("--json", action="store_true", help="report as JSON")


def run(arguments: argparse.Namespace, load: Load | None = None) -> int:
    """Report all findings; return 1 if one of them stops everything, else 0."""
    with progress_bar("looking at this machine"):
        findings = (*machine_findings(), *_configured(arguments, load))
    say(as_json(findings) if arguments.json else as_text(findings))
    return exit_code(findings)


def machine_findings() -> tuple[Finding, ...]:
    """Return what the machine and its Python offer, whatever the configuration."""
    return (
        python_finding(sys.version_info[:2]),
        torch_finding(_installed("torch")),
        cores_finding(len(os.sched_getaffinity(0))),
        threads_finding(os.environ),
        load_finding(os.getloadavg()[0], len(os.sched_getaffinity(0))),
        cpu_finding(CPU_INFO),
        memory_finding(psutil.virtual_memory().available),
        finding("rates", ", ".join(f"{rate} Hz" for rate in SAMPLE_RATES)),
        vst3_finding(vst3_folders(sys.platform, os.environ)),
        *companion_findings(Path.home()),
        midi_finding(),
    )


def _configured(arguments: argparse.Namespace, load: Load | None) -> tuple[Finding, ...]:
    """Return what the configuration asks for; without one that can be read nothing can be asked."""
    file = config_file_of(arguments)
    try:
        config = config_of(arguments)
    except BridgeError as error:
        advice = "mend the setting; docs/configuration.md lists them all"
        return (finding("configuration", str(error), worst=Verdict.FAIL, advice=advice),)
    return (
        finding("configuration", str(file or f"defaults, no {default_config_file()}")),
        *start_findings(config, blocked=Verdict.WARN),
        model_finding(load or shipped_model(config.model)),
    )


def python_finding(version: Sequence[int]) -> Finding:
    """Return whether this Python can run the server."""
    least = ".".join(map(str, LEAST_PYTHON))
    return finding(
        "Python",
        ".".join(map(str, version)),
        worst=None if tuple(version) >= LEAST_PYTHON else Verdict.FAIL,
        advice=f"install Python {least} or newer and make a new virtual environment with it",
    )


def torch_finding(version: str | None) -> Finding:
    """Return whether torch is the version whose bytes results are promised for."""
    wanted = f"install torch=={TORCH_VERSION}: another version makes other bytes from a seed"
    if version is None:
        return finding("torch", "not installed", worst=Verdict.FAIL, advice=wanted)
    same = version.partition("+")[0] == TORCH_VERSION
    return finding("torch", version, worst=None if same else Verdict.WARN, advice=wanted)


def cores_finding(cores: int) -> Finding:
    """Return whether generating and decoding can overlap."""
    return finding(
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
        return finding("processor", platform.machine())
    have = [name for name in FEATURES if name in words]
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    return finding(
        "processor",
        f"{platform.machine()}: {', '.join(have) or 'no vector instructions known here'}",
        worst=Verdict.WARN if is_x86 and not have else None,
        advice="without AVX2 rendering is several times slower",
    )


def memory_finding(available_bytes: int) -> Finding:
    """Return whether the model fits beside what runs."""
    limit_mb = LEAST_MEMORY_BYTES // 1024**2
    return finding(
        "free memory",
        f"{available_bytes // 1024**2} MiB",
        worst=None if available_bytes >= LEAST_MEMORY_BYTES else Verdict.WARN,
        advice=f"close other programs: the server wants up to {limit_mb} MiB",
    )


def threads_finding(environment: Mapping[str, str]) -> Finding:
    """Return whether numeric libraries keep to one thread, as beside a DAW they should."""
    given = environment.get(THREAD_VARIABLE)
    return finding(
        "threads",
        f"{THREAD_VARIABLE} is {given or 'not set'}",
        worst=Verdict.WARN if given not in (None, "1") else None,
        advice=f"take {THREAD_VARIABLE} away, or set it to 1: threads that spin at barriers "
        "are many times slower beside a busy program",
    )


def load_finding(waiting: float, cores: int) -> Finding:
    """Return whether other programs leave the processor free."""
    return finding(
        "load",
        f"{waiting:.1f} programs run or wait, {cores} cores",
        worst=Verdict.WARN if waiting > cores else None,
        advice="close other programs: rendering shares the cores with them",
    )


def vst3_folders(system: str, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where VST3 plugins are installed on a system, as Steinberg's locations say."""
    if system == "darwin":
        return (Path("/Library/Audio/Plug-Ins/VST3"), Path("~/Library/Audio/Plug-Ins/VST3"))
    if system == "win32":
        return (
            Path(environment.get("COMMONPROGRAMFILES", "C:/Program Files/Common Files"), "VST3"),
        )
    return (Path("~/.vst3"), Path("/usr/lib/vst3"), Path("/usr/local/lib/vst3"))


def vst3_finding(folders: Sequence[Path]) -> Finding:
    """Return how many VST3 bundles the folders hold; chains name them by path."""
    counts = {folder: len(list(folder.expanduser().rglob("*.vst3"))) for folder in folders}
    shown = ", ".join(f"{folder}: {count}" for folder, count in counts.items())
    return finding("VST3 plugins", shown)


def midi_finding() -> Finding:
    """Return which MIDI inputs there are."""
    try:
        names = input_names()
    except BridgeError as error:
        return finding("MIDI inputs", str(error))
    return finding("MIDI inputs", "; ".join(names) or "none, virtual:NAME makes one")


def model_finding(load: Load) -> Finding:
    """Return whether the weights are there, undamaged and load."""
    started_s = time.monotonic()
    try:
        info = load().info
    except BridgeError as error:
        advice = "install the package again, or name a folder of weights with --model"
        return finding("model", str(error), worst=Verdict.FAIL, advice=advice)
    seconds = time.monotonic() - started_s
    return finding("model", f"{info.name} ({info.fingerprint[:12]}), loaded in {seconds:.1f} s")


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
