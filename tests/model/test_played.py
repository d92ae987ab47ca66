"""Notes and stems a user has are told to the prior in training, and steer what it makes."""

import json
from dataclasses import replace

import mido
import numpy as np
import pytest
import torch

from model.conditioning.embeddings import PlayedConditions
from model.conditioning.roll import NOTE_FIELDS, ROLL_FRAME_SAMPLES
from model.config import PlayedConfig
from model.errors import ConditionError, TrainingError
from model.offline import OfflineGenerator
from model.offline_checks import OfflinePlan
from model.offline_state import restored
from model.published.level import PublishedLevel
from model.published.played import NO_CODE, Played, played_inputs
from model.published.request import LevelSettings
from model.trained import config_of, load_codec, load_trained, open_trained, trained_sizes
from model.training.midi import read_notes
from model.training.published.clips import Cutter
from model.training.published.playing import Playing
from model.training.published.recordings import open_recordings
from model.values import StemAudio
from tests.model.test_published_training import (
    CODEC_TOML,
    RATE,
    history,
    prior_text,
    train,
    write_song,
)

CONFIG = PlayedConfig(codebook_size=16, latent_width=4, roll_frames=4)
FRAME = ROLL_FRAME_SAMPLES // 4
LOW, HIGH = 40, 76


def write_midi(path, pitch, seconds=1.0, channel=0, program=33, kind=1):
    """Write one note; a tempo change in its middle must not move its end."""
    file = mido.MidiFile(ticks_per_beat=480, type=kind)
    track = mido.MidiTrack()
    file.tracks.append(track)
    half = seconds / 2
    track.append(mido.MetaMessage("set_tempo", tempo=500_000))
    track.append(mido.Message("program_change", channel=channel, program=program))
    track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=90))
    track.append(mido.MetaMessage("set_tempo", tempo=1_000_000, time=round(half * 960)))
    track.append(mido.Message("note_off", channel=channel, note=pitch, time=round(half * 480)))
    file.save(path)


