"""Measuring: known sounds get known figures, intervals are over works, and what is done is kept."""

import argparse
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from fakes import CountingGenerator, ramp

from bridge.commands import evaluate
from bridge.continuation import header_of
from bridge.errors import InvalidRequestError, NotFoundError
from bridge.evaluation import (
    bars,
    beside,
    codebooks,
    distribution,
    intervals,
    notes,
    parts,
    pictures,
    pieces,
    run,
    sound,
    summary,
)
from bridge.evaluation.candidates import (
    FREE,
    LAST_BAR,
    SYNTH,
    TRUTH,
    Made,
    after_finisher,
    continued,
    plan_of,
    toy,
)
from bridge.evaluation.judging import Scene, Sounding
from bridge.evaluation.making import (
    BASS_LAST_BAR,
    BASS_OTHER,
    BASS_TRUTH,
    GIVEN_BASSES,
    Maker,
    drawn,
    with_seed,
)
from bridge.evaluation.records import MEASURE, Record, Records
from bridge.evaluation.report import as_text, tables_of
from bridge.evaluation.run import Evaluation, EvaluationConfig
from bridge.evaluation.summary import Clips
from bridge.evaluation.transcriber import HOP_SAMPLES, RATE, WINDOW_SAMPLES, Transcriber
from bridge.ports import Note, Quality, StemKind
from bridge.spectra import mel_db

HZ = 44_100
BPM = 120.0
SCALE = (60, 62, 64, 65, 67, 69, 71, 72)


def tune(pitches, seconds=0.5, **of_note):
    length = round(seconds * HZ)
    return tuple(
        Note(
            start_sample=at * length,
            end_sample=(at + 1) * length,
            pitch=pitch,
            velocity=90,
            **of_note,
        )
        for at, pitch in enumerate(pitches)
    )


def played(notes, decay=0.4, brightness=0.5):
    audio = np.zeros(max(note.end_sample for note in notes))
    for note in notes:
        seconds = np.arange(note.end_sample - note.start_sample) / HZ
        hz = 440 * 2 ** ((note.pitch - 69) / 12)
        tone = sum(brightness**k * np.sin(2 * np.pi * hz * k * seconds) for k in range(1, 6))
        audio[note.start_sample : note.end_sample] += 0.2 * tone * np.exp(-seconds / decay)
    return audio.astype(np.float32)


def silent_ear():
    def run(names, given):
        window = next(iter(given.values()))
        assert window.shape == (1, WINDOW_SAMPLES, 1)
        return [np.zeros((1, 172, 88), np.float32) for _ in names]

    return Transcriber(run)


def piece_of(name, audio, its_notes=None, **known):
    return pieces.Piece(name=name, work=name, audio=audio, notes=its_notes, **known)


@pytest.fixture
def song():
    its_notes = tune(SCALE * 4)
    return piece_of("song", played(its_notes), its_notes, tempo_bpm=BPM)


def record(clip, candidate, *, model="", seconds=4.0, vectors=(), work=None, **figures):
    return Record(
        clip=clip,
        work=work or clip,
        kind="rendered",
        candidate=candidate,
        model=model,
        plan="",
        seconds=seconds,
        figures=figures,
        vectors=vectors,
    )


def test_exact_notes_score_one_and_others_less():
    right, wrong = notes.written(tune(SCALE), 300), notes.written(tune([40] * 8), 300)
    assert notes.f1(right, right) == 1
    assert notes.f1(wrong, right) == 0
    assert notes.f1(right, np.zeros_like(right)) is None


def test_an_onset_counts_within_50_ms_and_once():
    onsets = np.zeros((200, 88), np.float32)
    onsets[[4, 90], 60 - 21] = 1
    assert notes.onset_f1(onsets, tune([60])) == pytest.approx(2 / 3)
    onsets[4] = 0
    assert notes.onset_f1(onsets, tune([60])) == 0


