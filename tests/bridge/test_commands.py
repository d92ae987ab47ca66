"""The command line from its arguments to its exit code; what it writes, and what it does not."""

import json
import os
import re
import signal
import socket
import threading
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from fakes import CountingGenerator

from bridge.__main__ import COMMANDS, main
from bridge.app import TranslatedGenerator
from bridge.audio_file import (
    AudioClip,
    Provenance,
    read_audio,
    read_time_reference,
    sha256_of,
    write_audio,
)
from bridge.client import Client
from bridge.commands import checks, console, doctor, serve
from bridge.config_file import example
from bridge.errors import BridgeError
from bridge.midi_file import write_midi
from bridge.ports import MidiPart, Note, StemKind
from bridge.request import Progress
from bridge.transport import steady
from model.errors import LabelError

NOBODY = Provenance(model="none", fingerprint="", seed=0, request_id="", licence="")
ANY_PORT = ("--port", "0", "--osc-port", "0", "--http-port", "0", "--plugin-port", "0")
LENGTH = round(3.5 * 2 * 60 * 48_000 / 97.3)


@pytest.fixture
def generator(monkeypatch):
    """Return the generator that every server of a command gets."""
    made = CountingGenerator(follows_seed=True)
    monkeypatch.setattr("bridge.app.server.shipped_model", lambda *_: lambda: made)
    return made


@pytest.fixture
def files(tmp_path):
    """Return the paths of a prime, a stem and a MIDI file."""
    rate = 48_000
    silence = np.zeros((2, 48_001), np.float32)
    paths = SimpleNamespace(
        prime=tmp_path / "prime.wav", stem=tmp_path / "bass.wav", midi=tmp_path / "part.mid"
    )
    write_audio(paths.prime, AudioClip(samples=silence, sample_rate=rate), 9_000, NOBODY)
    write_audio(paths.stem, AudioClip(samples=silence[:1], sample_rate=rate), 0, NOBODY)
    note = Note(start_sample=0, end_sample=rate, pitch=62, velocity=99)
    part = MidiPart(notes=(note,), start_sample=0, end_sample=rate)
    write_midi(paths.midi, part, steady(rate, 120))
    paths.out = tmp_path / "out.wav"
    paths.spool = tmp_path / "own spool"
    return paths


@pytest.fixture
def go_on(files):
    """Return a function that runs `continue` with the usual arguments and more."""

    def run(*more, **instead):
        usual = {
            "--prime": files.prime,
            "--out": files.out,
            "--tempo": 97.3,
            "--meter": "7/8",
            "--bars": 2,
            "--spool": files.spool,
        }
        usual |= {f"--{name}": value for name, value in instead.items()}
        named = [str(word) for pair in usual.items() if pair[1] is not None for word in pair]
        return main(["continue", *named, *map(str, more)])

    return run


def test_continue_writes_a_placed_file_and_says_what_it_is(generator, go_on, files, capsys):
    assert go_on("--seed", 7, "--json") == 0
    told = capsys.readouterr()
    facts = json.loads(told.out)
    assert facts["out"] == str(files.out)
    assert (facts["seed"], facts["num_samples"], facts["splice_sample"]) == (7, LENGTH, 57_001)
    assert (facts["model"], facts["licence"], facts["chain"]) == ("counting", "public domain", None)
    written = read_audio(files.out)
    assert written.samples.shape == (2, LENGTH)
    assert sha256_of(written.samples) == facts["sha256"]
    assert read_time_reference(files.out) == 57_001
    assert b"counting" in files.out.read_bytes()
    assert told.err == f"continuing {files.prime}\n"


def test_continue_says_it_in_words_too(generator, go_on, files, capsys):
    generator.known = 0.1
    assert go_on() == 0
    out = capsys.readouterr().out
    assert re.match(
        rf"{files.out}: {LENGTH} samples \(4\.32 s\) from sample 57001 on, seed \d+", out
    )
    assert "outside what the model knows" in out


