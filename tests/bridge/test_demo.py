"""The demo with a generator that counts: every file, every promised fact, every refusal."""

import argparse
import hashlib
import json

import numpy as np
import pytest
from fakes import CountingGenerator

from bridge import report_picture
from bridge.audio_file import read_audio, read_time_reference
from bridge.commands import demo
from bridge.errors import InvalidRequestError, NotReadyError, StoppingError
from bridge.figures import FIGURES
from bridge.messages import bytes_of
from bridge.splice import FADE_SECONDS

FILES = ["continuation.wav", "free.wav", "joined.wav", "prime.wav", "report.json", "report.png"]
PROMISED = {
    "rtf",
    "first_audio_ms",
    "prime_samples",
    "continuation_samples",
    "expected_samples",
    "seed",
    "sha256",
    "peak_rss_mb",
    "codec_fidelity",
    "model",
    "fingerprint",
    "sample_rate",
    "figures",
}


@pytest.fixture(scope="module")
def example():
    return demo.load_example()


@pytest.fixture
def small(monkeypatch):
    """Make a demo of one bar and a coarse picture, which take less time."""
    monkeypatch.setattr(demo, "BARS", 1)
    monkeypatch.setattr(report_picture, "DOTS_PER_INCH", 30)


def parsed(*given):
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args([str(word) for word in given])


def run(tmp_path, *given):
    out = tmp_path / "new" / "demo"
    arguments = parsed("--out", out, "--spool", tmp_path / "spool", *given)
    code = demo.run(arguments, lambda: CountingGenerator(follows_seed=True))
    assert code == 0
    return out, json.loads((out / "report.json").read_text())


@pytest.mark.slow
def test_the_demo_writes_all_files_and_reports_what_was_promised(tmp_path, example, capsys):
    out, report = run(tmp_path, "--seed", 5)
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert set(report) >= PROMISED
    assert report["continuation_samples"] == report["expected_samples"] == 460_800
    assert report["seed"] == 5
    assert report["peak_rss_mb"] > 20
    assert all(list(row) == list(FIGURES) for row in report["figures"].values())
    assert len(report["figures"]) == 4
    told = capsys.readouterr()
    assert "RTF" in told.out
    assert "first audio" in told.out
    assert str(out / "joined.wav") in told.out
    assert "continuing" in told.err
    check_audio(out, report, example)


def check_audio(out, report, example):
    prime, continuation, joined = (
        read_audio(out / f"{name}.wav").samples for name in ("prime", "continuation", "joined")
    )
    splice = prime.shape[1]
    np.testing.assert_array_equal(prime, example.clip.samples)
    assert hashlib.sha256(bytes_of(continuation)).hexdigest() == report["sha256"]
    assert joined.shape[1] == splice + continuation.shape[1]
    np.testing.assert_array_equal(joined[:, splice:], continuation)
    fade = round(FADE_SECONDS * 48_000)
    np.testing.assert_array_equal(joined[:, : splice - fade], prime[:, : splice - fade])
    starts = [read_time_reference(out / f"{name}.wav") for name in ("prime", "continuation")]
    assert starts == [0, splice]


@pytest.mark.slow
def test_a_running_server_is_used_and_old_files_are_replaced(tmp_path, serve, small, capsys):
    served = serve()
    out = tmp_path / "demo"
    out.mkdir()
    for name in FILES:
        (out / name).write_text("old")

    def never():
        raise AssertionError("a second server was started")

    assert demo.run(parsed("--out", out, "--server", served.address), never) == 0
    assert served.engine.stats().done_jobs == 2
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert json.loads((out / "report.json").read_text())["continuation_samples"] == 115_200
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")


def test_the_example_is_eight_bars_of_notes_over_four_of_sound(example):
    assert example.splice_sample == example.tempo_map.sample_of_bar(4)
    after = [note for note in example.part.notes if note.start_sample >= example.splice_sample]
    assert len(after) > 20
    assert example.part.end_sample == pytest.approx(2 * example.splice_sample, abs=1_000)
    assert example.scene.bar_samples * 4 == example.splice_sample


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(InvalidRequestError, match="no folder"):
        demo.run(parsed("--out", taken), CountingGenerator)
    with pytest.raises(NotReadyError, match="nothing can be written"):
        demo.run(parsed("--out", taken / "below"), CountingGenerator)
    assert taken.read_text() == "mine"


def test_a_server_that_is_gone_leaves_no_folder(tmp_path):
    out = tmp_path / "demo"
    with pytest.raises(StoppingError, match="did not answer"):
        demo.run(parsed("--out", out, "--server", "127.0.0.1:1"))
    assert not out.exists()
    with pytest.raises(InvalidRequestError, match="seed"):
        demo.run(parsed("--out", out, "--seed", -1, "--server", "127.0.0.1:1"))
    assert not out.exists()