def test_what_was_played_before_is_not_new():
    prime = notes.written(tune(SCALE * 2), 8 * 86)
    other = notes.written(tune([pitch + 1 for pitch in SCALE]), 4 * 86)
    assert notes.novelty(prime[100:500], prime) < 0.01
    assert notes.novelty(other, prime) > 0.3


def test_drums_match_where_they_are_written():
    hits = tune([38] * 8, is_drum=True)
    audio = np.zeros(4 * HZ, np.float32)
    random = np.random.default_rng(0)
    for hit in hits:
        audio[hit.start_sample :][:2000] += random.standard_normal(2000) * np.exp(
            -np.arange(2000) / 400
        )
    shifted = tune([38] * 8, seconds=0.41, is_drum=True)
    assert notes.drum_match(audio, hits) > 0.6
    assert notes.drum_match(audio, shifted) < 0.3
    assert notes.drum_match(audio, tune(SCALE)) is None


@pytest.mark.parametrize("tonic", [0, 3, 7])
def test_a_scale_with_its_chords_has_its_key(tonic):
    chords = [note for root in (0, 5, 7, 0) for note in (root, root + 4, root + 7)]
    each = [tune([60 + tonic + pitch]) for pitch in chords]
    audio = np.concatenate([played(one) for one in each])
    assert sound.key_of(Sounding(audio, silent_ear()).heard.activity) == tonic


def test_the_beat_is_found_on_the_grid_and_off_it():
    audio = played(tune([60] * 16))
    on, off = sound.beat(audio, BPM), sound.beat(audio, BPM, -HZ // 8)
    assert on.tempo_error < 0.02
    assert sound.beat(audio, BPM * 1.1).tempo_error == pytest.approx(1 - 1 / 1.1, abs=0.02)
    assert sound.phase_apart_ms(on, off) == pytest.approx(125, abs=10)


def test_a_brighter_sound_is_further_away_than_a_louder_one():
    first, bright = played(tune(SCALE)), played(tune(SCALE), brightness=0.9)
    colours = [sound.colour(mel_db(audio)) for audio in (first, first * 2, bright)]
    assert sound.distance(colours[0], colours[1]) < 0.2 * sound.distance(colours[0], colours[2])


def test_a_click_at_the_splice_is_seen():
    audio = played(tune([60], seconds=4))
    clicked = audio.copy()
    clicked[2 * HZ :] *= -0.1
    assert sound.seam_flux(clicked, 2 * HZ) > 2 * sound.seam_flux(audio, 2 * HZ)


def test_loudness_is_in_lufs():
    pytest.importorskip("pyloudnorm", reason="the extra `evaluate` is not installed")
    audio = played(tune(SCALE))
    louder = sound.loudness_lufs(audio * 2)
    assert louder - sound.loudness_lufs(audio) == pytest.approx(6.02, abs=0.1)
    assert sound.loudness_lufs(np.zeros(HZ, np.float32)) is None


def test_intervals_know_works_not_clips():
    values = [("a", [0.0]), ("b", [1.0]), ("c", [0.5]), ("d", [0.2])]
    once = intervals.estimate(values, intervals.mean)
    often = intervals.estimate(values * 50, intervals.mean)
    assert once.value == often.value
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.2)
    assert intervals.estimate([], intervals.mean) is None


def test_the_kernel_distance_is_least_for_music_and_largest_for_none():
    random = np.random.default_rng(1)
    mean = random.standard_normal(24) * 3

    def works(shift):
        return {
            str(n): (mean + shift + random.standard_normal((6, 24))).tolist() for n in range(12)
        }

    found = distribution.distances(works(0), {"near": works(0.1), "far": works(3)})
    assert found["truth"].low < 0.2
    assert found["near"].value < found["far"].value
    assert found["shuffled"].value > found["truth"].high
    assert distribution.distances({"one": [[0.0] * 4]}, {}) == {}