def test_a_seed_repeats_the_file_and_another_does_not(generator, go_on, files, capsys):
    hashes = []
    for seed in (7, 7, 8):
        assert go_on("--seed", seed, "--json") == 0
        hashes.append(json.loads(capsys.readouterr().out)["sha256"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_midi_stems_labels_and_plan_reach_the_model(generator, go_on, files):
    more = ("--midi", files.midi, "--stem", f"bass={files.stem}", "--target", "drums")
    labels = ("--artist", "Bach", "--genre", "Chorale", "--quality", "teacher", "--start", "500")
    assert go_on(*more, *labels) == 0
    conditions, anchor = generator.opened[-1]
    (stem,) = conditions.stems
    assert (stem.kind, conditions.target) == (StemKind.BASS, StemKind.DRUMS)
    assert [note.pitch for note in conditions.midi.notes] == [62]
    assert conditions.midi.notes[0].end_sample == round((500 + 48_000 - anchor) * 147 / 160)
    assert (conditions.labels.artist, conditions.labels.genre) == ("Bach", "Chorale")
    assert read_time_reference(files.out) == 500 + 48_001


def test_tempo_form_and_curves_reach_the_model(generator, go_on, files):
    curves = ("--energy", "0.25,1", "--density", "0.5")
    assert go_on(*curves, "--sections", "A:1,B:1,A:1@0.5", "--guidance", 2) == 0
    conditions, anchor = generator.opened[-1]
    (point,) = conditions.pulse
    assert point.sample == pytest.approx((9_000 - anchor) * 147 / 160)
    assert point.samples_per_beat == pytest.approx(60 / 97.3 * 44_100)
    assert point.beats_per_bar == 3.5
    assert (conditions.energy_per_bar, conditions.density_per_bar) == ((0.25, 1.0), (0.5,))
    assert conditions.curves_sample == round((57_001 - anchor) * 147 / 160)
    starts = [section.start_sample for section in conditions.sections]
    bar = 3.5 * 60 / 97.3 * 44_100
    assert starts == pytest.approx([point.sample + n * bar for n in range(3)], abs=1)
    assert [section.similarity for section in conditions.sections] == [1.0, 1.0, 0.5]


def test_a_result_passes_into_its_suffix(generator, go_on, files):
    rate, fade = 48_000, 2_880
    suffix = np.full((1, rate), 0.25, np.float32)
    path = files.prime.parent / "next.wav"
    write_audio(path, AudioClip(samples=suffix, sample_rate=rate), 0, NOBODY)
    assert go_on("--seed", 7, "--suffix", path) == 0
    led, (conditions, anchor) = read_audio(files.out).samples, generator.opened[-1]
    assert led.shape == (2, LENGTH + fade)
    assert conditions.suffix.start_sample == round((57_001 + LENGTH + fade - anchor) * 147 / 160)
    assert conditions.suffix.samples.size == pytest.approx((rate - fade) * 147 / 160, abs=1)
    assert led[:, -1] == pytest.approx(0.25, abs=0.01)
    assert go_on("--seed", 7) == 0
    # The resampler looks past an end, where one result has more to come: rounding alone.
    np.testing.assert_allclose(led[:, :LENGTH], read_audio(files.out).samples, atol=1e-8)


def test_a_loop_is_written_whole_and_ends_where_it_begins(generator, go_on, files):
    rate, fade = 48_000, 2_880
    prime = np.tile(np.linspace(0.1, 0.2, rate, dtype=np.float32), (2, 1))
    write_audio(
        files.prime, AudioClip(samples=prime, sample_rate=rate), 9_000, NOBODY, overwrite=True
    )
    assert go_on("--seed", 7, "--loop") == 0
    whole = read_audio(files.out).samples
    assert read_time_reference(files.out) == 9_000
    assert whole.shape == (2, rate + LENGTH)
    # Past the passage from its end and before the one into the result it is the prime.
    np.testing.assert_array_equal(whole[:, fade : rate - fade], prime[:, fade : rate - fade])
    assert generator.opened[-1][0].suffix.samples.size > 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--sections", "A4"), "'A4' is not written"),
        (("--energy", "1.5"), r"energy_per_bar of bar 0 is 1.5"),
        (("--suffix", "short"), "what follows has 9 samples, at least 5760"),
    ],
)
def test_form_that_means_nothing_is_told_in_one_line(generator, go_on, files, capsys, more, words):
    short = files.prime.parent / "short.wav"
    clip = AudioClip(samples=np.zeros((1, 9), np.float32), sample_rate=48_000)
    write_audio(short, clip, 0, NOBODY)
    assert go_on(*(short if word == "short" else word for word in more)) == 2
    assert re.search(words, capsys.readouterr().err)
    assert not files.out.exists()


