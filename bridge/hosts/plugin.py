"""The DAW plugin, built from its sources by Debian's tools and put where hosts look.

Knows `plugin_host/native` as files alone.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bridge.errors import NotReadyError
from bridge.hosts.install import Installed

NEEDED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "g++": "g++",
        "make": "make",
        "pkg-config": "pkg-config",
        "protoc": "protobuf-compiler",
        "nanopb_generator.py": "nanopb",
        "/usr/share/dpf/Makefile.plugins.mk": "dpf-source",
        "/usr/include/pb_encode.h": "libnanopb-dev",
        "/usr/include/lv2.h": "lv2-dev",
    }
)
"""Programs and files, and Debian's packages that hold them."""
TAIL_LINES: Final = 20


def missing_packages() -> tuple[str, ...]:
    """Return Debian's packages that are missing to build the plugin."""
    return tuple(package for name, package in NEEDED.items() if not _is_there(name))


def build_plugin(out: Path, *targets: str, home: Path | None = None) -> str:
    """Return what the compiler said while it built into `out`.

    Args:
        out: Folder of the build, made if it is not there; its `bin` holds the plugin.
        targets: Of the plugin's Makefile, such as "plugin" or "install".
        home: Whose `.vst3`, `.clap`, `.lv2` and `.vst` "install" fills.

    Raises:
        NotReadyError: Packages are missing, or the build fails.
    """
    if missing := missing_packages():
        raise NotReadyError(
            f"the plugin cannot be built: install Debian's {' '.join(missing)} "
            f"(apt-get install {' '.join(missing)})"
        )
    with as_file(files("plugin_host") / "native") as source, as_file(files("protos")) as protos:
        command = ["make", "-j2", "-C", str(source), f"OUT={out.absolute()}"]
        command += [f"PROTO={protos / 'bridge.proto'}", *targets]
        environment = os.environ | ({} if home is None else {"HOME": str(home)})
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = "\n".join(done.stderr.splitlines()[-TAIL_LINES:])
        raise NotReadyError(
            f"the plugin cannot be built, make ends with {done.returncode}:\n{told}"
        )
    return done.stderr


def install_plugin(home: Path, out: Path) -> Installed:
    """Return what was built and put into the plugin folders of a home.

    Raises:
        NotReadyError: Packages are missing, or the build fails.
    """
    build_plugin(out, "install", home=home)
    name = "jukebox_bridge"
    places = (f".vst3/{name}.vst3", f".clap/{name}.clap", f".lv2/{name}.lv2", f".vst/{name}-vst.so")
    return Installed(
        files=tuple(home / place for place in places),
        advice="Let your DAW scan its plugins, then start `jukebox-bridge serve`.",
    )


def _is_there(name: str) -> bool:
    return Path(name).exists() if name.startswith("/") else shutil.which(name) is not None
