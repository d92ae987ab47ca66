"""Makes the pictures of docs/quickstart-ardour.md in a real Ardour on a virtual screen.

    python -m tests.evidence.ardour_pictures docs/pictures

Needs what the tests of Ardour need, and ImageMagick's `import`.
"""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bridge.app import embedded_server
from bridge.client import Client
from bridge.commands.demo import load_example
from bridge.config import private_config
from bridge.hosts.actions import ActionSocket
from bridge.hosts.conductor import Conductor, Wish
from bridge.hosts.desk import Desk
from tests.bridge.hosts import ardour as real
from tests.bridge.hosts.contract import write_wav

COLOURS = 48
PROGRESS_SECONDS = 4.0
"""After the start of a continuation: its progress window is there, the result not yet."""


def picture(display: str, path: Path) -> None:
    """Write what the screen shows."""
    command = ["import", "-display", display, "-window", "root"]
    reduced = ["+dither", "-colors", str(COLOURS), "-strip", f"png8:{path}"]
    subprocess.run([*command, *reduced], check=True)


def main(out: Path) -> None:
    """Continue the packaged example in Ardour; write the pictures into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "results").mkdir()
        with (
            embedded_server(private_config(folder / "spool")) as address,
            Client(address) as client,
            ActionSocket() as actions,
            real.ardour(folder) as ardour,
        ):
            host = ardour.host
            conductor = Conductor(
                host, client.render, folder / "results", Wish(bars=2), clock=time.monotonic
            )
            record(ardour, folder)
            shoot(ardour, Desk(conductor, host, actions), out)


def record(ardour: real.Ardour, folder: Path) -> None:
    """Put the example on track A and select it."""
    samples = load_example().clip.samples
    with ardour.host.transaction("Record") as edit:
        path = write_wav(folder / "prime.wav", samples)
        edit.create_clip(edit.import_file(path), "A", 0, "prime")
    show_all(ardour)
    real.poll(lambda: ardour.select_all("A"), "the selection")


def show_all(ardour: real.Ardour) -> None:
    """Let the editor show all tracks and the whole song."""
    for action in ("Editor/fit_all_tracks", "Editor/zoom-to-extents"):
        ardour.osc("/access_action", action)


def shoot(ardour: real.Ardour, desk: Desk, out: Path) -> None:
    """Take a picture while it computes, and one of what came."""
    display = ardour.environment["DISPLAY"]
    target = out / "ardour-progress.png"
    meanwhile = threading.Timer(PROGRESS_SECONDS, picture, (display, target))
    meanwhile.start()
    assert desk.do("continue").startswith("jukebox-")
    meanwhile.join()
    real.poll(lambda: bool(ardour.host.clips("A continued")), "the result")
    show_all(ardour)
    ardour.host.clips("A")  # answers after what was asked before
    picture(display, out / "ardour-continued.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