@pytest.fixture(scope="module")
def band(tmp_path_factory):
    """Return a folder of two songs of one tone each, with their notes and stems."""
    folder = tmp_path_factory.mktemp("band")
    rows = []
    for name, pitch in (("low", LOW), ("high", HIGH)):
        hertz = 440 * 2 ** ((pitch - 69) / 12)
        write_song(folder / f"{name}.wav", hertz=hertz)
        write_song(folder / f"{name}-bass.wav", hertz=hertz)
        write_song(folder / f"{name}-other.wav", hertz=3 * hertz)
        write_midi(folder / f"{name}.mid", pitch)
        stems = {"bass": f"{name}-bass.wav", "other": f"{name}-other.wav"}
        rows.append({"path": f"{name}.wav", "midi": f"{name}.mid", "stems": stems})
    (folder / "recordings.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def codec(band, tmp_path_factory):
    folder = tmp_path_factory.mktemp("codec")
    return train(folder, "codec", CODEC_TOML.format(steps=30), band, "codec")


@pytest.fixture(scope="module")
def taught(codec, band, tmp_path_factory):
    """Return a top prior that was told notes and stems, and what was said."""
    folder, lines = tmp_path_factory.mktemp("prior"), []
    made = train(folder, "prior", prior_text(codec, 60, "plays = true"), band, "out", lines)
    return made, lines, history(folder / "out")


def test_a_midi_file_gives_notes_at_samples_with_the_part_they_belong_to(tmp_path):
    write_midi(tmp_path / "a.mid", 60)
    write_midi(tmp_path / "b.mid", 38, channel=9)
    (bass,), (hit,) = (read_notes(tmp_path / name, RATE) for name in ("a.mid", "b.mid"))
    assert list(bass) == [0, RATE, 60, 90, 33, 1]
    assert list(hit) == [0, RATE, 38, 90, 128, 0]
    write_midi(tmp_path / "c.mid", 60, kind=2)
    with pytest.raises(TrainingError, match=r"c\.mid is of MIDI type 2"):
        read_notes(tmp_path / "c.mid", RATE)
    mido.MidiFile().save(tmp_path / "d.mid")
    with pytest.raises(TrainingError, match=r"d\.mid holds no notes"):
        read_notes(tmp_path / "d.mid", RATE)


def test_clips_are_of_all_parts_and_told_all_the_others(band):
    plain = Cutter(recordings=open_recordings(band), sample_rate=RATE, clip_samples=2048, seed=1)
    cutter = replace(plain, plays=True)
    clips = [cutter.clip(step, 0) for step in range(300)]
    assert {clip.target for clip in clips} == {0, 2, 4}
    for clip in clips:
        stem = {0: "", 2: "-bass", 4: "-other"}[clip.target]
        assert clip.source.path.stem == clip.recording.mix.path.stem + stem
        assert {"bass": 2, "other": 4}.get("".join(clip.given)) != clip.target
    assert any(clip.given for clip in clips)
    told = {clip.told_from_samples for clip in clips}
    assert told == {None, *(ROLL_FRAME_SAMPLES * number for number in range(4))}
    # What is cut stays where it was: the draws of parts come last.
    places = [(clip.recording, clip.start_samples, clip.left) for clip in clips]
    assert places == [
        (clip.recording, clip.start_samples, clip.left)
        for clip in (plain.clip(step, 0) for step in range(300))
    ]


def test_a_batch_is_told_its_stems_codes_and_its_own_part_s_notes(band, codec):
    recordings = open_recordings(band)
    cutter = Cutter(recordings=recordings, sample_rate=RATE, clip_samples=2048, seed=1, plays=True)
    notes = {one.midi: read_notes(one.midi, RATE) for one in recordings}
    playing = Playing(config=replace(CONFIG, roll_frames=128), notes=notes)
    level = load_codec(codec).level(1)
    seen = set()
    for step in range(40):
        batch = cutter.batch(step, range(2))
        inputs = playing.inputs(batch, level)
        assert inputs.stems.shape == (2, 5, 512)
        for row, clip in enumerate(batch.clips):
            given = {1 + ("drums", "bass", "vocals", "other").index(kind) for kind in clip.given}
            assert {kind for kind in range(5) if inputs.stems[row, kind, 0] >= 0} == given
            for kind in clip.given:
                codes = level.encode(batch.stems[row][kind][None])[0]
                assert torch.equal(inputs.stems[row, {"bass": 2, "other": 4}[kind]], codes)
            known = inputs.roll_known[row]
            assert bool(known.any()) == (clip.told_from_samples is not None)
            pitch = LOW if "low" in clip.recording.mix.path.name else HIGH
            sounds = bool(inputs.roll[row, -1, pitch])
            # The note is the bass's: who makes the other part is told that it rests.
            assert sounds == (bool(known.any()) and clip.target != 4)
            seen.add((clip.target, bool(known.any()), bool(clip.given)))
    assert {(0, True, False), (2, True, True), (4, True, True)} <= seen


def test_a_prior_learns_what_notes_and_stems_tell(taught, codec, band):
    made, lines, rows = taught
    assert not any("not used" in line for line in lines)
    assert rows[-1]["music_bits"] < rows[0]["music_bits"] - 0.5
    prior = load_trained(open_trained(made.folder), "level_1")
    assert prior.played is not None
    assert bool(prior.played.codebook.any())
    level = load_codec(codec).level(1)
    low, high = (tone(pitch) for pitch in (LOW, HIGH))
    codes = level.encode(torch.stack([low, high]))[:, 100:132]
    right = torch.tensor([LOW, HIGH])
    bits = [bits_of(made, codes, pitches) for pitches in (right, right.flip(0))]
    assert bits[0] < bits[1] - 0.05


def tone(pitch):
    times = torch.arange(1280) / RATE
    return 0.3 * torch.sin(2 * torch.pi * 440 * 2 ** ((pitch - 69) / 12) * times)


def bits_of(made, codes, pitches):
    """Return the loss of windows that are told a sounding note each."""
    sizes = trained_top(made)
    level = PublishedLevel(load_trained(made, "level_1"), sizes)
    rows = [np.array([(0, 10_000, int(pitch), 90, 33, 1)], np.int64) for pitch in pitches]
    items = [Played(notes=notes, spans=((0, 10_000),)) for notes in rows]
    prior = level.module
    inputs = played_inputs(items, prior.played.config, 0, codes.shape[1])
    with torch.no_grad():
        conditions = prior.played(inputs)
        zero = torch.zeros(len(codes), dtype=torch.long)
        start = prior.start_vector(zero, zero[:, None])
        logits = prior(codes, start, conditions)
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), codes.flatten()))


def trained_top(made):
    from model.conditioning.text import V2
    from model.published.request import LevelSizes

    config = config_of(made, "level_1")
    return LevelSizes(prior=config, rules=V2, hop_samples=4, codebook_size=16)


def whole_system(taught, songs, folder):
    """Return the taught prior with an upsampler of a step below it, as a generator."""
    made = taught[0]
    text = (
        f'size = "tiny"\nlevel = 0\nbase = "{made.folder}"\n'
        + prior_text(made, 1).split("\n", 3)[3]
    ).replace("depth = 4", "depth = 3\nupper_depth = 1")
    whole = train(folder, "upsampler", text, songs, "up")
    sizes = trained_sizes(open_trained(whole.folder))

    def load(level):
        return PublishedLevel(load_trained(whole, f"level_{level}"), sizes.level(level))

    return OfflineGenerator(sizes, load_codec(whole), load)


