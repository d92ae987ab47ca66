"""`jukebox-bridge train` from its arguments to its exit code."""

import json
import signal

import numpy as np
import pytest
import soundfile

from bridge.__main__ import main
from bridge.app import training
from bridge.commands import train as command

CONFIG = """
size = "tiny"
[model]
sample_rate = 8000
downs = [[1]]
multipliers = [1]
depth = 1
[loss]
resolutions = [[512, 50, 240]]
[data]
clip_samples = 1200
batch_clips = 2
bandwidth_seconds = 0.5
[learning]
steps = 2
[saving]
report_steps = 1
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "songs").mkdir()
    times = np.arange(4000) / 8000
    soundfile.write(tmp_path / "songs/one.wav", 0.5 * np.sin(2760 * times), 8000)
    (tmp_path / "codec.toml").write_text(CONFIG)
    return tmp_path


def arguments(folder, *more, kind="codec"):
    paths = ["--config", folder / "codec.toml", "--data", folder / "songs", "--out", folder / "out"]
    return ["train", kind, *map(str, paths), *more]


def test_a_training_says_what_it_does_and_where_the_model_is(folder, capsys):
    assert main(arguments(folder, "--max-minutes", "5")) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == ["vqvae: 2 steps", str(folder / "out/model")]
    assert "codec of size tiny" in told.err
    assert "step 2, loss" in told.err
    assert "min left" in told.err
    assert main(["models", "info", str(folder / "out/model"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [part["part"] for part in facts["parts"]] == ["vqvae"]
    assert facts["licence"] == "the user's own"
    assert main(["models", "verify", str(folder / "out/model")]) == 0


@pytest.mark.parametrize(
    ("old", "new", "more", "complaint"),
    [
        ("depth = 1", "deep = 1", (), "model.deep is unknown; did you mean model.depth?"),
        ("", "", ("--max-minutes", "0"), "--max-minutes is 0, it must be above 0 minutes"),
        ("", "", ("--threads", "-1"), "--threads is -1, the least is 0"),
    ],
)
def test_what_is_refused_ends_with_a_line_and_exit_code_2(
    old, new, more, complaint, folder, capsys
):
    (folder / "codec.toml").write_text(CONFIG.replace(old, new) if old else CONFIG)
    assert main(arguments(folder, *more)) == 2
    assert complaint in capsys.readouterr().err


def test_a_model_that_cannot_be_read_ends_with_exit_code_1(folder, capsys):
    (folder / "codec.toml").write_text('size = "tiny"\nbase = "nowhere"\n')
    assert main(arguments(folder, kind="prior")) == 1
    assert "nowhere/manifest.json does not exist" in capsys.readouterr().err


def test_the_first_signal_asks_for_a_stop_and_the_second_ends(folder, monkeypatch, capsys):
    asked = []

    def trains(order, say, stop):
        asked.append(stop())
        signal.raise_signal(signal.SIGTERM)
        asked.append(stop())
        signal.raise_signal(signal.SIGINT)
        raise AssertionError(order, say)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(command, "train", trains)
    assert main(arguments(folder)) == 130
    assert asked == [False, True]
    assert signal.getsignal(signal.SIGINT) is before
    assert "stopping after this step" in capsys.readouterr().err


def test_the_kinds_of_the_command_are_those_of_the_model():
    from model.training.published.presets import KINDS

    assert tuple(KINDS) == training.TRAINED_KINDS == tuple(command.DOES)
