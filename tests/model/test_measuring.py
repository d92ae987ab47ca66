"""Pieces to measure with: sound, stems, notes and labels of works that never train."""

import json

import mido
import numpy as np
import pytest
import soundfile as sf

from model.data.corpus import SOURCES, is_kept_for_evaluation
from model.data.errors import DataError
from model.data.measuring import RESERVED, MeasuringConfig, make_pieces
from model.data.render import Renderer
from model.data.score import Part, Score, ScoreNote, save_score


class Clicks(Renderer):
    """A renderer that needs nothing: every note is a second of a constant."""

    def __init__(self):
        pass

    def render(self, parts, num_samples):
        out = np.zeros(num_samples, np.float32)
        for part in parts:
            for start, end, _, velocity in part.notes.tolist():
                out[start:end] += velocity / 1000
        return out


@pytest.fixture
def config(tmp_path):
    notes = tuple(ScoreNote(at * 0.5, 0.5, 60 + at % 7) for at in range(160))
    for work in ("a/one", "a/two"):
        score = Score(
            work=work,
            composer="traditional",
            genre="folk",
            licence="made for a test",
            tempo_bpm=100.0,
            meter="3/4",
            bar_starts=tuple(float(bar) for bar in range(0, 80, 3)),
            length_quarters=80.0,
            parts=(Part(name="tune", role="voice", notes=notes),),
        )
        save_score(score, tmp_path / "scores" / f"{work}.json")
    splits = {"splits": {"a/one": "held_out", "a/two": "train"}}
    (tmp_path / "scores/index.json").write_text(json.dumps(splits), encoding="utf-8")
    return MeasuringConfig(
        out=tmp_path / "out",
        scores=tmp_path / "scores",
        soundfont=tmp_path / "none.sf2",
        which="held_out",
        excerpts=2,
        limit=10,
        seed=1,
    )


def test_held_out_works_become_folders_that_agree_with_themselves(config):
    folders = make_pieces(config, Clicks())
    assert [folder.name for folder in folders] == ["a-one-0", "a-one-1"]
    for folder in folders:
        labels = json.loads((folder / "labels.json").read_text("utf-8"))
        assert labels["work"] == "a/one"
        mix, rate = sf.read(folder / "mix.flac", dtype="int16")
        stems = [sf.read(path, dtype="int16")[0] for path in (folder / "stems").glob("*.flac")]
        assert rate == labels["sample_rate"] == 44_100
        if "noise_dbfs" not in labels["augmentation"]:
            np.testing.assert_array_equal(mix, np.sum(stems, axis=0))
        onset = next(at for at, value in enumerate(np.abs(mix.astype(int))) if value > 300)
        assert first_note_seconds(folder / "score.mid") == pytest.approx(onset / rate, abs=0.01)


def first_note_seconds(path):
    seconds = 0.0
    for message in mido.MidiFile(path):
        seconds += message.time
        if message.type == "note_on":
            return seconds
    raise AssertionError(f"{path} holds no note")


def test_pieces_that_are_there_are_kept(config):
    folder = make_pieces(config, Clicks())[0]
    (folder / "mix.flac").write_bytes(b"mine")
    make_pieces(config, Clicks())
    assert (folder / "mix.flac").read_bytes() == b"mine"


def test_reserved_works_are_no_source_of_training():
    patterns = {source.pattern.split("*")[0] for source in RESERVED}
    open_to_training = [s for s in SOURCES if not s.refused]
    for pattern in patterns:
        assert is_kept_for_evaluation(pattern) or not any(
            source.pattern.startswith(pattern) for source in open_to_training
        )


def test_an_unknown_set_is_named(config):
    with pytest.raises(DataError, match="'train'"):
        MeasuringConfig(
            out=config.out,
            scores=config.scores,
            soundfont=config.soundfont,
            which="train",
            excerpts=1,
            limit=1,
            seed=0,
        )
