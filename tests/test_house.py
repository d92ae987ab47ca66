"""The house rules that no linter keeps: generated code, package data, error rows, paths."""

import ast
import importlib
import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from bridge.app import embedded_server
from bridge.audio_file import AudioClip, Provenance, read_audio, read_time_reference, write_audio
from bridge.config import private_config
from tests.fakes import CountingGenerator

ROOT = Path(__file__).parents[1]
PACKAGES = ("bridge", "model", "plugin_host", "protos")
MACHINE_PATH = re.compile(r"(?<![\w.$}*/-])/(?:work|tmp|root|home/\w+)(?:/|\b)")
TEXT = {".py", ".pyi", ".toml", ".md", ".proto", ".json", ".lua", ".c", ".cpp", ".h", ".hpp", ""}


def tracked(*pathspecs: str) -> list[Path]:
    """Return the files under version control, relative to the root."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--", *pathspecs]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    return [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def installed(package: str) -> Path:
    """Return the folder that `import package` comes from."""
    return Path(inspect.getfile(importlib.import_module(package))).parent


def test_the_generated_code_is_that_of_the_proto(tmp_path):
    pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is missing")
    sources = sorted(path.as_posix() for path in tracked("protos/*.proto"))
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outputs, *sources]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    made = {path.name: path.read_bytes() for path in (tmp_path / "protos").iterdir()}
    kept = {path.name: path.read_bytes() for path in installed("protos").glob("*_pb2*.py*")}
    assert kept == made, "run scripts/protoc"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_installed_package_holds_every_tracked_file(package):
    folder = installed(package).parent
    missing = [str(path) for path in tracked(package) if not (folder / path).is_file()]
    assert not missing, "package data in pyproject.toml, or an __init__.py, is missing"
    stale = [
        str(path)
        for path in tracked(package)
        if (folder / path).read_bytes() != (ROOT / path).read_bytes()
    ]
    assert not stale, "the installed copy is older than the checkout: install it again"


def test_every_folder_of_modules_is_a_package():
    folders = {path.parent for name in PACKAGES for path in tracked(f"{name}/*.py")}
    assert folders
    assert [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").exists()] == []


def test_every_error_of_the_model_and_of_the_plugins_has_a_row():
    rows = set(importlib.import_module("bridge.app").ERROR_ROWS)
    for name in ("model.errors", "plugin_host.errors"):
        homeless = [error.__name__ for error in errors_of(importlib.import_module(name)) - rows]
        assert not homeless, f"{name}: no row in bridge.app.ERROR_ROWS"


def errors_of(module: ModuleType) -> set[type[Exception]]:
    """Return the exception classes that a module defines."""
    return {
        found
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, Exception) and found.__module__ == module.__name__
    }


def test_every_error_class_lives_in_an_errors_module():
    strays = [
        f"{path}: {node.name}"
        for path in tracked("bridge/*.py", "model/*.py", "plugin_host/*.py")
        if path.name != "errors.py"
        for node in ast.walk(ast.parse((ROOT / path).read_bytes()))
        if isinstance(node, ast.ClassDef) and re.search(r"(Error|Exception)$", node.name)
    ]
    assert not strays


def test_the_files_that_the_readme_names_exist():
    text = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"(?:examples|benchmarks|scripts|docs|\.ci)/[\w./-]*\w", text))
    assert "scripts/check" in named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_readme_lists_what_osc_and_the_command_line_take():
    text = (ROOT / "README.md").read_text("utf-8")
    osc = importlib.import_module("bridge.osc.table")
    missing = [row.address for row in osc.VERB_ROWS if f"`{row.address}`" not in text]
    commands = importlib.import_module("bridge.__main__").COMMANDS
    missing += [name for name in commands if f"    jukebox-bridge {name}" not in text]
    assert missing == []


def test_the_readme_s_script_continues_a_file_through_a_server(tmp_path, capsys):
    config = private_config(tmp_path / "spool")
    prime = np.linspace(-0.5, 0.5, 2 * 44_101).astype(np.float32).reshape(2, -1)
    source = Provenance(model="", fingerprint="", seed=0, request_id="", licence="")
    clip = AudioClip(samples=prime, sample_rate=44_100)
    section = write_audio(tmp_path / "section.wav", clip, 0, source)
    out = tmp_path / "out.wav"
    script = runpy.run_path(str(ROOT / "examples/continue_section.py"))
    with embedded_server(config, CountingGenerator) as address:
        script["main"]([str(section), "120", str(out), "--server", address])
    assert read_audio(out).samples.shape == (2, 4 * 4 * 44_100 // 2)
    assert read_time_reference(out) == 44_101
    assert "seed" in capsys.readouterr().out


def test_the_modules_that_the_readme_runs_exist():
    text = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"python -m ([\w.]+)", text))
    assert "model.data" in named
    places = [ROOT / name.replace(".", "/") for name in sorted(named)]
    missing = [
        str(place)
        for place in places
        if not place.with_suffix(".py").exists() and not (place / "__main__.py").exists()
    ]
    assert not missing


def test_no_tracked_file_names_a_place_on_one_machine():
    found = []
    for path in tracked():
        if path.suffix in TEXT and path.name != "LICENSE":
            lines = (ROOT / path).read_text("utf-8").splitlines()
            found += [f"{path}:{n}: {x}" for n, x in enumerate(lines, 1) if MACHINE_PATH.search(x)]
    assert not found