def test_records_survive_a_torn_line_and_forget_older_measures(tmp_path):
    path = tmp_path / "records.jsonl"
    kept = Records(path)
    kept.add([record("a", TRUTH, frame_f1=0.5), record("b", TRUTH, vectors=((1.0, 2.0),))])
    lines = path.read_text().splitlines()
    old = json.loads(lines[0]) | {"measure": MEASURE - 1, "clip": "old"}
    path.write_text("\n".join([*lines, json.dumps(old), lines[0][:30]]))
    again = Records(path)
    assert [one.clip for one in again] == ["a", "b"]
    assert list(again)[1].vectors == ((1.0, 2.0),)
    assert again.has(("a", TRUTH, "", "", 4.0))
    assert not again.has(("a", TRUTH, "", "", 8.0))


def test_a_folder_of_pieces_and_recordings_becomes_clips(tmp_path, song):
    pytest.importorskip("mido")
    folder = tmp_path / "piece"
    (folder / "stems").mkdir(parents=True)
    for name in ("mix", "stems/bass"):
        sf.write(folder / f"{name}.flac", song.audio, HZ)
    (folder / "labels.json").write_text(json.dumps({"work": "w", "tempo": 90, "meter": "3/4"}))
    sf.write(tmp_path / "loop.wav", song.audio[: 3 * HZ], HZ)
    found = {piece.name: piece for piece in map(load, pieces.found_pieces(tmp_path))}
    assert found["piece"].work == "w"
    assert found["piece"].beats_per_bar == 3
    assert found["piece"].stems[StemKind.BASS].size == song.audio.size
    assert found["piece"].kind == "recording"
    assert found["loop"].kind == "loop"
    assert found["loop"].audio.size >= 12 * HZ
    clips = pieces.clips_of(list(found.values()), 4.0, 4.0)
    assert {clip.piece.name for clip in clips[:2]} == {"loop", "piece"}
    assert all(clip.truth.size == 4 * HZ for clip in clips[:2])
    with pytest.raises(NotFoundError, match="holds neither"):
        pieces.found_pieces(tmp_path / "piece" / "stems" / "none")


def load(path):
    return pieces.load_piece(path, 12 * HZ)


def test_a_clip_is_continued_at_its_tempo_and_its_bars_lie_where_the_piece_s_do(song):
    class AskedError(Exception):
        pass

    class Listener:
        def render(self, asked):
            raise AskedError(asked)

    piece = replace(song, tempo_bpm=90.0, meter=(3, 4))
    clip = pieces.clips_of([piece], 4.0, 4.0)[1]
    plan = plan_of(Quality.FAST, clip, 1)
    with pytest.raises(AskedError) as caught:
        continued(Listener(), clip, FREE, plan)
    (asked,) = caught.value.args
    (change,) = header_of(asked).target.tempo_map
    assert (change.sample, change.tempo_bpm) == (-4 * HZ, 90.0)
    assert (change.meter_numerator, change.meter_denominator) == (3, 4)
    with pytest.raises(AskedError) as caught:
        continued(Listener(), replace(clip, piece=replace(piece, tempo_bpm=None)), FREE, plan)
    assert not header_of(caught.value.args[0]).target.tempo_map


def test_a_clips_notes_count_from_its_prime(song):
    clip = pieces.clips_of([song], 4.0, 4.0)[1]
    assert clip.start_sample == 4 * HZ
    assert clip.notes[0].start_sample == 0
    assert clip.bar_samples == 2 * HZ


