"""A user's recordings: coded, heard, learnt from; the result is a model of its own."""

import json
from dataclasses import replace

import mido
import numpy as np
import pytest
import soundfile
import torch

from model.bundle import modules
from model.composer import HELD, OFF, STRUCK, score_of
from model.errors import TrainingError
from model.generator import load_generator
from model.listening import STEP_SAMPLES
from model.store import Provenance, load_bundle, read_manifest, save_bundle
from model.training import adapt, figures, recorded
from model.training.adapt import AdaptOrder, AdaptSettings, adapt_model
from model.training.recorded import as_examples, heard_notes, held_samples, midi_notes
from tests.model.tiny import CARD, sound, tiny_bundle

HZ = 44_100
SETTINGS = AdaptSettings(student_batch=1, finisher_batch=6, report_steps=1)
PROVENANCE = Provenance(
    artists=CARD.artists,
    genres=CARD.genres,
    licence="test",
    output_licence="public domain",
    recipe={},
    figures={},
)


@pytest.fixture(scope="module", autouse=True)
def _few_clips():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "CLIPS", 6)
        patch.setattr(figures, "BATCHES", 1)
        yield


@pytest.fixture(scope="module")
def base(bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    save_bundle(bundle, folder, PROVENANCE)
    return folder


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    soundfile.write(folder / "one.wav", 0.3 * sound(31 * HZ), HZ)
    stereo = np.stack([sound(2 * 48_000), sound(2 * 48_000, seed=1)], axis=1)
    soundfile.write(folder / "two.flac", 0.3 * stereo, 48_000)
    soundfile.write(folder / "tick.wav", sound(HZ), HZ)
    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack()
    track.append(mido.Message("program_change", program=5))
    track.append(mido.Message("note_on", note=60, velocity=90))
    track.append(mido.Message("note_off", note=60, time=960))
    track.append(mido.Message("note_on", channel=9, note=36, velocity=100))
    track.append(mido.Message("note_on", channel=9, note=36, velocity=0, time=480))
    file.tracks.append(track)
    file.save(folder / "two.mid")
    return folder


def order(base, songs, out, **changes):
    start = AdaptOrder(data=songs, out=out, name="mine", base=base, settings=SETTINGS)
    return replace(start, **{"steps": 2, **changes})


@pytest.fixture(scope="module")
def adapted(base, songs, tmp_path_factory):
    lines = []
    out = tmp_path_factory.mktemp("adapted") / "mine"
    return adapt_model(order(base, songs, out), lines.append), lines


def test_what_is_adapted_is_a_model_of_its_own_with_the_same_codes(adapted, base):
    made, lines = adapted
    first, again = load_bundle(base), load_bundle(made.folder)
    assert again.card.name == "mine"
    assert again.card.fingerprint != first.card.fingerprint
    for name, part in modules(first).items():
        before, after = part.state_dict(), modules(again)[name].state_dict()
        moved = any(not torch.equal(before[key], after[key]) for key in before)
        assert moved == (name in made.steps), name
    assert made.steps
    generator = load_generator(made.folder)
    assert generator.fidelity(sound(64 * 128)) >= 0
    assert any("left out: tick.wav is 1.00 s" in line for line in lines)
    assert any(line.startswith("student: step 2") for line in lines)
    assert any(line.startswith("finisher: step 2") for line in lines)


def test_the_manifest_says_what_it_learnt_from_and_what_came_of_it(adapted, bundle, base):
    manifest = read_manifest(adapted[0].folder)
    recipe = manifest["recipe"]
    assert recipe["kind"] == "adapted"
    assert recipe["base"]["fingerprint"] == load_bundle(base).card.fingerprint
    assert recipe["steps"] == adapted[0].steps
    assert set(recipe["steps"].values()) == {2}
    assert recipe["recordings"]["with_midi"] == 1
    assert recipe["recordings"]["minutes"] == pytest.approx((21 + 2) / 60, abs=0.01)
    assert recipe["recordings"]["measured_on_minutes"] == pytest.approx(10 / 60, abs=0.01)
    assert manifest["licence"] == "test"
    before, after = manifest["figures"]["before"], manifest["figures"]["after"]
    assert before["student_bits_per_code"] != after["student_bits_per_code"]
    assert set(before) == set(after)
    assert "finisher_drawn_log_magnitude_nepers" in before


def test_a_training_that_was_stopped_ends_with_the_same_weights(adapted, base, songs, tmp_path):
    out = tmp_path / "again"
    asked = iter([True])
    adapt_model(order(base, songs, out), lambda _: None, lambda: next(asked, True))
    assert adapt.clock_of(out / "training/student").step == 1
    assert adapt.clock_of(out / "training/finisher").step == 0
    made = adapt_model(order(base, songs, out), lambda _: None)
    assert made.steps == adapted[0].steps
    assert made.before == adapted[0].before
    for name in ("student", "finisher"):
        files = [folder / f"{name}.safetensors" for folder in (out, adapted[0].folder)]
        assert files[0].read_bytes() == files[1].read_bytes(), name


def test_a_part_that_is_no_better_stays_as_it_was(base, songs, tmp_path, monkeypatch):
    bits = iter([1.0, 2.0, 1.0])

    def measured(bundle, heard):
        return {
            "student_bits_per_code": next(bits),
            "finisher_drawn_log_magnitude_nepers": 1.0,
        }

    monkeypatch.setattr(adapt, "_figures", measured)
    lines = []
    made = adapt_model(order(base, songs, tmp_path / "same", steps=1), lines.append)
    assert made.steps == {}
    assert any(line.startswith("student: no better") for line in lines)
    first, again = load_bundle(base), load_bundle(made.folder)
    for name, part in modules(first).items():
        for key, value in part.state_dict().items():
            assert torch.equal(value, modules(again)[name].state_dict()[key]), name


def test_another_seed_gives_other_weights(adapted, base, songs, tmp_path):
    made = adapt_model(order(base, songs, tmp_path / "other", seed=2), lambda _: None)
    files = [folder / "student.safetensors" for folder in (made.folder, adapted[0].folder)]
    assert files[0].read_bytes() != files[1].read_bytes()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": "tiny"}, "which is the base's"),
        ({"seed": 3}, "whose seed was 1, now it is 3"),
    ],
)
def test_what_does_not_fit_is_refused(changes, complaint, adapted, base, songs):
    with pytest.raises(TrainingError, match=complaint):
        adapt_model(order(base, songs, adapted[0].folder, **changes), lambda _: None)


