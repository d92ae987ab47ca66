"""The plugin in hosts of other people: each loads it, and hears the answer on the exact sample."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from plugin_host.errors import PluginLoadError
from tests.jackd import jack_server
from tests.plugin_host import in_dawdreamer
from tests.plugin_host.conftest import BAR, PATIENCE_SECONDS, RATE, noise
from tests.plugin_host.in_jalv import URI, Deck, jalv

pytestmark = [pytest.mark.host, pytest.mark.slow]
SCANNERS = {
    "ardour-vst3-scanner": "/usr/lib/ardour7",
    "ardour-vst-scanner": "/usr/lib/ardour7",
    "qtractor_plugin_scan": f"/usr/lib/{os.uname().machine}-linux-gnu/qtractor",
}
"""Programs that are in no folder of PATH, by Debian's folder."""
BUNDLES = {"VST3": "jukebox_bridge.vst3", "VST2": "jukebox_bridge-vst.so"}


def program(name, package):
    """Return a program; skip where its package is missing."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:{SCANNERS.get(name, '')}")
    if found is None:
        pytest.skip(f"{name} is missing: install Debian's {package}")
    return found


def answered(heard, samples, server):
    """Assert that a bar sounded from the second bar line on, and all else is untouched."""
    np.testing.assert_array_equal(heard[:, :BAR], samples[:, :BAR])
    np.testing.assert_array_equal(heard[:, BAR : 2 * BAR], server.newest_audio()[:, RATE:])
    np.testing.assert_array_equal(heard[:, 2 * BAR :], samples[:, 2 * BAR :])


def test_it_loads_in_pedalboard_and_passes_audio_bit_by_bit(built, monkeypatch):
    pedalboard = pytest.importorskip("pedalboard")
    monkeypatch.setenv("JUKEBOX_BRIDGE_PLUGIN_SERVER", "127.0.0.1:1")
    plugin = pedalboard.load_plugin(str(built / "bin/jukebox_bridge.vst3"))
    assert {"capture", "continue", "bars", "lead_ms", "dry_wet"} <= set(plugin.parameters)
    samples = noise(50_000)
    for size in (64, 512, 8192):
        parts = [
            plugin.process(samples[:, first : first + size], RATE, size, reset=False)
            for first in range(0, 50_000, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), samples)
    assert plugin.reported_latency_samples == 0


def test_the_chain_takes_it_like_any_effect(built, tmp_path, monkeypatch):
    from plugin_host.chain import load_chain

    monkeypatch.setenv("JUKEBOX_BRIDGE_PLUGIN_SERVER", "127.0.0.1:1")
    file = tmp_path / "chain.json"
    file.write_text(f'{{"plugins": [{{"plugin": "{built / "bin/jukebox_bridge.vst3"}"}}]}}')
    try:
        chain = load_chain(file, sample_rate=RATE, num_channels=2)
    except PluginLoadError as error:
        pytest.fail(str(error))
    samples = noise(5_000)
    np.testing.assert_array_equal(chain.render(samples), samples)
    assert chain.latency_samples == 0


def test_pedalboard_continues_what_was_played(built, bench, monkeypatch):
    pedalboard = pytest.importorskip("pedalboard")
    server = bench()
    monkeypatch.setenv("JUKEBOX_BRIDGE_PLUGIN_SERVER", server.address)
    plugin = pedalboard.load_plugin(str(built / "bin/jukebox_bridge.vst3"))
    settings = {"lead_ms": 0, "handover_fade_ms": 0, "bars": 1, "wait": "Always"}
    for name, value in settings.items():
        setattr(plugin, name, value)
    samples = noise(300_000)
    first = plugin.process(samples[:, :50_000], RATE, 1000, reset=False)
    setattr(plugin, "continue", True)
    rest = plugin.process(samples[:, 50_000:], RATE, 1000, reset=False)
    heard = np.concatenate([first, rest], axis=1)
    begin = 50_000
    np.testing.assert_array_equal(heard[:, :begin], samples[:, :begin])
    np.testing.assert_array_equal(heard[:, begin : begin + BAR], server.newest_audio())
    np.testing.assert_array_equal(heard[:, begin + BAR :], samples[:, begin + BAR :])


@pytest.mark.parametrize("kind", BUNDLES)
def test_dawdreamer_bounces_the_answer_in_its_bar(built, bench, tmp_path, kind):
    if importlib.util.find_spec("dawdreamer") is None:
        pytest.skip("dawdreamer is missing: pip install dawdreamer")
    server, samples = bench(), noise(3 * BAR)
    np.save(tmp_path / "in.npy", samples)
    # Between 0 and 1: a lead of a second, one bar, always waiting.
    settings = ["Lead=0.1", "Bars=0", "Handover Fade=0", "Wait=1"]
    files = [str(tmp_path / name) for name in ("in.npy", "out.npy")]
    script = [sys.executable, in_dawdreamer.__file__, str(built / "bin" / BUNDLES[kind])]
    environment = os.environ | {"JUKEBOX_BRIDGE_PLUGIN_SERVER": server.address}
    command = [*script, *files, "24000", *settings]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    answered(np.load(tmp_path / "out.npy"), samples, server)


@pytest.fixture
def lv2(built, tmp_path, monkeypatch):
    """Let LV2 hosts find the plugin beside the specifications."""
    (tmp_path / "jukebox_bridge.lv2").symlink_to(built / "bin/jukebox_bridge.lv2")
    monkeypatch.setenv("LV2_PATH", f"{tmp_path}:/usr/lib/lv2")
    return built / "bin/jukebox_bridge.lv2"


def test_jalv_plays_the_answer_from_the_bar_line_of_jack_s_transport(
    lv2, bench, tmp_path, monkeypatch, eventually
):
    program("jalv", "jalv")
    server, samples = bench(), noise(40 * BAR)
    monkeypatch.setenv("JUKEBOX_BRIDGE_PLUGIN_SERVER", server.address)
    # Synchronous: each block is waited for, so that a busy machine loses none.
    with jack_server(tmp_path, monkeypatch, "-S", "-t", "10000") as jack, jalv() as host:
        deck = Deck(jack, samples)
        eventually(lambda: deck.is_there)
        for line in ("set lead 1000", "set fade 0", "set bars 1", "set wait 2"):
            tell(host, line)
        with deck.rolling():
            eventually(lambda: deck.position >= 24_000)
            tell(host, "set continue 1")
            eventually(lambda: server.store.entries())
            told_at = deck.position
            eventually(lambda: deck.position >= told_at + 3 * BAR)
    end, take = deck.end_sample, server.newest_audio()[:, RATE:]
    changed = np.flatnonzero((deck.heard[:, :end] != samples[:, :end]).any(axis=0))
    begin = int(changed[0])
    assert begin % BAR == 0
    np.testing.assert_array_equal(deck.heard[:, begin : begin + BAR], take)
    assert int(changed[-1]) < begin + BAR
    assert end > begin + BAR


def tell(host, line):
    host.stdin.write(f"{line}\n")
    host.stdin.flush()


def test_lilv_finds_the_lv2_plugin_and_its_ports(lv2):
    told = subprocess.run(
        [program("lv2info", "lilv-utils"), URI], capture_output=True, text=True, check=True
    )
    assert told.stderr == ""
    for symbol in ("capture", "continue", "bars", "lead", "progress"):
        assert f"Symbol:      {symbol}\n" in told.stdout
    assert "Jukebox Bridge" in told.stdout


def test_the_lv2_validator_objects_to_the_framework_s_own_words_alone(lv2):
    program("sord_validate", "sordi")
    command = [program("lv2_validate", "lv2-dev"), *map(str, sorted(lv2.glob("*.ttl")))]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert re.search(r"Found \d+ errors among \d+ files", told.stdout + told.stderr)
    objections = re.split(r"^error: ", told.stdout + told.stderr, flags=re.MULTILINE)[1:]
    # DPF writes two of MOD's words without their vocabulary.
    assert [part for part in objections if "moddevices.com/ns/mod#" not in part] == []


@pytest.mark.parametrize("kind", BUNDLES)
def test_ardour_s_scanners_take_it(built, kind, tmp_path):
    name = {"VST3": "ardour-vst3-scanner", "VST2": "ardour-vst-scanner"}[kind]
    command = [program(name, "ardour"), "-f", "-v", str(built / "bin" / BUNDLES[kind])]
    environment = os.environ | {"HOME": str(tmp_path), "LD_LIBRARY_PATH": SCANNERS[name]}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "Found Plugin: " in told.stdout + told.stderr
    assert 'name="Jukebox Bridge"' in told.stdout + told.stderr


@pytest.mark.parametrize(
    ("kind", "path"),
    [("CLAP", "jukebox_bridge.clap"), ("VST2", "jukebox_bridge-vst.so")],
)
def test_qtractor_s_scanner_opens_it_and_finds_audio_and_midi(built, kind, path):
    line = f"{kind}:{built / 'bin' / path}\n"
    told = subprocess.run(
        [program("qtractor_plugin_scan", "qtractor")],
        input=line,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    assert "|Jukebox Bridge|2:2|1:0|" in told.stdout