def test_a_running_server_is_used_when_named(serve, go_on, files, capsys):
    served = serve(CountingGenerator(follows_seed=True))
    assert go_on("--server", served.address, "--seed", 3, "--samples", 1_001, bars=None) == 0
    written = read_audio(files.out).samples
    assert written.shape == (2, 1_001)
    assert served.engine.stats().done_jobs == 1
    assert not files.spool.exists()


def test_a_chain_changes_the_file_and_not_the_dry_hash(generator, go_on, files, capsys):
    chain = files.out.parent / "chain.json"
    chain.write_text('{"plugins": [{"plugin": "Gain", "parameters": {"gain_db": -6.0}}]}')
    hashes, audio = [], []
    for more in ((), ("--chain", chain)):
        assert go_on("--seed", 1, "--json", *more) == 0
        hashes.append(json.loads(capsys.readouterr().out)["sha256"])
        audio.append(read_audio(files.out).samples)
    assert hashes[0] == hashes[1] == sha256_of(audio[0])
    np.testing.assert_allclose(audio[1], audio[0] * 10 ** (-6 / 20), rtol=1e-4, atol=1e-7)


def bad(name, make):
    def prepare(files):
        path = files.prime.parent / name
        make(path, files)
        return path

    return prepare


def nan_audio(path, files):
    samples = np.zeros((1, 100), np.float32)
    samples[0, 50] = np.nan
    write_audio(path, AudioClip(samples=samples, sample_rate=48_000), 0, NOBODY)


def empty_audio(path, files):
    soundfile.write(path, np.zeros((0, 1), np.float32), 48_000)


def torn(of):
    def make(path, files):
        path.write_bytes(getattr(files, of).read_bytes()[:-30])

    return make


def other_rate(path, files):
    clip = AudioClip(samples=np.zeros((1, 100), np.float32), sample_rate=44_100)
    write_audio(path, clip, 0, NOBODY)