def test_the_ear_hears_every_frame_once_and_in_time():
    def run(names, given):
        window = next(iter(given.values()))[0, :, 0]
        level = np.abs(window[: 171 * HOP_SAMPLES].reshape(171, HOP_SAMPLES)).max(axis=1)
        roll = np.zeros((1, 172, 88), np.float32)
        roll[0, :171, 0] = level
        return [roll for _ in names]

    audio = np.zeros(5 * HZ, np.float32)
    audio[2 * HZ : 4 * HZ] = 0.5 * np.sin(np.arange(2 * HZ) * 0.05)
    roll, _ = Transcriber(run)(audio)
    heard = np.flatnonzero(roll[:, 0] > 0.2) * HOP_SAMPLES / RATE
    assert len(roll) == -(-5 * RATE // HOP_SAMPLES)
    assert heard[0] == pytest.approx(2, abs=0.03)
    assert heard[-1] == pytest.approx(4, abs=0.03)
    assert heard.size == pytest.approx(2 * RATE / HOP_SAMPLES, abs=3)


def test_the_truth_is_at_no_distance_from_itself_and_the_last_bar_is_a_copy(song):
    other = piece_of("other", played(tune([50, 57] * 16)), tune([50, 57] * 16), tempo_bpm=BPM)
    clip, away = pieces.clips_of([song, other], 8.0, 4.0)[:2]
    scene = Scene(clip, away, 4.0, Sounding(clip.prime, silent_ear()))
    looped = toy(LAST_BAR, clip, away)
    truth = scene.measure(scene.truth, clip.prime)
    copied = scene.measure(scene.hear(looped.result), looped.before)
    assert truth["timbre_of_truth_db"] == 0
    assert truth["random_timbre_of_truth_db"] > 0
    assert copied["copy_score"] > 0.9
    assert truth["loudness_of_truth_lu"] in (0, None)
    assert toy(SYNTH, clip, away).result.size == clip.truth.size


def test_a_bass_that_plays_the_roots_agrees_better_than_one_that_does_not(song):
    bass = tune([48, 48, 43, 43] * 4)
    chords = tune([60, 60, 67, 67] * 4)
    wrong = tune([54, 54, 49, 49] * 4)
    pitched = Sounding(played(chords), silent_ear())
    truth = Sounding(played(bass), silent_ear())
    off = Sounding(played(wrong), silent_ear())
    good, bad = (parts.measure(one, truth, (pitched, pitched.audio)) for one in (truth, off))
    assert good["harmony_of_stems"] > bad["harmony_of_stems"] + 0.2
    assert good["harmony_of_truth"] == pytest.approx(1)
    stems = {StemKind.BASS: truth.audio, StemKind.OTHER: pitched.audio}
    with_bass = piece_of("a", pitched.audio, chords, stems=stems)
    assert parts.has_part(pieces.clips_of([with_bass], 4.0, 4.0)[0])
    assert not parts.has_part(pieces.clips_of([song], 4.0, 4.0)[0])


class OneModel:
    """A client of a server that serves one model and is asked for nothing."""

    def models(self):
        return [SimpleNamespace(fingerprint="one")]


def test_the_basses_beside_a_made_one_are_the_true_one_another_piece_s_and_a_loop(song, tmp_path):
    random = np.random.default_rng(2)
    clips = [
        pieces.clips_of([replace(song, name=name, stems={StemKind.BASS: bass})], 4.0, 4.0)[0]
        for name in "ab"
        for bass in [random.standard_normal(song.audio.size).astype(np.float32)]
    ]
    clip, bar = clips[0], clips[0].bar_samples
    bass, other = (one.stem(StemKind.BASS) for one in clips)
    maker = Maker(OneModel(), None, tmp_path)
    made = {name: maker.make(name, *clips)[0] for name in GIVEN_BASSES}
    for each in made.values():
        assert each.result.size == clip.truth.size
    np.testing.assert_array_equal(made[BASS_TRUTH].result, bass[clip.prime_samples :])
    np.testing.assert_array_equal(made[BASS_OTHER].result, other[clip.prime_samples :])
    loop, last = made[BASS_LAST_BAR], bass[clip.prime_samples - bar : clip.prime_samples]
    np.testing.assert_array_equal(loop.before, bass[: clip.prime_samples])
    np.testing.assert_array_equal(loop.result[:bar], last[: clip.truth.size])


def test_the_finishers_truth_lies_where_the_truth_lies(song):
    clip = pieces.clips_of([song], 4.0, 4.0)[0]
    generator = CountingGenerator()
    made = after_finisher(generator, clip)
    np.testing.assert_array_equal(made.result, ramp(clip.prime_samples, clip.truth.size))
    conditions, anchor = generator.opened[0]
    assert anchor == 0
    assert conditions.midi.notes == clip.notes


@pytest.mark.parametrize(
    ("name", "quality", "known", "seed"),
    [
        ("fast_notes", Quality.FAST, "notes", 7),
        ("teacher_free", Quality.TEACHER, "free", 7),
        (with_seed("fast_free", 9), Quality.FAST, "free", 9),
        ("bass_fast", Quality.FAST, "bass", 7),
    ],
)
def test_a_name_says_how_it_was_drawn(name, quality, known, seed):
    found = drawn(name)
    assert (found.quality, found.known, found.seed) == (quality, known, seed)
    assert drawn(BASS_TRUTH) is None
    assert drawn(TRUTH) is None


def figures_of(f1, timbre, **more):
    return {
        "frame_f1": f1,
        "wrong_frame_f1": 0.1,
        "timbre_of_truth_db": timbre,
        "random_timbre_of_truth_db": 10.0,
        "same_key": 1.0,
        "truth_same_key": 1.0,
        "copy_score": 0.3,
        "note_novelty": 0.5,
        "seam_flux_db": 2.0,
        "loudness_of_truth_lu": -1.0,
        **more,
    }


def some_records():
    rows = []
    for number in range(6):
        clip = f"clip{number}"
        vector = (tuple(float(number + k) for k in range(4)),) * 2
        rows += [
            record(clip, TRUTH, vectors=vector, **figures_of(0.7, 0.0)),
            record(clip, LAST_BAR, vectors=vector, **figures_of(0.2, 3.0)),
            record(
                clip,
                "fast_notes",
                model="m",
                vectors=vector,
                **figures_of(0.4, 12.0 if number == 0 else 5.0, seam_flux_db=4.0),
            ),
        ]
    return rows


def test_adherence_counts_what_passes_the_gate():
    clips = Clips(some_records())
    assert summary.adherence(clips, TRUTH, gated=True).value == pytest.approx(1)
    gated = summary.adherence(clips, "fast_notes", gated=True)
    assert gated.value == pytest.approx(0.5)
    assert gated.clips == 5


def test_bars_say_what_holds():
    found = {bar.name: bar for bar in bars.bars(Clips(some_records()), "fast_notes")}
    assert not found["MIDI adherence, gated"].met
    assert found["notes above last bar, share"].met
    assert found["timbre nearer than random, share"].found.value == pytest.approx(5 / 6)
    assert not found["seam flux over truth's, medians"].met
    assert found["loudness off the truth's, LU, median"].found.value == 1


@pytest.mark.usefixtures("short")
def test_two_models_are_compared_clip_by_clip(tmp_path):
    rows = some_records()
    rows += [
        replace(row, model="n", figures=figures_of(0.5, 5.0))
        for row in rows
        if row.candidate == "fast_notes" and row.clip != "clip5"
    ]
    Records(tmp_path / "records.jsonl").add(rows)
    tables = tables_of(tmp_path, ["m", "n"])
    row = tables["differences"]["fast_notes"]["frame_f1"]
    assert row["value"] == pytest.approx(-0.1)
    assert row["clips"] == 5
    text = as_text(tables)
    assert "MISSED MIDI adherence, gated: 0.500" in text
    assert "m minus n" in text
    assert "== the other\nmodel n" in text
    kernels = tables["kernel_differences"]["rendered, 4 s, fast_notes"]["spreads"]
    assert set(kernels) == {TRUTH, "m", "n", distribution.SHUFFLED}


@pytest.mark.usefixtures("short")
def test_fast_stands_beside_its_teacher_on_the_clips_that_both_have():
    rows = some_records()
    for row in [row for row in rows if row.candidate == "fast_notes"][:4]:
        figures = {**row.figures, "frame_f1": 0.7}
        rows.append(replace(row, candidate="teacher_notes", figures=figures))
    [(name, found)] = beside.teacher_tables(rows).items()
    assert name == "fast_notes beside teacher_notes"
    assert found["clips"] == 4
    assert found["figures"]["difference"]["frame_f1"]["value"] == pytest.approx(-0.3)
    assert found["figures"]["fast_notes"]["frame_f1"]["clips"] == 4
    spreads = found["kernel"]["spreads"]
    assert spreads["fast_notes"] == spreads["teacher_notes"]
    assert beside.kernel_line(found["kernel"]).startswith("kernel distances, intervals overlap")


@pytest.mark.usefixtures("short")
def test_distances_that_lie_apart_are_said_to():
    rows = some_records()
    for row in [row for row in rows if row.candidate == "fast_notes"]:
        far = tuple(tuple(value + 100 for value in vector) for vector in row.vectors)
        rows.append(replace(row, candidate="teacher_notes", vectors=far))
    found = beside.teacher_tables(rows)["fast_notes beside teacher_notes"]["kernel"]
    assert not found["overlap"]
    assert "lie apart" in beside.kernel_line(found)


@pytest.mark.usefixtures("short")
def test_a_made_bass_is_compared_with_the_true_one_clip_by_clip_and_length_by_length():
    rows = []
    for number in range(3):
        basses = {"truth": 0.9, "other_piece": 0.4, "last_bar": 0.6, "fast": 0.7}
        for name, harmony in basses.items():
            figures = {"harmony_of_stems": harmony + 0.01 * number}
            rows.append(record(f"clip{number}", f"bass_{name}", seconds=8.0, **figures))
    rows.append(record("clip0", "bass_truth", seconds=2.0, harmony_of_stems=0.0))
    tables = beside.part_tables(rows)
    assert list(tables) == ["2 s", "8 s"]
    row = tables["8 s"]["over truth"]["harmony_of_stems"]
    assert (row["value"], row["clips"]) == (pytest.approx(-0.2), 3)
    assert row["high"] - row["low"] < 1e-9
    assert tables["8 s"]["over other"]["harmony_of_stems"]["value"] == pytest.approx(0.3)
    assert tables["8 s"]["over last bar"]["harmony_of_stems"]["value"] == pytest.approx(0.1)
    assert "over truth" not in tables["2 s"]


class CountingMaker:
    """Gives every candidate the truth, and counts."""

    fingerprint = "counted"

    def __init__(self):
        self.calls = []

    def owner(self, name):
        return (self.fingerprint, "plan") if name.startswith(("fast", "codec")) else ("", "")

    def make(self, name, clip, other):
        self.calls.append((clip.name, name))
        assert other.piece.work != clip.piece.work
        return Made(result=clip.truth, before=clip.prime), {"gain_db": 0.0}


@pytest.fixture
def short(monkeypatch):
    """Let a prime last 2 s, and intervals come from few draws."""
    monkeypatch.setattr(run, "PRIME_SECONDS", 2.0)
    monkeypatch.setattr(intervals, "DRAWS", 20)
    monkeypatch.setattr(distribution, "HALVES", 10)


def write_recordings(folder):
    random = np.random.default_rng(0)
    for number in range(2):
        noise = 0.1 * random.standard_normal(4 * HZ).astype(np.float32)
        sf.write(folder / f"noise{number}.wav", noise, HZ)


@pytest.mark.usefixtures("short")
def test_what_was_measured_is_not_measured_again(tmp_path):
    pytest.importorskip("pyloudnorm", reason="the extra `evaluate` is not installed")
    data, out, said = tmp_path / "data", tmp_path / "out", []
    data.mkdir()
    out.mkdir()
    write_recordings(data)
    config = EvaluationConfig(
        data=data,
        out=out,
        seconds=(2.0,),
        codec_clips=0,
        codebook_minutes=0,
        seed_clips=0,
        max_clips=2,
    )
    maker = CountingMaker()
    Evaluation(config, maker, said.append, silent_ear()).run()
    first = list(maker.calls)
    Evaluation(config, maker, said.append, silent_ear()).run()
    assert maker.calls == first
    names = {TRUTH, LAST_BAR, "other_piece", "fast_free", "fast_made"}
    assert {name for _, name in first} == names
    assert len(first) == 2 * len(names)
    assert said[-1].startswith("2/2 ")


@pytest.mark.usefixtures("short")
def test_another_model_finds_truth_and_toys_measured_and_its_own_not(tmp_path):
    pytest.importorskip("pyloudnorm", reason="the extra `evaluate` is not installed")
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    out.mkdir()
    write_recordings(data)
    config = EvaluationConfig(
        data=data, out=out, seconds=(2.0,), codec_clips=0, codebook_minutes=0, seed_clips=0
    )
    Evaluation(replace(config, only=(LAST_BAR,)), CountingMaker(), str, silent_ear()).run()
    first, second = CountingMaker(), CountingMaker()
    second.fingerprint = "second"
    for maker in (first, second):
        Evaluation(config, maker, str, silent_ear()).run()
    assert {name for _, name in first.calls} == {"other_piece", "fast_free", "fast_made"}
    assert {name for _, name in second.calls} == {"fast_free", "fast_made"}
    models = {r.model for r in Records(out / "records.jsonl") if r.candidate == "fast_free"}
    assert models == {"counted", "second"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"only": ("fast_note",)}, "fast_note"),
        ({"only": ("fast_free_seedx",)}, "seedx"),
        ({"seconds": (4.0, 0.0)}, "over 0 s"),
        ({"max_clips": 0}, "least is 1"),
        ({"seed_clips": -1}, "-1"),
        ({"work_clips": 0}, "0 clips of each work"),
        ({"codebook_minutes": -1.0}, "-1 min to count"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, given, named):
    with pytest.raises(InvalidRequestError, match=named):
        EvaluationConfig(data=tmp_path, out=tmp_path, **given)


