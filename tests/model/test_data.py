"""Training data: what may train, what is played, and that labels and audio agree."""

import ctypes.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.data import arrange as arrangement
from model.data import build as pipeline
from model.data.arrange import RENDER_GRID_SAMPLES, SoundingPart, arrange
from model.data.augment import colour, draw_augmentation, draw_mastering, mastering, noise
from model.data.build import EXCERPT_SAMPLES, BuildConfig, make_example
from model.data.corpus import (
    embedded_rights,
    group_by_melody,
    is_kept_for_evaluation,
    is_restricted,
    shared_with,
    split_of,
)
from model.data.dataset import (
    COMPOSERS,
    GENRES,
    KIND,
    SAMPLE_RATE,
    STEM_KINDS,
    open_split,
)
from model.data.demo import NUM_BARS, TEMPO_BPM, demo_score
from model.data.errors import CorruptDataError, DataError, MissingToolError, UnreadableScoreError
from model.data.generate import STYLES, compose, compose_style
from model.data.harmony import chords_of
from model.data.programs import stem_kind
from model.data.render import DEFAULT_SOUNDFONT, Renderer
from model.data.score import BAR_QUARTERS, Part, Score, ScoreNote, load_score, save_score

CAN_RENDER = ctypes.util.find_library("fluidsynth") is not None and DEFAULT_SOUNDFONT.is_file()
needs_synth = pytest.mark.skipif(
    not CAN_RENDER, reason=f"rendering needs libfluidsynth and {DEFAULT_SOUNDFONT.name}"
)
TUNE = (60, 62, 65, 64, 67, 71, 69, 62, 64, 60, 67, 66, 62, 70, 65, 60, 64, 57)


class Sines(Renderer):
    """A renderer that needs nothing: every note is a sine at its own pitch."""

    def __init__(self) -> None:
        pass

    def render(self, parts: list[SoundingPart], num_samples: int) -> np.ndarray:
        out = np.zeros(num_samples, np.float32)
        for part in parts:
            for start, end, pitch, velocity in part.notes.tolist():
                radians = np.arange(end - start) * 2 * np.pi * 440 * 2 ** ((pitch - 69) / 12)
                out[start:end] += velocity / 127 * np.sin(radians / SAMPLE_RATE).astype(np.float32)
        return out


def score_of(pitches, work="test/tune", genre="folk", quarters=1.0) -> Score:
    notes = tuple(ScoreNote(i * quarters, quarters, p) for i, p in enumerate(pitches))
    return Score(
        work=work,
        composer="traditional",
        genre=genre,
        licence="made for a test",
        tempo_bpm=100.0,
        meter="4/4",
        bar_starts=tuple(float(bar) for bar in range(0, len(pitches), 4)),
        length_quarters=len(pitches) * quarters,
        parts=(Part(name="tune", role="voice", notes=notes),),
    )


def sounding(notes, program=0) -> SoundingPart:
    return SoundingPart(
        kind="other", program=program, volume=100, kit=0, notes=np.array(notes, np.int64)
    )


@pytest.fixture
def config(tmp_path) -> BuildConfig:
    """A build from two hand-made scores, one of each split."""
    scores = tmp_path / "scores"
    for split in ("train", "held_out"):
        save_score(score_of(TUNE, work=f"test/{split}"), scores / f"test/{split}.json")
    works = [{"work": f"test/{s}", "licence": "x", "refused": ""} for s in ("train", "held_out")]
    works.append({"work": "joplin/rag", "licence": "x", "refused": "kept for evaluation"})
    splits = {"test/train": "train", "test/held_out": "held_out"}
    index = json.dumps({"works": works, "splits": splits})
    (scores / "index.json").write_text(index, encoding="utf-8")
    return BuildConfig(
        out=tmp_path / "out",
        scores=scores,
        soundfont=DEFAULT_SOUNDFONT,
        minutes=0.8,
        seed=7,
        workers=1,
    )