BAD_FILES = {
    "missing prime": ("--prime", lambda files: "no.wav", "no file no.wav"),
    "NaN prime": ("--prime", bad("nan.wav", nan_audio), "1 samples that are NaN"),
    "empty prime": ("--prime", bad("empty.wav", empty_audio), "0 samples"),
    "torn prime": ("--prime", bad("torn.wav", torn("prime")), "truncated"),
    "prime is a folder": ("--prime", lambda files: files.prime.parent, "regular file"),
    "prime is MIDI": ("--prime", lambda files: files.midi, "neither WAV"),
    "missing MIDI": ("--midi", lambda files: "no.mid", "no file no.mid"),
    "torn MIDI": ("--midi", bad("torn.mid", torn("midi")), "torn.mid"),
    "MIDI is WAV": ("--midi", lambda files: files.stem, "MThd"),
    "missing stem": ("--stem", lambda files: "drums=no.wav", "no file no.wav"),
    "other rate": (
        "--stem",
        lambda files: f"drums={bad('other.wav', other_rate)(files)}",
        "44100 Hz, the prime has 48000 Hz",
    ),
    "missing chain": ("--chain", lambda files: "no.json", "no.json"),
    "out is no WAV": ("--out", lambda files: files.out.with_suffix(".flac"), ".wav"),
    "out has no folder": ("--out", lambda files: files.out.parent / "x" / "o.wav", "no folder"),
    "out is the prime": ("--out", lambda files: files.prime, "also read"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_told_in_one_line_and_nothing_is_written(
    case, generator, go_on, files, capsys
):
    option, make, words = BAD_FILES[case]
    value = make(files)
    before = folder_of(files)
    assert go_on(option, value) == 2
    assert_one_line(capsys, words)
    assert folder_of(files) == before
    assert generator.calls["step"] == 0


BAD_VALUES = {
    "0 bpm": (("--tempo", "0"), "0 bpm, allowed are 10 to 999 bpm"),
    "NaN bpm": (("--tempo", "nan"), "nan"),
    "meter": (("--meter", "4/5"), "1/5 note"),
    "0 bars": (("--bars", "0"), "0 bars"),
    "many bars": (("--bars", "9999"), "samples, allowed are 1 to"),
    "seed": (("--seed", "-1"), "seed is -1"),
    "temperature": (("--temperature", "0"), "temperature is 0, allowed are 0.01 to 10"),
    "far start": (("--start", str(2**60)), str(2**53)),
    "two basses": (("--stem", "bass=bass.wav", "--stem", "bass=bass.wav"), "2 stems of kind bass"),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_a_bad_value_is_told_in_one_line_and_nothing_is_written(
    case, generator, go_on, files, capsys, monkeypatch
):
    monkeypatch.chdir(files.prime.parent)
    more, words = BAD_VALUES[case]
    assert go_on(*more) == 2
    assert_one_line(capsys, words)
    assert not files.out.exists()
    assert generator.calls["step"] == 0


def test_bars_without_a_tempo_are_refused(generator, go_on, capsys):
    assert go_on(tempo=None) == 2
    assert_one_line(capsys, "2 bars need a tempo")


def test_an_unknown_artist_is_refused_with_those_known(go_on, files, capsys, monkeypatch):
    class Refusing(CountingGenerator):
        def open(self, conditions, anchor_sample, end_sample):
            raise LabelError("the artist is 'Nobody', known are Bach")

    refusing = TranslatedGenerator(Refusing())
    monkeypatch.setattr("bridge.app.server.shipped_model", lambda *_: lambda: refusing)
    assert go_on("--artist", "Nobody") == 2
    assert_one_line(capsys, "known are Bach")
    assert not files.out.exists()


def test_a_server_that_is_gone_fails_with_exit_code_1(go_on, files, capsys):
    assert go_on("--server", "127.0.0.1:1") == 1
    assert_one_line(capsys, "the server at 127.0.0.1:1 did not answer")
    assert not files.out.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["continue"],
        ["continue", "--prime", "a.wav", "--out", "b.wav"],
        ["continue", "--prime", "a.wav", "--out", "b.wav", "--bars", "x"],
        ["continue", "--prime", "a.wav", "--out", "b.wav", "--bars", "1", "--samples", "5"],
        ["continue", "--prime", "a.wav", "--out", "b.wav", "--bars", "1", "--stem", "harp=h.wav"],
        ["continue", "--prime", "a.wav", "--out", "b.wav", "--bars", "1", "--stem", "bass"],
        ["continue", "--prime", "a.wav", "--out", "b.wav", "--bars", "1", "--quality", "best"],
        ["serve", "--port", "many"],
    ],
)
def test_arguments_that_mean_nothing_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: jukebox-bridge" in capsys.readouterr().err


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in told] == []


def test_an_interrupt_ends_with_130(go_on, capsys, monkeypatch, files):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("bridge.commands.continue_.read_audio", interrupt)
    assert go_on() == 130
    assert "interrupted" in capsys.readouterr().err


def test_serve_listens_says_so_and_stops_on_a_signal(generator, tmp_path, monkeypatch):
    said, ready = [], threading.Event()

    def say(line):
        said.append(line)
        if line.startswith("ready"):
            ready.set()

    monkeypatch.setattr(serve, "say", say)
    served = []

    def use_and_stop():
        ready.wait(30)
        port = re.search(r"gRPC 127\.0\.0\.1:(\d+), OSC 127\.0\.0\.1:(\d+)", said[0])[1]
        with Client(f"127.0.0.1:{port}") as client:
            served.extend(model.name for model in client.models())
        os.kill(os.getpid(), signal.SIGTERM)

    user = threading.Thread(target=use_and_stop)
    user.start()
    spool = tmp_path / "spool"
    assert main(["serve", *ANY_PORT, "--spool", str(spool)]) == 0
    user.join()
    assert served == ["counting"]
    assert said[1] == "ready: model counting"


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--host", "0.0.0.0"], 2, "other machines can reach the host"),
        (["--port", "70000"], 2, "--port is 70000, allowed are 0 to 65535"),
        (["--model", "nowhere"], 1, "nowhere"),
    ],
)
def test_serve_refuses_what_it_cannot_do(more, code, words, tmp_path, capsys):
    usual = ["serve", *ANY_PORT, "--spool", str(tmp_path / "spool")]
    assert main([*usual, *more]) == code
    assert words in capsys.readouterr().err


