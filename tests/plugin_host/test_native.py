"""The plugin in hosts: every sample in its place, with a server, without, across its death."""

import socket
import sys
import threading
import time
from contextlib import closing, suppress

import numpy as np
import pytest

from bridge.audio_file import read_audio, read_time_reference
from tests.fakes import CountingGenerator
from tests.plugin_host.conftest import BAR, PATIENCE_SECONDS, RATE, noise

pytestmark = [pytest.mark.host, pytest.mark.slow]


def connected(bench, clap, rate=RATE):
    host = clap(bench.address)
    host.ask(f"open {rate} 8192")
    host.wait("Status", 1)
    return host


@pytest.mark.parametrize("block", [1, 441, 8192, 0])
def test_without_a_server_audio_passes_untouched_and_the_state_says_why(clap, block):
    samples = noise(30_000)
    host = clap()
    host.ask("open 48000 8192")
    host.play(samples)
    host.tell("set Capture: 1", "play 120 4 4 0", "run 10000 512", "set Continue: 1")
    host.tell(f"run 20000 {block}")
    host.wait("Status", 0)
    # The status begins as 0: the reason comes with the first try.
    host.wait_for_text("status", "no server at 127.0.0.1:1")
    np.testing.assert_array_equal(host.output(), samples)


@pytest.mark.parametrize("capture", [0, 1])
@pytest.mark.parametrize(
    ("rate", "block", "fade_ms", "lead_ms"),
    [(44_100, 512, 0, 500), (48_000, 0, 10, 1000), (96_000, 1000, 40, 700), (48_000, 64, 20, 0)],
)
def test_the_answer_begins_and_ends_at_the_exact_sample(
    bench, clap, rate, block, fade_ms, lead_ms, capture
):
    server, bar = bench(), 2 * rate
    samples = noise(5 * bar)
    host = connected(server, clap, rate)
    host.play(samples)
    host.tell(f"set Lead: {lead_ms}", f"set Handover Fade: {fade_ms}", "set Bars: 2")
    host.tell(f"set Capture: {capture}", "set Wait: 2", "play 120 4 4 0", f"run {rate // 2} 512")
    host.tell("set Continue: 1", f"run {5 * bar - rate // 2} {block}")
    host.wait("Status", 5)
    heard, take = host.output(), server.newest_audio()
    begin, end, fade, lead = bar, 3 * bar, fade_ms * rate // 1000, lead_ms * rate // 1000
    assert take.shape[1] == lead + 2 * bar
    before = begin - min(fade, lead)
    np.testing.assert_array_equal(heard[:, :before], samples[:, :before])
    full = before + fade
    np.testing.assert_array_equal(
        heard[:, full : end - fade], take[:, lead:][:, full - begin : 2 * bar - fade]
    )
    np.testing.assert_array_equal(heard[:, end:], samples[:, end:])
    if fade:
        assert (heard[:, before + 1 : full - 1] != samples[:, before + 1 : full - 1]).any()


@pytest.mark.parametrize("repetitions", [5, pytest.param(50, marks=pytest.mark.evidence)])
def test_hand_overs_one_after_the_other_are_all_exact(bench, clap, repetitions):
    server, cycle = bench(), 3 * BAR
    samples = noise(repetitions * cycle)
    host = connected(server, clap)
    host.play(samples)
    host.tell("set Handover Fade: 0", "set Bars: 1", "set Wait: 2", "set Prime: 1")
    host.tell("play 120 4 4 0")
    for _ in range(repetitions):
        host.tell("set Continue: 0", f"run {BAR - 40_000} 0", "set Continue: 1")
        host.tell(f"run {2 * BAR + 40_000} 0")
        host.wait("Status", 5)
    host.value("Status")
    takes = [entry.take.id for entry in reversed(server.store.entries())]
    heard = host.output()
    assert len(takes) == repetitions
    for number, take_id in enumerate(takes):
        # Pressed 40,000 samples before a line, asked with a lead of 48,000: the line after it.
        begin = number * cycle + 2 * BAR
        take = server.audio(take_id)[:, 48_000:]
        dry = slice(begin - BAR, begin)
        np.testing.assert_array_equal(heard[:, dry], samples[:, dry])
        np.testing.assert_array_equal(heard[:, begin : begin + BAR], take)