@pytest.mark.parametrize(
    "name",
    [
        "bach/bwv66.6",
        "bach/bwv269",
        "bach/bwv245.11",
        "ryansMammoth/SandyBuchanansStrathspey",
        "monteverdi/madrigal.3.1",
        "mozart/k80/movement1",
        "mozart/k80/movement3",
        "schumann_clara/polonaise_op1n1",
        "joplin/maple_leaf_rag",
        "chopin/mazurka06-2",
        "corelli/opus3no1/1grave",
        "handel/rinaldo/Lascia_chio_pianga",
        "schubert/Lindenbaum",
        "haydn/opus74no1/movement1",
        "palestrina/Agnus_01",
    ],
)
def test_what_evaluation_keeps_never_trains(name):
    assert is_kept_for_evaluation(name)


@pytest.mark.parametrize(
    "name", ["bach/bwv26.6", "bach/bwv66.1", "monteverdi/madrigal.3.10", "mozart/k545/movement1"]
)
def test_names_that_only_resemble_kept_ones_may_train(name):
    assert not is_kept_for_evaluation(name)


@pytest.mark.parametrize(
    ("rights", "restricted"),
    [
        ("All Rights Reserved", True),
        ("released under the CC BY-SA 4.0 license", True),
        ("for non-commercial use", True),
        ("Released to Public Domain in 1998", False),
        ("released as CC0/Public Domain", False),
    ],
)
def test_embedded_rights_decide(tmp_path, rights, restricted):
    path = tmp_path / "work.xml"
    path.write_text(f"<score><rights>{rights}</rights></score>", encoding="utf-8")
    assert embedded_rights(path) == rights
    assert is_restricted(rights) is restricted


def test_works_with_one_tune_stay_together_in_any_key():
    tune, moved = score_of(TUNE, "a/1"), score_of([p + 3 for p in TUNE], "b/2")
    other = score_of(TUNE[::-1], "c/3")
    groups = group_by_melody([tune, moved, other])
    assert groups["a/1"] == groups["b/2"] != groups["c/3"]
    assert shared_with([moved, other], [tune]) == {"b/2": "a/1"}


def test_movements_of_one_opus_stay_together_but_a_scale_ties_nothing():
    scale = list(range(50, 80))
    works = ["a/op1/movement1", "a/op1/movement2", "b/op2/movement1"]
    groups = group_by_melody([score_of(scale, work) for work in works])
    assert groups[works[0]] == groups[works[1]] != groups[works[2]]


def test_about_a_tenth_of_the_groups_is_held_out():
    splits = [split_of(f"x/{i}", f"x/{i}") for i in range(2000)]
    assert 0.07 < splits.count("held_out") / 2000 < 0.13
    assert splits == [split_of(f"x/{i}", f"x/{i}") for i in range(2000)]


def test_a_score_survives_its_file(tmp_path):
    score = compose(np.random.default_rng(3), "generated/x", 10.0)
    save_score(score, tmp_path / "deep" / "score.json")
    assert load_score(tmp_path / "deep" / "score.json") == score


@pytest.mark.slow
def test_a_score_file_is_parsed_in_quarter_notes_and_a_broken_one_is_named(tmp_path):
    parse = pytest.importorskip("model.data.parse", reason="parsing needs music21")
    tune = tmp_path / "tune.abc"
    tune.write_text("X:1\nT:t\nM:3/4\nL:1/4\nK:G\nG A B-|B2 z|\n", encoding="utf-8")
    score = parse.parse_score(tune, "a/tune", "traditional", "folk", "mine")
    assert score.parts[0].notes == (
        ScoreNote(0.0, 1.0, 67),
        ScoreNote(1.0, 1.0, 69),
        ScoreNote(2.0, 3.0, 71),
    )
    assert (score.meter, score.bar_starts, score.length_quarters) == ("3/4", (0.0, 3.0), 5.0)
    empty = tmp_path / "empty.abc"
    empty.write_text("X:1\nT:t\nM:3/4\nL:1/4\nK:G\nz3|\n", encoding="utf-8")
    with pytest.raises(UnreadableScoreError, match="a/empty"):
        parse.parse_score(empty, "a/empty", "traditional", "folk", "mine")