def test_serve_tells_of_a_port_in_use(generator, tmp_path, capsys):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        usual = ["serve", *ANY_PORT, "--spool", str(tmp_path / "spool")]
        assert main([*usual, "--port", port]) == 1
    assert_one_line(capsys, f"TCP port {port} on 127.0.0.1 is in use by another process")


def test_doctor_reports_every_finding(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(doctor, "shipped_model", lambda folder: CountingGenerator)
    usual = ["doctor", *ANY_PORT, "--spool", str(tmp_path / "spool")]
    code = main([*usual, "--json"])
    findings = {found["name"]: found for found in json.loads(capsys.readouterr().out)}
    assert code == int(any(found["verdict"] == "fail" for found in findings.values()))
    assert findings["spool"]["verdict"] == findings["model"]["verdict"] == "ok"
    assert findings["model"]["found"].startswith("counting (counting-1), loaded in")
    assert not (tmp_path / "spool").exists()
    assert main(usual) == code
    assert re.search(r"ok +Python +3\.", capsys.readouterr().out)


def test_doctor_fails_and_says_what_to_do_when_the_weights_are_missing(tmp_path, capsys):
    usual = ["doctor", *ANY_PORT, "--spool", str(tmp_path)]
    assert main([*usual, "--model", str(tmp_path / "none")]) == 1
    out = capsys.readouterr().out
    assert re.search(r"fail  model files .*manifest\.json does not exist", out)
    assert re.search(r"fail  model  ", out)
    assert "-> install the package again" in out


def test_each_finding_has_its_bad_case(tmp_path):
    (tmp_path / "file").write_text("flags: fpu sse2")
    locked = tmp_path / "file" / "spool"
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = checks.port_finding(
            "gRPC port", socket.SOCK_STREAM, "127.0.0.1", holder.getsockname()[1]
        )
    bad_cases = {
        "Python": doctor.python_finding((3, 10)),
        "torch": doctor.torch_finding(None),
        "other torch": doctor.torch_finding("2.12.0+cpu"),
        "cores": doctor.cores_finding(1),
        "memory": doctor.memory_finding(2**30),
        "spool": checks.spool_finding(locked),
        "disk": checks.disk_finding(tmp_path, least_bytes=2**62),
        "threads": doctor.threads_finding({"OMP_NUM_THREADS": "8"}),
        "load": doctor.load_finding(3.5, 2),
        "allowed": checks.allowed_finding(tmp_path / "gone"),
        "port": port,
    }
    verdicts = {name: str(found.verdict) for name, found in bad_cases.items()}
    failing = {"Python": "fail", "torch": "fail", "spool": "fail"}
    assert verdicts == dict.fromkeys(bad_cases, "warn") | failing
    assert all(found.advice for found in bad_cases.values())
    assert doctor.torch_finding(f"{doctor.TORCH_VERSION}+cpu").verdict == "ok"


def test_doctor_wants_the_torch_that_the_package_requires():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert f"torch=={doctor.TORCH_VERSION}" in project["project"]["dependencies"]


def test_a_bar_shows_on_a_terminal_only(monkeypatch, capsys):
    step = Progress(phase="top", step=3, total_steps=10, eta_seconds=1.5)
    with console.progress_bar("working") as bar:
        bar.stage("loading")
        bar.show(step)
    assert capsys.readouterr().err == "working\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with console.progress_bar("working") as bar:
        bar.show(step)
        told = "top 3/10, 1.5 s left"
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert all(word in shown for word in told.split(" ", 1))


def folder_of(files):
    return {
        (path, path.stat().st_size)
        for path in files.prime.parent.rglob("*")
        if files.spool not in (path, *path.parents)
    }


def assert_one_line(capsys, words):
    """Fail unless stderr ends with one line of ours, and nothing looks like a traceback."""
    told = capsys.readouterr()
    assert told.out == ""
    assert "Traceback" not in told.err
    last = told.err.splitlines()[-1]
    assert last.startswith("jukebox-bridge: ")
    assert words in last
    assert len([line for line in told.err.splitlines() if not line.startswith("continuing")]) == 1


def test_an_error_without_a_row_still_ends_with_1(monkeypatch, go_on, capsys):
    def fail(*_):
        raise BridgeError("odd")

    monkeypatch.setattr("bridge.commands.continue_.read_audio", fail)
    assert go_on() == 1
    assert_one_line(capsys, "odd")


def test_serve_checks_what_a_start_needs_and_starts_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("bridge.commands.serve.running", None)
    usual = ["serve", *ANY_PORT, "--spool", str(tmp_path / "spool"), "--check"]
    assert main(usual) == 0
    told = capsys.readouterr().out
    for name in ("gRPC port", "OSC port", "HTTP port", "spool", "free disk", "reach"):
        assert re.search(rf"(?m)^(ok|warn) +{name} ", told), name
    assert re.search(r"ok +model files +small: \d+ files, \d+ MB, hashes agree", told)
    assert not (tmp_path / "spool").exists()


def test_serve_s_check_fails_where_a_start_would(tmp_path, capsys):
    (tmp_path / "config.toml").write_text('[files]\nallowed = ["gone"]\n')
    (tmp_path / "tokens").write_text("a short\n")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        given = ["--config", tmp_path / "config.toml", "--http-port", port, "--model", tmp_path]
        given += ["--token-file", tmp_path / "tokens", "--spool", tmp_path / "tokens" / "spool"]
        assert main(["serve", *ANY_PORT, *map(str, given), "--check", "--json"]) == 1
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    failed = {name for name, row in rows.items() if row["verdict"] == "fail"}
    assert failed == {"HTTP port", "token file", "model files", "spool"}
    assert rows["allowed folder"]["verdict"] == "warn"
    assert all(row["advice"] for row in rows.values() if row["verdict"] != "ok")


def test_serve_s_check_looks_at_the_map_of_pads_and_at_every_input(files, tmp_path, capsys):
    (tmp_path / "midi.toml").write_text('[presets.a]\npath = "a.wav"\n')
    usual = ["serve", *ANY_PORT, "--spool", str(tmp_path), "--check", "--json"]
    usual += ["--midi-map", str(tmp_path / "midi.toml"), "--midi-in", f"file:{files.midi}"]
    assert main(usual) == 0
    rows = {row["name"]: row["found"] for row in json.loads(capsys.readouterr().out)}
    assert rows["MIDI map"].endswith("midi.toml: 0 rows, 1 presets")
    assert re.search(r"part\.mid: \d+ messages", rows["MIDI input"])
    assert main([*usual, "--midi-in", "file:gone.mid"]) == 1
    assert "there is no file gone.mid" in capsys.readouterr().out


def test_serve_writes_an_example_once_and_reads_it(tmp_path, capsys):
    file = tmp_path / "configuration" / "jukebox-bridge" / "config.toml"
    assert main(["serve", "--write-config"]) == 0
    assert str(file) in capsys.readouterr().out
    assert file.read_text("utf-8") == example()
    assert main(["serve", "--write-config"]) == 2
    assert_one_line(capsys, "is there already")
    assert main(["serve", *ANY_PORT, "--spool", str(tmp_path), "--check"]) == 0
    assert str(file) in capsys.readouterr().out


def test_doctor_says_what_is_wrong_with_the_configuration(tmp_path, capsys):
    (tmp_path / "config.toml").write_text("[sever]\n")
    assert main(["doctor", "--config", str(tmp_path / "config.toml")]) == 1
    assert re.search(
        r"fail  configuration .*'sever' is unknown, did you mean 'server'", capsys.readouterr().out
    )