def test_a_folder_that_holds_another_model_is_left_alone(base, songs):
    with pytest.raises(TrainingError, match="was not adapted there"):
        adapt_model(order(base, songs, base), lambda _: None)


def test_too_much_music_is_refused(songs, monkeypatch):
    monkeypatch.setattr(recorded, "MOST_HOURS", 0.005)
    with pytest.raises(TrainingError, match=r"0\.0 h of recordings, the limit 0\.005 h"):
        recorded.usable_recordings(songs)


def test_a_recordings_end_is_kept_aside_if_it_is_long_enough():
    assert held_samples(29 * HZ) == 0
    assert held_samples(31 * HZ) == 10 * HZ
    assert held_samples(100 * HZ) == 15 * HZ
    assert held_samples(3600 * HZ) == 60 * HZ


def test_notes_of_a_midi_file_are_at_samples_with_their_programs(songs):
    notes = midi_notes(songs / "two.mid")
    assert notes[:, :5].tolist() == [
        [0, HZ, 60, 90, 5],
        [HZ, HZ + HZ // 2, 36, 100, 128],
    ]


def test_a_midi_file_without_notes_is_refused(tmp_path):
    mido.MidiFile().save(tmp_path / "none.mid")
    with pytest.raises(TrainingError, match="holds no notes"):
        midi_notes(tmp_path / "none.mid")


def test_a_short_recording_is_repeated_with_its_notes(bundle, songs):
    usable, _ = recorded.usable_recordings(songs)
    least = adapt._least_samples(bundle)
    heard = as_examples(bundle, usable, least, lambda _: None)
    assert [len(one.mix) for one in heard.train][1] * 128 >= least
    rows = heard.train[1].example.notes
    assert sorted({int(start) for start in rows[:, 0]})[:4] == [0, HZ, 2 * HZ, 3 * HZ]
    assert len(heard.held_out) == 1


def test_what_the_listener_is_sure_of_becomes_notes(bundle, monkeypatch):
    def hear(spectra):
        logits = torch.full((1, spectra.shape[1], 128, 2), -5.0)
        logits[:, :, 60, 0] = 5
        logits[:, 0::600, 60, 1] = 5
        logits[:, 0::600, 2] = 5
        assert spectra.shape[0] == 1
        return logits

    monkeypatch.setattr(bundle.listener, "forward", hear)
    seconds = 3
    notes = heard_notes(bundle.listener, np.zeros(seconds * HZ, np.float32))
    steps = seconds * HZ // STEP_SAMPLES
    score = score_of(notes, 0, steps, STEP_SAMPLES)
    assert score[0, 60] == STRUCK
    assert (score[1:, 60] == HELD).all()
    assert score[0, 2] == STRUCK
    assert (score[1:, 2] == OFF).all()


def test_a_long_recording_is_heard_in_pieces_as_a_whole(monkeypatch):
    audio, listener = sound(3 * HZ), tiny_bundle().listener
    listener.leave.bias += 3.0
    whole = heard_notes(listener, audio)
    monkeypatch.setattr(recorded, "_GROUP_STEPS", 10)
    pieces = heard_notes(listener, audio)
    assert len(whole) > 10
    np.testing.assert_array_equal(pieces, whole)


def test_facts_are_json(adapted):
    facts = json.loads((adapted[0].folder / "training/facts.json").read_text("utf-8"))
    assert facts["recordings"] == [["one.wav", 31 * HZ], ["two.flac", 2 * 48_000]]
