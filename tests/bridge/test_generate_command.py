"""`generate`, `upsample` and `takes export --codes`: from published files to music and back."""

import json
from fractions import Fraction

import numpy as np
import pytest

from bridge.__main__ import EXIT_FAILED, EXIT_REFUSED, main
from bridge.audio_file import AudioClip, Provenance, read_audio, read_markers, write_audio
from bridge.codes_file import read_codes, to_bytes
from bridge.commands.sampling import by_level
from bridge.errors import InvalidRequestError
from bridge.midi_file import write_midi
from bridge.ports import MidiPart, Note, TimedWord
from bridge.transport import Tempo, TempoMap
from tests.fakes import CountingGenerator, counting_info
from tests.published import shrink, trained_folder, write_files

SECONDS = "0.03"
PROVENANCE = Provenance(model="m", fingerprint="f", seed=1, request_id="r", licence="l")


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Return what runs a command over a small 1b_lyrics, imported from published files."""
    shrink(monkeypatch, "1b_lyrics")
    write_files(tmp_path / "files", "1b_lyrics")
    models = str(tmp_path / "models")
    imported = ["models", "import", str(tmp_path / "files"), "--name", "1b_lyrics"]
    assert main([*imported, "--models", models]) == 0
    capsys.readouterr()

    def run(name, *arguments):
        shared = ["--model", "1b_lyrics", "--models", models, "--spool", str(tmp_path / "spool")]
        code = main([name, *map(str, arguments), *shared, "--json"])
        told = capsys.readouterr()
        return code, json.loads(told.out) if told.out else told.err

    return run


def test_a_piece_is_generated_its_codes_saved_and_upsampled_to_the_same_music(command, tmp_path):
    lyrics = tmp_path / "song.txt"
    lyrics.write_text("la le\nlu")
    common = ("--seed", 4, "--temperature", "2=3,1=2.5,0=2", "--hop-fraction", "2=0.25")
    code, whole = command(
        "generate", "--seconds", SECONDS, "--lyrics", lyrics, "--artist", "#3", "--genre", "#1",
        "--total", 30, "--offset", 1, "--out", tmp_path / "a.wav", "--lrc", tmp_path / "a.lrc",
        "--picture", tmp_path / "a.png", "--codes", tmp_path / "a.safetensors", *common,
    )  # fmt: skip
    assert code == 0, whole
    assert read_audio(tmp_path / "a.wav").samples.shape == (1, 1_323)
    assert "non-commercial" in whole["licence"]
    assert (tmp_path / "a.lrc").read_text().startswith("[ti:song]")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    saved = read_codes(tmp_path / "a.safetensors")
    assert [level.level for level in saved.levels] == [2, 1, 0]
    assert saved.facts["conditions"]["labels"] == {"artist": "#3", "genre": "#1"}

    code, coarse = command(
        "generate", "--seconds", SECONDS, "--lyrics", lyrics, "--artist", "#3", "--genre", "#1",
        "--total", 30, "--offset", 1, "--levels", 2, "--out", tmp_path / "b.wav",
        "--codes", tmp_path / "b.safetensors", *common,
    )  # fmt: skip
    assert code == 0, coarse
    assert coarse["sha256"] != whole["sha256"]
    code, fine = command(
        "upsample", tmp_path / "b.safetensors", "--out", tmp_path / "c.wav",
        "--codes", tmp_path / "c.safetensors", *common,
    )  # fmt: skip
    assert code == 0, fine
    # The same labels from the file, the same seed: the same codes, whole top frames long.
    made = read_codes(tmp_path / "c.safetensors")
    for level, was in zip(made.levels, saved.levels, strict=True):
        assert np.array_equal(level.codes, was.codes)


def test_a_stretch_of_codes_and_one_level_alone_are_upsampled_and_codes_go_on(command, tmp_path):
    out = tmp_path / "a.safetensors"
    assert command(
        "generate", "--seconds", SECONDS, "--out", tmp_path / "a.wav", "--codes", out,
        "--levels", 2, "--seed", 1,
    )[0] == 0  # fmt: skip
    code, part = command(
        "upsample", out, "--from", 0.003, "--to", 0.027, "--levels", 1,
        "--out", tmp_path / "b.wav", "--codes", tmp_path / "b.safetensors",
    )  # fmt: skip
    assert code == 0, part
    assert part["start_sample"] == 128
    made = read_codes(tmp_path / "b.safetensors")
    assert [level.level for level in made.levels] == [2, 1]
    assert np.array_equal(made.levels[0].codes, read_codes(out).levels[0].codes[1:10])
    code, longer = command(
        "upsample", out, "--seconds", 0.05, "--levels", 2, "--out", tmp_path / "c.wav",
        "--codes", tmp_path / "c.safetensors",
    )  # fmt: skip
    assert code == 0, longer
    went_on = read_codes(tmp_path / "c.safetensors").levels[0].codes
    assert np.array_equal(went_on[:11], read_codes(out).levels[0].codes)
    assert went_on.size == 18


def test_what_cannot_be_made_is_refused_in_the_user_s_units(command, tmp_path):
    out = tmp_path / "a.wav"
    for arguments, words in (
        (("--seconds", 0.01), "level 1 is made in windows of 0.02 s"),
        (("--seconds", SECONDS, "--hop-fraction", "1=0.3"), "the nearest fraction is 0.25"),
        (("--seconds", SECONDS, "--offset", 3), "of a song of which --total is not given"),
        (("--seconds", SECONDS, "--artist", "abba"), "import it again with --ids"),
        (("--seconds", SECONDS, "--total", 99), "below 60 s"),
        (("--seconds", SECONDS, "--top-k", 2.5), "must be a whole number"),
    ):
        code, told = command("generate", *arguments, "--out", out)
        assert code == EXIT_REFUSED, told
        assert words in told
    assert not out.exists()
    code, told = command("upsample", tmp_path / "none", "--out", out)
    assert (code, "there is no file" in told) == (EXIT_REFUSED, True)


def test_a_blend_of_artists_reaches_the_model_and_stays_with_the_codes(command, tmp_path):
    path = tmp_path / "a.safetensors"
    code, told = command(
        "generate", "--seconds", SECONDS, "--levels", 2, "--blend", "#3/#1=0.5", "--blend", "#2=2",
        "--codes", path, "--out", tmp_path / "a.wav",
    )  # fmt: skip
    assert code == 0, told
    assert read_codes(path).facts["conditions"]["blend"] == [
        {"artist": "#3", "genre": "#1", "weight": 0.5},
        {"artist": "#2", "genre": None, "weight": 2.0},
    ]


@pytest.mark.parametrize("text", ["#3", "=1", "#3/=1", "#3=loud"])
def test_a_blend_that_cannot_be_read_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        main(["generate", "--seconds", "1", "--out", "a.wav", "--blend", text])
    assert "is not ARTIST[/GENRE]=WEIGHT" in capsys.readouterr().err


def test_a_model_that_was_not_imported_or_named_is_said(tmp_path, capsys):
    shared = ("--seconds", "1", "--out", str(tmp_path / "a.wav"), "--models", str(tmp_path))
    assert main(["generate", *shared, "--model", "5b"]) == EXIT_REFUSED
    assert "models import DIR --name 5b" in capsys.readouterr().err
    assert main(["generate", *shared]) == EXIT_REFUSED
    assert "no model is named" in capsys.readouterr().err


def test_a_running_server_sings_and_the_words_reach_every_file(serve, tmp_path, capsys):
    model = CountingGenerator(
        counting_info(streams=False, output_licence="non-commercial: outputs too")
    )
    model.sung = (
        TimedWord(
            text="oh", line=0, start_sample=441, end_sample=882, character_samples=(441, 500)
        ),
        TimedWord(text="late", line=1, start_sample=44_100, end_sample=44_200),
    )
    served = serve(model)
    lyrics = tmp_path / "l.txt"
    lyrics.write_text("oh\nlate")
    files = {name: str(tmp_path / f"a.{name}") for name in ("wav", "lrc", "png")}
    arguments = ["--server", served.address, "--seconds", "0.1", "--lyrics", str(lyrics)]
    arguments += ["--rate", "48000", "--out", files["wav"], "--lrc", files["lrc"]]
    assert main(["generate", *arguments, "--picture", files["png"], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["words"] == 1
    (marker,) = read_markers(tmp_path / "a.wav")
    assert (marker.text, marker.sample, marker.num_samples) == ("oh", 480, 480)
    assert "[00:00.01] <00:00.01> oh <00:00.02>" in (tmp_path / "a.lrc").read_text()
    take = served.engine.store.load(told["take_id"])
    assert [word.character_samples for word in take.words] == [(480, 545)]


def test_codes_of_a_take_are_exported_too(command, tmp_path, capsys):
    code, made = command(
        "generate", "--seconds", SECONDS, "--levels", 2, "--out", tmp_path / "a.wav", "--seed", 2
    )
    assert code == 0, made
    shared = ("--spool", str(tmp_path / "spool"), "--model", str(tmp_path / "models" / "1b_lyrics"))
    take = made["take_id"]
    assert main(["takes", "export", take, "--codes", *shared]) == EXIT_REFUSED
    assert "--out" in capsys.readouterr().err
    out = tmp_path / "t.safetensors"
    assert main(["takes", "export", take, "--codes", "--out", str(out), *shared]) == 0
    file = read_codes(out)
    assert file.facts["take"] == take
    assert to_bytes(file) == out.read_bytes()
    damaged = tmp_path / "d.safetensors"
    damaged.write_bytes(out.read_bytes()[:-3])
    with pytest.raises(InvalidRequestError, match="no codes of ours"):
        read_codes(damaged)


def test_a_recording_is_primed_with(command, tmp_path):
    tune = (0.3 * np.sin(np.arange(3_000) / 9)).astype(np.float32)[None]
    prime = write_audio(
        tmp_path / "p.wav", AudioClip(samples=tune, sample_rate=44_100), 500, PROVENANCE
    )
    code, made = command(
        "generate", "--prime", prime, "--seconds", SECONDS, "--out", tmp_path / "a.wav"
    )
    assert code == 0, made
    assert made["start_sample"] == 3_500


def test_numbers_by_level_are_read_or_refused():
    assert by_level("0.9") == {None: 0.9}
    assert by_level("2=0.98,0=1") == {2: 0.98, 0: 1.0}
    assert EXIT_FAILED == 1
    for wrong in ("x", "3=1", "1=1,1=2", "=", "1,2"):
        with pytest.raises(Exception, match=r"level|number"):
            by_level(wrong)


def test_notes_stems_and_the_part_wanted_reach_a_model_that_was_trained_to_hear_them(
    command, tmp_path, capsys
):
    midi, stem = tmp_path / "part.mid", tmp_path / "drums.wav"
    note = Note(start_sample=0, end_sample=1_000, pitch=60, velocity=90, program=33)
    tempos = TempoMap(sample_rate=44_100, tempos=(Tempo(bpm=Fraction(120)),))
    write_midi(midi, MidiPart(notes=(note,), start_sample=0, end_sample=1_000), tempos)
    clip = AudioClip(samples=np.full((2, 900), 0.2, np.float32), sample_rate=44_100)
    write_audio(stem, clip, 0, PROVENANCE)
    parts = ("--midi", midi, "--stem", f"drums={stem}", "--target", "bass")
    piece = ("--seconds", SECONDS, "--levels", "2", "--seed", "1", "--out")
    code, error = command("generate", *piece, tmp_path / "a.wav", *parts)
    assert code == EXIT_REFUSED
    assert all(name in error for name in ("midi", "stems", "target:bass")), error
    code, error = command("generate", *piece, midi, *parts)
    assert "also read or written" in error

    model = ("--model", str(trained_folder(tmp_path / "own")))
    made = []
    for given in ((), parts):
        arguments = ["generate", *piece, tmp_path / "b.wav", *given, *model, "--json"]
        assert main([*map(str, arguments), "--spool", str(tmp_path / "spool")]) == 0
        made.append(json.loads(capsys.readouterr().out)["sha256"])
    assert made[0] != made[1]
