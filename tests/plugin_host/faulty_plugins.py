"""Real VST3 files that crash or hang when they are told to, built with Debian's dpf-source."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "faulty"
DELAY = 100
"""Samples by which the effect is late."""


def build(folder):
    """Return a folder with `faulty_effect.vst3` and `faulty_synth.vst3`; skip without tools."""
    tools = [tool for tool in ("make", "g++") if shutil.which(tool) is None]
    if tools or not Path("/usr/share/dpf/Makefile.plugins.mk").exists():
        pytest.skip(f"cannot build the faulty plugins: install g++ make dpf-source {tools}")
    for synth in ("", "1"):
        command = ["make", "-C", str(SOURCES), f"OUT={folder}", f"FAULTY_SYNTH={synth}", "vst3"]
        subprocess.run(command, check=True, capture_output=True)
    return folder