@pytest.mark.parametrize(
    ("numeral", "root", "intervals"),
    [
        ("I", 0, (0, 4, 7)),
        ("vi", 9, (0, 3, 7)),
        ("bVII", 10, (0, 4, 7)),
        ("V7", 7, (0, 4, 7, 10)),
        ("ii7", 2, (0, 3, 7, 10)),
        ("Imaj7", 0, (0, 4, 7, 11)),
    ],
)
def test_numerals_are_chords(numeral, root, intervals):
    (chord,) = chords_of(numeral)
    assert (chord.root, chord.intervals) == (root, intervals)


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.genre)
def test_every_style_composes_in_every_meter_of_its_own(style):
    assert style.genre in GENRES
    for meter in sorted(set(style.meters)):
        score = compose_style(np.random.default_rng(1), "w", style, meter, (100.0, 8))
        assert score.composer in COMPOSERS
        assert score.length_quarters == 8 * BAR_QUARTERS[meter]
        assert {"melody", "bass"} <= {part.role for part in score.parts}
        for note in (note for part in score.parts for note in part.notes):
            assert 0 <= note.onset_quarters < score.length_quarters
            assert note.duration_quarters > 0
            assert 24 <= note.pitch <= 103


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.genre)
def test_sections_of_one_name_are_the_same_music(style):
    form, meter = ("A", "B", "A", "C"), style.meters[0]
    score = compose_style(np.random.default_rng(2), "w", style, meter, (100.0, 32), form)
    assert [one.name for one in score.sections][:4] == list(form)
    assert score.sections[0].start_quarters == 0
    assert score.sections[-1].end_quarters == score.length_quarters
    for before, after in zip(score.sections, score.sections[1:], strict=False):
        assert before.end_quarters == after.start_quarters
    heard = [[within(part, one) for part in score.parts] for one in score.sections[:4]]
    assert heard[0] == heard[2]
    assert len({str(heard[0]), str(heard[1]), str(heard[3])}) == 3


def within(part, section):
    return [
        (round(note.onset_quarters - section.start_quarters, 6), note.pitch, note.velocity)
        for note in part.notes
        if section.start_quarters <= note.onset_quarters < section.end_quarters
    ]


def test_half_of_the_pieces_have_a_form():
    made = [compose(np.random.default_rng(seed), "w", 10.0) for seed in range(60)]
    formed = [score for score in made if score.sections]
    assert 15 < len(formed) < 45
    assert {section.name for score in formed for section in score.sections} == {"A", "B", "C"}


def test_composing_follows_from_the_seed_alone():
    first, again, other = (compose(np.random.default_rng(s), "w", 30.0) for s in (5, 5, 6))
    assert first == again != other
    assert first.length_quarters * 60 / first.tempo_bpm >= 30.0


@pytest.mark.parametrize("seed", range(12))
def test_arranged_notes_can_be_rendered_exactly(seed):
    rng = np.random.default_rng(seed)
    result = arrange(rng, compose(rng, "w", 30.0), EXCERPT_SAMPLES)
    assert 1 <= len(result.parts) <= 5
    for part in result.parts:
        starts, ends = part.notes[:, 0], part.notes[:, 1]
        assert not (starts % RENDER_GRID_SAMPLES).any()
        assert (starts >= 0).all()
        assert (starts < ends).all()
        assert (ends <= EXCERPT_SAMPLES).all()
        for pitch in np.unique(part.notes[:, 2]):
            of_pitch = part.notes[part.notes[:, 2] == pitch]
            assert (of_pitch[1:, 0] >= of_pitch[:-1, 1]).all()


def test_a_pedal_holds_notes_until_it_is_changed():
    note = ScoreNote(1.0, 0.5, 60)
    assert arrangement._pedalled(note, 0.0) == note
    assert arrangement._pedalled(note, 2.0) == ScoreNote(1.0, 1.0, 60)
    assert arrangement._pedalled(note, 4.0) == ScoreNote(1.0, 3.0, 60)
    assert arrangement._pedalled(ScoreNote(0.0, 2.0, 60), 2.0) == ScoreNote(0.0, 2.0, 60)
    rng = np.random.default_rng(0)
    assert {arrangement._pedal_quarters(rng, 48) for _ in range(20)} == {0.0}
    used = [arrangement._pedal_quarters(rng, 0) for _ in range(300)]
    assert 60 < sum(quarters > 0 for quarters in used) < 140