@pytest.mark.usefixtures("short")
def test_time_that_is_up_is_said(tmp_path):
    data, said = tmp_path / "data", []
    data.mkdir()
    write_recordings(data)
    config = EvaluationConfig(
        data=data, out=tmp_path, seconds=(2.0,), minutes=-1.0, codebook_minutes=0
    )
    maker = CountingMaker()
    Evaluation(config, maker, said.append, silent_ear()).run()
    assert not maker.calls
    assert "time is up" in said[0]


def other_set(folder):
    other = folder / "other"
    other.mkdir()
    write_recordings(other)
    return other


@pytest.mark.usefixtures("short")
def test_the_command_writes_tables_and_pictures(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyloudnorm", reason="the extra `evaluate` is not installed")
    monkeypatch.setattr(pictures, "DOTS_PER_INCH", 20)
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    write_recordings(data)
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    given = ["--data", data, "--out", out, "--seconds", "2", "--codec-clips", "0"]
    given += ["--only", "fast_free", "--pictures", "1", "--json"]
    code = evaluate.run(
        parser.parse_args([str(word) for word in given]), CountingGenerator, silent_ear()
    )
    assert code == 0
    tables = json.loads(capsys.readouterr().out)
    assert tables == json.loads((out / "report.json").read_text())
    rows = tables["sets"]["recording, 2 s"]
    assert rows["clips"] == 2
    assert set(rows["figures"]) == {TRUTH, "fast_free"}
    assert "gain_db" in next(r for r in Records(out / "records.jsonl") if r.model).figures
    drawn = [*(out / "pictures").iterdir(), out / "report-recording-2s.png"]
    assert len(drawn) == 2
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    assert "2 clips of 2 works" in (out / "report.txt").read_text()
    elsewhere = parser.parse_args(["--data", str(other_set(tmp_path)), "--out", str(out)])
    with pytest.raises(InvalidRequestError, match="give another folder"):
        evaluate.run(elsewhere, CountingGenerator, silent_ear())


def test_the_installed_ear_hears_the_notes_that_are_played():
    pytest.importorskip("basic_pitch", reason="basic-pitch is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `evaluate` is not installed")
    its_notes = tune(SCALE)
    roll, _ = Transcriber()(played(its_notes))
    found = notes.sounding(roll)
    assert notes.f1(found, notes.written(its_notes, len(found))) > 0.7
    assert notes.f1(found, notes.written(tune([55] * 8), len(found))) < 0.1


class CountingCodec:
    """Gives every sample's place as its code, from 0 on in each piece."""

    fingerprint = "counted"
    codebook_sizes = (2048, 4)

    def __init__(self):
        self.encoded = 0

    def codes(self, index, audio):
        self.encoded += 1
        return (np.arange(audio.size) % (1800 if index == 0 else 1)).astype(np.int16)


def test_codes_are_counted_over_whole_pieces_until_it_is_enough(tmp_path):
    codec, said, path = CountingCodec(), [], codebooks.counts_path(tmp_path, "m")
    songs = [piece_of(str(number), np.zeros(30 * HZ, np.float32)) for number in range(4)]
    assert codebooks.codebook_use(path) == {}
    codebooks.count_codes(codec, songs, path, 1.0, said.append)
    found = codebooks.codebook_use(path)
    assert codec.encoded == 2 * 2
    assert found["level0"]["used_share"] == 1800 / 2048
    assert found["level0"]["met"]
    assert found["level0"]["minutes"] == 1
    assert found["level0"]["perplexity"] == pytest.approx(1800, rel=1e-3)
    assert found["level1"]["perplexity"] == pytest.approx(1)
    assert not found["level1"]["met"]
    assert said[-1] == "codes of 1.0 of 1 min counted"
    codebooks.count_codes(codec, songs, path, 1.5, said.append)
    assert codec.encoded == 3 * 2
    lines = codebooks.as_lines(codebooks.codebook_use(path))
    assert lines[0].startswith("little level0: 88% of the codes in use")


def test_so_many_clips_of_each_work_are_taken(song):
    again = replace(song, name="again")
    other = replace(song, name="other", work="other")
    clips = pieces.clips_of([song, again, other], 2.0, 2.0)
    kept = run._of_each(clips, 2)
    assert [clip.name for clip in kept] == ["song@0", "again@0", "other@0", "other@2"]
    assert run._of_each(clips, None) == clips


def test_a_level_error_has_no_sign_and_a_beat_is_kept_within_50_ms():
    rows = []
    for number, (louder, phase) in enumerate([(-2.0, 20.0), (2.0, 20.0), (1.0, 90.0)]):
        clip = f"clip{number}"
        rows.append(record(clip, TRUTH, tempo_error=0.0, beat_phase_of_truth_ms=0.0))
        rows.append(
            record(
                clip,
                "fast_free",
                loudness_of_truth_lu=louder,
                tempo_error=0.0,
                beat_phase_of_truth_ms=phase,
            )
        )
    clips = Clips(rows)
    assert clips.mean("fast_free", "level_error_lu").value == pytest.approx(5 / 3)
    assert clips.mean("fast_free", "loudness_of_truth_lu").value == pytest.approx(1 / 3)
    assert summary.kept_beat(clips, "fast_free").value == pytest.approx(2 / 3)
    assert summary.kept_beat(clips, TRUTH).value == 1
