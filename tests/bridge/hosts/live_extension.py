"""Our extension of Live under Node, in a Live in memory behind its Extensions SDK."""

import json
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.hosts.companion import CompanionHost
from bridge.hosts.install import install_live_extension
from bridge.hosts.mailbox import Mailbox

HERE = Path(__file__).parent
HOST = "live-extension"


@dataclass
class Extension:
    """The extension, and the hand of who sits before that Live."""

    host: CompanionHost
    mailbox: Mailbox
    process: subprocess.Popen

    def hand(self, act: str, **words: str | float) -> dict[str, list]:
        """Do something in Live; return what there is to tell."""
        self.process.stdin.write(json.dumps({"act": act, **words}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def shown(self) -> str:
        """Return all that Live's dialogs have shown."""
        return "\n".join(self.hand("facts")["shown"])


@contextmanager
def extension(folder: Path) -> Generator[Extension]:
    """Yield our extension as it is installed, beside a package in the place of the SDK's."""
    node = shutil.which("node") or pytest.skip("node is missing")
    place = folder / "extension"
    install_live_extension(place)
    shutil.copytree(HERE / "live_sdk", place / "node_modules/@ableton-extensions/sdk")
    shutil.copy(HERE / "live_extension.js", place)
    folders = [folder / name for name in ("project", "storage", "temp")]
    for one in folders:
        one.mkdir()
    process = subprocess.Popen(
        [node, str(place / "live_extension.js"), *map(str, folders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    mailbox = Mailbox(folders[1], HOST)
    try:
        yield Extension(CompanionHost(HOST, mailbox), mailbox, process)
    finally:
        process.kill()
        process.communicate()