def test_a_short_tune_is_repeated_through_the_excerpt():
    result = arrange(np.random.default_rng(0), score_of(TUNE), EXCERPT_SAMPLES)
    assert result.is_full(EXCERPT_SAMPLES)
    assert result.parts[0].notes[:, 1].max() > EXCERPT_SAMPLES * 0.9


def test_an_excerpt_that_rests_for_long_is_not_full():
    result = arrange(np.random.default_rng(0), score_of(TUNE), EXCERPT_SAMPLES)
    part = result.parts[0]
    early = replace(part, notes=part.notes[part.notes[:, 1] < EXCERPT_SAMPLES // 2])
    assert not replace(result, parts=(early,)).is_full(EXCERPT_SAMPLES)
    assert not replace(result, parts=()).is_full(EXCERPT_SAMPLES)


@pytest.mark.parametrize(
    ("program", "is_lowest", "mean_pitch", "kind"),
    [
        (128, False, 40.0, "drums"),
        (52, True, 45.0, "vocals"),
        (33, False, 60.0, "bass"),
        (42, True, 45.0, "bass"),
        (42, True, 60.0, "other"),
        (0, True, 40.0, "other"),
        (48, False, 45.0, "other"),
    ],
)
def test_programs_belong_to_stems(program, is_lowest, mean_pitch, kind):
    assert stem_kind(program, is_lowest=is_lowest, mean_pitch=mean_pitch) == kind


def test_rooms_and_tone_are_linear_so_stems_still_sum():
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, 20_000)).astype(np.float32) * np.float32(0.1)
    settings = {"tilt_db": 3.0, "room_size": 0.4, "wet": 0.2}
    settings |= {"low_cut_hz": 120.0, "high_cut_hz": 6000.0, "presence_db": 4.0}
    together = colour(left + right, settings)
    np.testing.assert_allclose(
        colour(left, settings) + colour(right, settings), together, atol=1e-5
    )
    assert np.abs(together - left - right).max() > 0.01


def test_a_third_is_augmented_and_noise_has_the_level_it_says():
    rng = np.random.default_rng(0)
    drawn = [draw_augmentation(rng) for _ in range(900)]
    assert 240 < sum(map(bool, drawn)) < 360
    assert 90 < sum("low_cut_hz" in settings for settings in drawn) < 210
    hiss = noise(rng, 50_000, {"noise_dbfs": -50.0})
    assert hiss is not None
    assert 20 * np.log10(hiss.std()) == pytest.approx(-50.0, abs=0.01)
    assert noise(rng, 10, {}) is None


def test_mastering_turns_down_what_is_loud_and_is_one_gain_for_all_stems():
    rng = np.random.default_rng(0)
    quiet, loud = np.full(30_000, 0.05), np.full(30_000, 0.5)
    mix = (np.concatenate([quiet, loud]) * rng.standard_normal(60_000)).astype(np.float32)
    settings = {"above_rms_db": -3.0, "ratio": 4.0, "attack_ms": 5.0, "release_ms": 60.0}
    gain = mastering(mix, settings)
    assert gain[5_000:30_000].min() > 0.97
    assert gain[40_000:].mean() < 0.8
    stem = 0.3 * mix
    np.testing.assert_allclose(stem * gain + (mix - stem) * gain, mix * gain, atol=1e-6)
    assert np.array_equal(mastering(mix, {"rms_dbfs": -20.0}), np.ones_like(mix))
    assert np.array_equal(mastering(np.zeros(9, np.float32), settings), np.ones(9, np.float32))


def test_levels_differ_and_some_examples_are_mastered():
    rng = np.random.default_rng(0)
    drawn = [draw_mastering(rng) for _ in range(900)]
    levels = [settings["rms_dbfs"] for settings in drawn]
    assert min(levels) < -24
    assert max(levels) > -16
    assert 300 < sum("ratio" in settings for settings in drawn) < 420