def test_a_dead_server_means_a_fade_and_the_next_one_takes_over_at_a_bar(bench, clap):
    held = threading.Event()
    reached = threading.Event()

    def hold(num_blocks):
        if num_blocks == 200 and not held.is_set():
            reached.set()
            held.wait(PATIENCE_SECONDS)

    server = bench(generator=CountingGenerator(on_decode=hold))
    steady = np.full((2, 12 * BAR), 0.25, np.float32)
    host = connected(server, clap)
    host.play(steady)
    host.tell("set Handover Fade: 0", "set Wait: 0", "set Bars: 8", "play 120 4 4 0")
    host.tell("run 24000 512", "set Continue: 1", "run 26000 512")
    assert reached.wait(PATIENCE_SECONDS)
    # Paced, so that what was sent is there when its bar begins.
    host.tell("pace 8", f"run {3 * BAR} 512", "pace 0")
    host.value("Status")
    port = server.port
    server.cut()
    host.wait("Status", 0)
    held.set()
    server.end()
    server.port = port
    server.start()
    host.wait("Status", 5)
    host.tell(f"run {3 * BAR} 512")
    heard = host.output()
    take = server.newest_audio()[:, 48_000:]
    same = (heard[:, BAR:] == take[:, : heard.shape[1] - BAR]).all(axis=0)
    left = int(np.argmin(same))
    dry = heard[0, BAR:] == 0.25
    fade = int(np.argmax(dry[left:]))
    assert 0 < fade < RATE // 100, "faded within 10 ms"
    steps = np.abs(np.diff(heard[:, BAR + left - 8 : BAR + left + RATE // 100]))
    assert steps.max() < 0.01, "without a click"
    again = BAR + left + int(np.flatnonzero(same[left + RATE // 100 :])[0]) + RATE // 100
    assert again % BAR < RATE // 100, "at a bar line"
    sys.stdout.write(
        f"\ndry after {1000 * fade / RATE:.1f} ms, steps of at most {steps.max():.4f}, again whole "
        f"{1000 * (again % BAR) / RATE:.1f} ms after a bar line\n"
    )
    assert same[again + 100 - BAR : again + BAR // 2 - BAR].all()


class Spoiler:
    """Stands between plugin and server, and spoils what the server says, from a seed."""

    def __init__(self, port, seed):
        self._port = port
        self._random = np.random.default_rng(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.spoiled = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._listener.close()

    def _serve(self):
        while True:
            try:
                plugin, _ = self._listener.accept()
            except OSError:
                return
            with plugin, socket.create_connection(("127.0.0.1", self._port)) as server:
                up = threading.Thread(target=pump, args=(plugin, server), daemon=True)
                up.start()
                pump(server, plugin, self._spoilt)
                up.join(PATIENCE_SECONDS)

    def _spoilt(self, data):
        if self._random.random() < 0.6:
            return data
        self.spoiled += 1
        made = bytearray(data)
        for place in self._random.integers(0, len(made), 1 + len(made) // 4096):
            made[place] = self._random.integers(256)
        return bytes(made[: self._random.integers(1, len(made) + 1)])


def pump(source, sink, change=bytes):
    """Hand on what comes, until one of them ends."""
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(change(data))
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_server_that_talks_nonsense_is_left_and_tried_again(bench, clap, seed):
    server = bench()
    with closing(Spoiler(server.port, seed)) as spoiler:
        host = clap(spoiler.address)
        host.ask("open 48000 8192")
        host.play(noise(4 * BAR))
        host.tell("set Bars: 1", "set Wait: 0", "set Capture: 1", "play 120 4 4 0", "pace 20")
        end_s = time.monotonic() + PATIENCE_SECONDS
        while spoiler.spoiled < 8:
            host.tell("set Continue: 0", "run 2048 256", "set Continue: 1", "run 24000 256")
            host.value("Status")
            assert time.monotonic() < end_s, f"{spoiler.spoiled} were spoiled"
        # That connection may wait for the end of a message that never comes: to another address.
        host.load_texts(server=server.address)
        before = len(server.store.entries())
        host.tell("set Continue: 0", "run 24000 256", "set Continue: 1", "run 96000 256")
        server.wait_for_takes(before + 1)
        host.wait("Status", 5)
        assert np.isfinite(host.output()).all()


def test_a_button_that_was_saved_pressed_is_not_pressed_by_loading(bench, clap, tmp_path):
    server = bench()
    first = connected(server, clap)
    first.play(noise(20_000))
    first.tell("run 10000 512", "set Continue: 1", "set Retry: 1", "set Bars: 7", "run 10000 512")
    first.tell(f"save {tmp_path / 'pressed'}")
    first.wait("Status", 5)
    first.end()
    made = server.generator.calls["open"]
    second = connected(server, clap)
    second.play(noise(100_000))
    second.tell("run 5000 512", f"load {tmp_path / 'pressed'}", "run 50000 512")
    assert second.value("Bars") == 7
    assert second.value("Continue") == 1
    second.tell("set Continue: 0", "run 5000 512", "set Continue: 1", "run 5000 512")
    second.wait("Status", 5)
    second.end()
    assert server.generator.calls["open"] > made, "pressed by hand it works"
    assert len(server.store.entries()) == 2


@pytest.mark.parametrize("in_folder", [False, True])
def test_an_accepted_take_plays_without_the_server(bench, clap, tmp_path, in_folder):
    server = bench()
    samples = noise(4 * BAR)
    host = connected(server, clap)
    if in_folder:
        host.load_texts(folder=str(tmp_path))
    host.play(samples)
    host.tell("set Bars: 1", "set Wait: 2", "play 120 4 4 0", "run 24000 512", "set Continue: 1")
    host.tell("run 250000 512")
    host.wait("Status", 5)
    host.tell("set Accept: 1", "run 512 512")
    host.wait_for_text("status", "belongs to the session")
    server.wait_for_verdict("keep")
    host.tell(f"save {tmp_path / 'kept'}")
    live = host.output()
    files = list(tmp_path.glob("jukebox-*.wav"))
    assert [read_time_reference(file) for file in files] == [BAR - 48_000] * in_folder
    for file in files:
        np.testing.assert_array_equal(read_audio(file).samples, server.newest_audio())
    alone = clap()
    alone.ask("open 48000 8192")
    alone.tell(f"load {tmp_path / 'kept'}")
    alone.play(samples[:, 24_000:])
    # From another place, and stopped first: it lies where it lay, to the sample.
    alone.tell("set Wait: 0", "play 120 4 4 24000", f"run {live.shape[1] - 24_000} 333")
    np.testing.assert_array_equal(alone.output(), live[:, 24_000:])


def test_an_accepted_take_is_taken_back_without_a_click(bench, clap):
    server = bench()
    host = connected(server, clap)
    host.play(np.full((2, 6 * BAR), 0.25, np.float32))
    host.tell("set Bars: 2", "set Wait: 2", "play 120 4 4 0", "run 24000 512", "set Continue: 1")
    host.tell(f"run {BAR} 512")
    host.wait("Status", 5)
    host.tell("set Accept: 1", "run 512 512")
    host.wait_for_text("status", "belongs to the session")
    host.tell("run 512 512", "set Undo: 1", "run 512 512")
    host.wait_for_text("status", "has left the session")
    assert host.texts()["takes"] == ""
    host.tell("set Undo: 0", "run 4800 512", "set Undo: 1", "run 512 512")
    host.wait_for_text("status", "no take belongs to the session")
    # The song is heard from its begin again: nothing is left of the take.
    host.tell("play 120 4 4 0", f"run {3 * BAR} 512")
    heard = host.output()
    again = heard.shape[1] - 3 * BAR
    np.testing.assert_array_equal(heard[:, again:], 0.25)
    take = server.newest_audio()[:, 48_000:]
    left = BAR + int(np.argmin((heard[:, BAR : 2 * BAR] == take[:, :BAR]).all(axis=0)))
    assert left >= BAR + 24_000 + 512 - 480, "it sounded up to then"
    assert np.abs(np.diff(heard[:, left - 8 : left + 480])).max() < 0.01, "without a click"
    np.testing.assert_array_equal(heard[:, left + 240 : again], 0.25)


def test_another_answer_joins_at_a_bar_line(bench, clap):
    server = bench(generator=CountingGenerator(follows_seed=True))
    host = connected(server, clap)
    samples = noise(5 * BAR)
    host.play(samples)
    host.tell(
        "set Bars: 4", "set Wait: 2", "set Handover Fade: 0", "play 120 4 4 0", "run 24000 512"
    )
    host.tell("set Continue: 1", "run 100000 512")
    host.wait("Status", 5)
    host.tell("set Retry: 1", "run 512 512")
    server.wait_for_takes(2)
    host.wait("Status", 5)
    host.tell(f"run {3 * BAR} 512")
    heard = host.output()
    second, first = (server.audio(entry.take.id) for entry in server.store.entries())
    np.testing.assert_array_equal(heard[:, BAR : 2 * BAR], first[:, 48_000:][:, :BAR])
    joined = slice(2 * BAR + 240, 4 * BAR)
    np.testing.assert_array_equal(heard[:, joined], second[:, 48_000:][:, BAR + 240 : 3 * BAR])
    plans = [entry.take.plan for entry in server.store.entries()]
    assert plans[0].seed == plans[1].seed
    assert plans[0].variation == plans[1].variation + 1


def test_a_variation_takes_over_at_the_next_bar_while_a_loop_runs(bench, clap):
    server = bench(generator=CountingGenerator(follows_seed=True))
    host = connected(server, clap)
    samples = noise(9 * BAR)
    host.play(samples)
    host.tell("set Bars: 2", "set Wait: 2", "set Handover Fade: 0", f"loop 0 {3 * BAR}")
    host.tell("play 120 4 4 0", "run 24000 512", "set Continue: 1", f"run {4 * BAR} 512")
    host.wait("Status", 5)
    host.tell("set Retry: 1", "run 512 512")
    server.wait_for_takes(2)
    host.wait("Status", 5)
    host.tell(f"run {5 * BAR - 24_512} 512")
    passes = host.output().reshape(2, 3, 3 * BAR)
    second, first = (server.audio(entry.take.id) for entry in server.store.entries())
    second, first = second[:, RATE:], first[:, RATE:]
    for number in range(3):
        dry = samples[:, number * 3 * BAR :][:, :BAR]
        np.testing.assert_array_equal(passes[:, number, :BAR], dry)
    np.testing.assert_array_equal(passes[:, 0, BAR:], first)
    np.testing.assert_array_equal(passes[:, 1, BAR : 2 * BAR], first[:, :BAR])
    np.testing.assert_array_equal(passes[:, 1, 2 * BAR + 240 :], second[:, BAR + 240 :])
    np.testing.assert_array_equal(passes[:, 2, BAR:], second)


@pytest.mark.evidence
def test_an_offline_render_waits_a_minute_at_most(bench, clap):
    held = threading.Event()
    server = bench(generator=CountingGenerator(on_decode=lambda _: held.wait(600)))
    samples = noise(3 * BAR)
    host = connected(server, clap)
    host.play(samples)
    host.tell("set Wait: 2", "play 120 4 4 0", "run 24000 512", "set Continue: 1")
    begun_s = time.monotonic()
    host.tell(f"run {3 * BAR - 24_000} 512")
    assert host.value("Late Samples") > 0
    sys.stdout.write(f"\ngiven up after {time.monotonic() - begun_s:.0f} s\n")
    held.set()
    np.testing.assert_array_equal(host.output(), samples)


def test_notes_go_to_the_server_with_their_samples(bench, clap):
    server = bench()
    host = connected(server, clap, 44_100)
    host.play(noise(60_000))
    host.tell("set Lead: 0", "run 1000 500", "note 60 100", "run 4000 500", "note 60 0")
    host.tell("run 5000 500", "set Continue: 1", "run 1000 500")
    host.wait("Status", 5)
    host.end()
    sent = [(message.sample, *message.data) for midi in server.midi for message in midi.messages]
    assert sent == [(1000, 0x90, 60, 100), (5000, 0x80, 60, 0)]
    conditions, _ = server.generator.opened[-1]
    (note,) = conditions.midi.notes
    assert (note.start_sample, note.end_sample, note.pitch, note.velocity) == (1000, 5000, 60, 100)


def session_with_a_take(server, clap, rate, file):
    """Write the plugin's state with an accepted take of a bar at 240 bpm."""
    host = connected(server, clap, rate)
    host.tell("set Bars: 1", "set Wait: 2", "set Lead: 0", "play 240 4 4 0", f"run {rate // 2} 512")
    host.tell("set Continue: 1", f"run {2 * rate} 512", "set Accept: 1", "run 512 512")
    host.wait_for_text("status", "belongs to the session")
    host.tell("set Continue: 0", "set Accept: 0", "run 512 512", f"save {file}")
    host.value("Status")
    host.end()


@pytest.mark.parametrize("blocks", [2_000, pytest.param(25_000, marks=pytest.mark.evidence)])
@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000, 192_000])
def test_the_audio_thread_neither_allocates_nor_locks_nor_waits(
    bench, probe, tmp_path, rate, blocks
):
    server = bench()
    if rate <= 96_000:
        session_with_a_take(server, probe, rate, tmp_path / "session")
    host = connected(server, probe, rate)
    if rate <= 96_000:
        host.tell(f"load {tmp_path / 'session'}")
    # What was accepted sounds at each turn, while other answers are asked for and stopped.
    host.tell("set Bars: 1", "set Wait: 0", "set Capture: 1", "note 60 100")
    host.tell("play 240 4 4 0", f"loop 0 {4 * rate}")
    for press in range(4):
        host.tell(f"set Continue: {press % 2}", f"set Stop: {press // 2}")
        host.tell(f"run {blocks // 4 * 4400} 0")
    counted = host.ask("counts").split()
    host.tell(f"output {tmp_path / 'out.f32'}", f"run {4 * rate} 0")
    assert host.output().any() == (rate <= 96_000)
    sys.stdout.write(f"\n{rate} Hz, blocks of 1 to 8192: {' '.join(counted)}\n")
    assert int(counted[1]) >= blocks
    assert counted[2:] == ["allocations", "0", "locks", "0", "calls", "0"]


def test_the_probe_finds_what_a_bad_plugin_does(probe):
    host = probe(plugin="bad_plugin.clap")
    host.ask("open 48000 8192")
    host.tell("run 64000 64")
    assert host.ask("counts") == "blocks 1000 allocations 2000 locks 1000 calls 1000"
    host.end()


@pytest.fixture
def hanging():
    """Yield the address of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("cycles", [20, pytest.param(200, marks=pytest.mark.evidence)])
@pytest.mark.parametrize("server", ["hanging", "none"])
def test_loading_and_unloading_never_waits_for_a_server(clap, hanging, server, cycles):
    host = clap(hanging if server == "hanging" else "127.0.0.1:1")
    opened_ms, closed_ms = [], []
    for _ in range(cycles):
        opened_ms.append(float(host.ask("open 48000 512").split()[1]))
        host.tell("set Capture: 1", "set Continue: 1", "run 2048 512")
        closed_ms.append(float(host.ask("close").split()[1]))
    host.end()
    whole_ms = np.add(opened_ms, closed_ms)
    assert len(whole_ms) == cycles
    sys.stdout.write(
        f"\n{cycles} cycles, server {server}: median {np.median(whole_ms):.1f} ms, "
        f"at most {whole_ms.max():.1f} ms\n"
    )