def test_the_trained_system_samples_what_notes_and_stems_ask_for(taught, band, tmp_path):
    from tests.published import song_of

    generator = whole_system(taught, band, tmp_path)
    plan = OfflinePlan(seed=3, settings=(LevelSettings(), LevelSettings(hop_fraction=0.5)))
    song = song_of(artists=(0, 0), genres=((0,), (0,)), blends=((), ()), total_samples=RATE)
    made = {}
    for name, pitch, stems in (("low", LOW, ()), ("high", HIGH, ()), ("stem", LOW, (0.3,))):
        notes = np.array([(0, 256, pitch, 90, 33, 1)], np.int64)
        given = tuple(
            StemAudio(kind=2, start_sample=-8, samples=np.full(300, value, np.float32))
            for value in stems
        )
        state = generator.open(song, 256, Played(notes=notes, spans=((0, 256),)), given)
        state = generator.begin(state, plan, 256)
        assert len(state.stems) == len(stems)
        while state.decodable_sample < state.end_sample:
            state = generator.step(restored(state.to_bytes()) if state.run is None else state, plan)
            state = state.state
        made[name] = state
    assert not np.array_equal(made["low"].codes[1], made["high"].codes[1])
    assert not np.array_equal(made["low"].codes[1], made["stem"].codes[1])
    assert made["stem"].played.stems.shape == (5, 73)
    assert (made["stem"].played.stems[[0, 1, 3, 4]] == NO_CODE).all()


def test_windows_are_told_their_own_stretch():
    notes = np.array([(3 * ROLL_FRAME_SAMPLES, 5 * ROLL_FRAME_SAMPLES, 60, 127, 0, 0)], np.int64)
    stems = np.arange(40, dtype=np.int64)[None].repeat(5, 0) % 16
    item = Played(notes=notes, spans=((ROLL_FRAME_SAMPLES, 6 * ROLL_FRAME_SAMPLES),), stems=stems)
    whole = played_inputs([item], CONFIG, 0, 40)
    part = played_inputs([item], CONFIG, 8, 24)
    assert torch.equal(part.roll, whole.roll[:, 2:8])
    assert torch.equal(part.roll_known, whole.roll_known[:, 2:8])
    assert whole.roll_known[0].tolist() == [False, *[True] * 5, *[False] * 4]
    assert torch.equal(part.stems, whole.stems[:, :, 8:32])
    beyond = played_inputs([item], CONFIG, 36, 8)
    assert (beyond.stems[:, :, 4:] == NO_CODE).all()


def test_nothing_told_is_another_thing_than_silence():
    torch.manual_seed(0)
    module = PlayedConditions(CONFIG, 8)
    module.set_codebook(torch.randn(16, 4))
    nothing = module(played_inputs([Played()], CONFIG, 0, 10))
    rest = module(played_inputs([Played(spans=((0, 10**6),))], CONFIG, 0, 10))
    assert nothing.shape == (1, 10, 8)
    assert not torch.allclose(nothing, rest)
    stems = np.full((5, 10), NO_CODE, np.int64)
    assert torch.equal(nothing, module(played_inputs([Played(stems=stems)], CONFIG, 0, 10)))
    stems[1] = 3
    heard = module(played_inputs([Played(stems=stems)], CONFIG, 0, 10))
    assert not torch.allclose(nothing, heard)
    bass = module(played_inputs([Played(target=2)], CONFIG, 0, 10))
    assert not torch.allclose(nothing, bass)


def test_what_cannot_be_told_is_refused(codec, band, tmp_path):
    music = tmp_path / "music"
    music.mkdir()
    write_song(music / "a.wav")
    with pytest.raises(TrainingError, match="no recording has a MIDI file, nor two stems"):
        train(tmp_path, "prior", prior_text(codec, 1, "plays = true"), music, "out")
    text = "level = 0\n" + prior_text(codec, 1, "plays = true").replace("[model]", "[model]", 1)
    with pytest.raises(TrainingError, match=r"model\.plays True: an upsampler has none"):
        train(tmp_path, "upsampler", text, band, "out")
    lines = []
    train(tmp_path, "prior", prior_text(codec, 1), band, "plain", lines)
    said = [line for line in lines if "not used" in line]
    assert len(said) == 2
    assert all("model.plays" in line for line in said)


@pytest.mark.parametrize(
    ("played", "stems", "complaint"),
    [
        (Played(target=1), (), "hears neither notes nor stems"),
        (Played(spans=((0, 1),)), (), "hears neither notes nor stems"),
        (Played(), (StemAudio(kind=1, start_sample=0, samples=np.zeros(9, np.float32)),), "hears"),
    ],
)
def test_a_published_model_refuses_notes_and_stems_before_the_first_code(played, stems, complaint):
    from tests.model.test_offline import END, PLAN
    from tests.published import generator_of, song_of

    generator = generator_of()
    state = generator.open(song_of(), END, played, stems)
    with pytest.raises(ConditionError, match=complaint):
        generator.begin(state, PLAN, END)


def test_the_fields_of_notes_are_those_of_the_roll():
    assert Played().notes.shape == (0, len(NOTE_FIELDS))