@pytest.mark.parametrize("number", range(6))
def test_the_mix_is_the_exact_sum_of_its_stems_and_its_noise(config, number):
    row, signals = make_example(config, Sines(), "train", number)
    at = {kind: offset // EXCERPT_SAMPLES for kind, offset in row["stems"].items()}
    mix = signals[row["mix_offset"] // EXCERPT_SAMPLES].astype(int)
    rest = mix - sum(signals[index].astype(int) for index in at.values())
    if "noise_dbfs" in row["augmentation"]:
        level = 20 * np.log10(rest.std() / 32767)
        assert level == pytest.approx(row["augmentation"]["noise_dbfs"], abs=0.2)
    else:
        assert not rest.any()
    assert np.abs(mix).max() <= 0.95 * 32767
    assert {STEM_KINDS[note[KIND]] for note in row["notes"]} == set(at)


def test_an_example_follows_from_seed_split_and_number_alone(config):
    first = make_example(config, Sines(), "train", 1)
    make_example(config, Sines(), "train", 3)
    again = make_example(config, Sines(), "train", 1)
    assert first[0] == again[0]
    np.testing.assert_array_equal(np.stack(first[1]), np.stack(again[1]))
    held_out = make_example(config, Sines(), "held_out", 1)
    assert held_out[0]["notes"] != first[0]["notes"]


@pytest.mark.parametrize("number", [1, 3, 5, 7])
def test_bars_and_sections_tell_of_the_excerpt(config, number):
    row, signals = make_example(config, Sines(), "train", number)
    starts = [bar[0] for bar in row["bars"]]
    assert starts == sorted(starts)
    assert starts[0] == 0
    bar = BAR_QUARTERS[row["meter"]] * 60 / row["tempo_bpm"] * SAMPLE_RATE
    assert np.diff(starts) == pytest.approx(bar, abs=20)
    onsets = np.array([note[0] for note in row["notes"]])
    first = np.count_nonzero(onsets < starts[1]) / BAR_QUARTERS[row["meter"]]
    assert row["bars"][0][2] == pytest.approx(first, abs=1e-3)
    mix = signals[row["mix_offset"] // EXCERPT_SAMPLES][: starts[1]] / 32768
    level = 20 * np.log10(max(np.sqrt(np.mean(mix**2)), 1e-6))
    assert row["bars"][0][1] == pytest.approx(level, abs=0.01)
    for name, start, end in row["sections"]:
        assert name in "ABC"
        assert 0 <= start < end <= EXCERPT_SAMPLES


def test_a_wrong_request_names_the_value(config):
    with pytest.raises(DataError, match=r"minutes -3\.0"):
        replace(config, minutes=-3.0)


def write_shard(folder: Path, num_samples=100) -> None:
    folder.mkdir(parents=True)
    audio = np.arange(300, dtype="<i2")
    audio.tofile(folder / "shard-0000.i16")
    row = {
        "name": "train-00000",
        "work": "w",
        "source_licence": "l",
        "composer": "bach",
        "genre": "chorale",
        "tempo_bpm": 90.5,
        "meter": "3/4",
        "num_samples": num_samples,
        "mix_offset": 200,
        "stems": {"bass": 0, "other": 100},
        "programs": [32, 0],
        "notes": [[0, 64, 40, 80, 32, 1], [64, 99, 60, 81, 0, 3]],
        "augmentation": {},
        "split": "train",
    }
    table = {"sample_rate": SAMPLE_RATE, "examples": [row]}
    (folder / "shard-0000.json").write_text(json.dumps(table), encoding="utf-8")


def test_the_reader_returns_views_of_what_was_written(tmp_path):
    write_shard(tmp_path / "train")
    (example,) = open_split(tmp_path, "train")
    assert example.mix().tolist() == list(range(200, 300))
    assert example.stem_kinds() == ("bass", "other")
    bass = example.stem("bass")
    assert bass is not None
    assert bass.tolist() == list(range(100))
    assert example.stem("drums") is None
    assert example.notes.dtype == np.int64
    assert example.notes.tolist() == [[0, 64, 40, 80, 32, 1], [64, 99, 60, 81, 0, 3]]
    assert (example.labels.tempo_bpm, example.labels.meter) == (90.5, "3/4")
    assert np.shares_memory(example.mix(), example.shard)


def test_the_reader_refuses_what_it_cannot_serve(tmp_path):
    with pytest.raises(CorruptDataError, match=r"no shard"):
        open_split(tmp_path, "train")
    with pytest.raises(KeyError, match=r"'test'"):
        open_split(tmp_path, "test")
    write_shard(tmp_path / "train", num_samples=101)
    with pytest.raises(CorruptDataError, match=r"ends at sample 301 of 300"):
        open_split(tmp_path, "train")


def test_an_unknown_stem_kind_is_an_error_not_an_absent_stem(tmp_path):
    write_shard(tmp_path / "train")
    (example,) = open_split(tmp_path, "train")
    with pytest.raises(KeyError, match="guitar"):
        example.stem("guitar")


def test_the_demo_is_eight_bars_in_c_and_always_the_same():
    score = demo_score()
    assert score == demo_score()
    assert (score.tempo_bpm, score.length_quarters) == (TEMPO_BPM, NUM_BARS * 4)
    assert {part.role for part in score.parts} == {"melody", "arpeggio", "bass", "pad"}
    pad = next(part for part in score.parts if part.role == "pad")
    chords = [
        {note.pitch % 12 for note in pad.notes if note.onset_quarters == bar * 4}
        for bar in (0, NUM_BARS - 1)
    ]
    assert chords == [{0, 4, 7}, {0, 4, 7}]


@needs_synth
def test_a_missing_soundfont_says_what_to_install(tmp_path):
    with pytest.raises(MissingToolError, match="fluid-soundfont-gm"):
        Renderer(tmp_path / "none.sf2")


@needs_synth
@pytest.mark.parametrize("start", [0, 64, 6400, 9984])
def test_a_note_sounds_from_the_sample_of_its_label(start):
    audio = Renderer(DEFAULT_SOUNDFONT).render([sounding([[start, start + 8000, 69, 100]])], 20_000)
    assert not audio[:start].any()
    assert np.abs(audio[start : start + 64]).max() > 0


@needs_synth
def test_rendering_does_not_depend_on_what_was_rendered_before():
    renderer = Renderer(DEFAULT_SOUNDFONT)
    part = sounding([[0, 9600, 60, 90], [640, 9600, 67, 70]], program=48)
    fresh = renderer.render([part], 12_000)
    renderer.render([sounding([[0, 9600, 40, 120]], program=90)], 12_000)
    np.testing.assert_array_equal(renderer.render([part], 12_000), fresh)


@needs_synth
@pytest.mark.slow
def test_a_build_leaves_a_folder_the_reader_opens(config):
    pipeline.build(config)
    examples = {split: open_split(config.out, split) for split in ("train", "held_out")}
    assert [len(rows) for rows in examples.values()] == [2, 2]
    works = {e.labels.work for rows in examples.values() for e in rows}
    assert {"test/train", "test/held_out"} <= works
    for example in (e for rows in examples.values() for e in rows):
        assert example.num_samples == EXCERPT_SAMPLES
        assert np.abs(example.mix()).max() > 1000
    times = {path: path.stat().st_mtime_ns for path in config.out.glob("*/shard-*.i16")}
    (config.out / "train" / "shard-0000.json").unlink()
    pipeline.build(config)
    again = {path: path.stat().st_mtime_ns for path in times}
    assert [path.parent.name for path in times if times[path] != again[path]] == ["train"]
    with pytest.raises(DataError, match="holds data made of"):
        pipeline.build(replace(config, seed=config.seed + 1))
    manifest = json.loads((config.out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["examples"] == {"train": 2, "held_out": 2}
    excluded = [{"work": "joplin/rag", "reason": "kept for evaluation"}]
    assert manifest["works_excluded"] == excluded
    assert len(manifest["soundfont"]["sha256"]) == 64
