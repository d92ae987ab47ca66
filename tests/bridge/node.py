"""Node.js for tests: scripts of `examples/` with the packages that they need."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_SECONDS = 120


def node_with(*modules):
    """Return a function that runs an example; skips if Node.js or a package is missing."""
    programs = [shutil.which(name) for name in ("node", "npm")]
    if None in programs:
        pytest.skip("Node.js is missing")
    node, npm = programs
    root = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, check=True)
    folders = [root.stdout.strip(), os.environ.get("NODE_PATH", "")]
    environment = dict(os.environ) | {"NODE_PATH": os.pathsep.join(filter(None, folders))}
    for name in modules:
        found = subprocess.run(
            [node, "-e", f"require.resolve('{name}')"],
            env=environment,
            capture_output=True,
            check=False,
        )
        if found.returncode:
            pytest.skip(f"the package {name} is missing: npm install -g {name}")

    def run(script, *arguments, **more):
        return subprocess.run(
            [node, str(EXAMPLES / script), *map(str, arguments)],
            env=environment | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    return run
