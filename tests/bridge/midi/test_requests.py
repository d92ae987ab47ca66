"""A preset and the moment its pad is pressed, to a request."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bridge.audio_file import AudioClip, Provenance, write_audio
from bridge.errors import InvalidRequestError, NotFoundError, NotReadyError
from bridge.midi import requests
from bridge.midi.notes import Played
from bridge.midi.requests import Moment
from bridge.midi.rows import Command, Preset
from bridge.ports import Plan, Quality, StemKind
from bridge.request import Prime, TakePoint

RATE = 48_000
NOBODY = Provenance(model="none", fingerprint="", seed=0, request_id="", licence="")


@pytest.fixture
def section(tmp_path):
    """Return the path of a section of a second, recorded at sample 9000."""
    clip = AudioClip(samples=np.zeros((2, RATE), np.float32), sample_rate=RATE)
    return write_audio(tmp_path / "section.wav", clip, 9_000, NOBODY)


def preset(path, **changes):
    return Preset(**{"name": "verse", "path": path, "tempo_bpm": 120.0, **changes})


def moment(**changes):
    values = {"tempo_bpm": None, "running_beat": Fraction(0), "bar_beat": None}
    return Moment(**{**values, "notes": (), "knobs": {}, **changes})


def played(start, end, pitch=60):
    return Played(
        start_beat=Fraction(start),
        end_beat=None if end is None else Fraction(end),
        channel=1,
        pitch=pitch,
        velocity=90,
        program=0,
    )


def test_a_preset_becomes_a_request_with_a_file_as_its_result(section):
    options = {"temperature": 0.8, "top_k": 7, "quality": "teacher", "artist": "Bach", "seed": 5}
    asked = requests.continuation(
        preset(section, bars=2, meter="3/4", options={**options, "target": "drums", "model": "m"}),
        moment(),
        "midi-1",
    )
    assert isinstance(asked.source, Prime)
    assert asked.source.start_sample == 9_000
    assert asked.num_samples == 2 * 3 * RATE // 2
    assert asked.plan == Plan(seed=5, temperature=0.8, top_k=7, quality=Quality.TEACHER)
    assert (asked.conditions.labels.artist, asked.conditions.target) == ("Bach", StemKind.DRUMS)
    assert (asked.model, asked.request_id, asked.client_id) == ("m", "midi-1", "midi")
    assert asked.write_file
    assert not asked.seed_drawn


def test_a_seed_is_drawn_where_none_is_given(section):
    seeds = {requests.continuation(preset(section), moment(), "m").plan.seed for _ in range(4)}
    assert len(seeds) == 4
    assert requests.continuation(preset(section), moment(), "m").seed_drawn


def test_knobs_come_before_the_preset(section):
    knobs = {Command.TEMPERATURE: 0.7, Command.TOP_P: 0.9}
    asked = requests.continuation(
        preset(section, options={"temperature": 1.2}), moment(knobs=knobs), "m"
    )
    assert (asked.plan.temperature, asked.plan.top_p) == (0.7, 0.9)


def test_the_clock_s_tempo_counts_where_the_preset_names_none(section):
    free = preset(section, tempo_bpm=None, bars=1)
    asked = requests.continuation(free, moment(tempo_bpm=Fraction(90)), "m")
    assert asked.num_samples == 4 * RATE * 60 // 90
    with pytest.raises(NotReadyError, match="tempo of the MIDI clock, and none is heard"):
        requests.continuation(free, moment(), "m")


def test_of_a_folder_the_newest_finished_file_goes_on(tmp_path, section):
    folder = tmp_path / "bounces"
    folder.mkdir()
    with pytest.raises(NotFoundError, match="holds no WAV file"):
        requests.section_of(folder)
    for age, name in ((30, "old.wav"), (10, "new.WAV"), (5, "notes.txt"), (1, ".half.wav")):
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (1_000_000 - age, 1_000_000 - age))
    assert requests.section_of(folder).name == "new.WAV"
    assert requests.section_of(section) == section


def test_a_section_that_is_missing_or_no_audio_is_told(tmp_path):
    with pytest.raises(NotFoundError, match=r"gone\.wav"):
        requests.continuation(preset(tmp_path / "gone.wav"), moment(), "m")
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(InvalidRequestError, match=r"text\.wav"):
        requests.continuation(preset(tmp_path / "text.wav"), moment(), "m")


SPLICE = 9_000 + RATE
BEAT = RATE // 2


@pytest.mark.parametrize(
    ("running", "bar_beat", "first_note"),
    [
        (Fraction(108), Fraction(8), 0),
        (Fraction("108.3"), Fraction("8.3"), 0),
        (Fraction("107.7"), Fraction("7.7"), 0),
        (Fraction(110), Fraction(10), 0),
        (Fraction("110.2"), None, None),
    ],
)
def test_the_last_bars_played_lie_over_the_result_from_a_bar_line_on(
    running, bar_beat, first_note, section
):
    notes = (played(104, 105), played(106, 107, 64), played(90, 91, 99))
    asked = requests.continuation(
        preset(section, bars=1, notes="played"),
        moment(tempo_bpm=Fraction(120), running_beat=running, bar_beat=bar_beat, notes=notes),
        "m",
    )
    part = asked.conditions.midi
    assert (part.start_sample, part.end_sample) == (SPLICE, SPLICE + asked.num_samples)
    if first_note is None:
        assert [note.pitch for note in part.notes] == [64]
        return
    assert [(note.pitch, note.start_sample - SPLICE) for note in part.notes] == [
        (60, 0),
        (64, 2 * BEAT),
    ]


def test_without_a_clock_notes_are_counted_in_seconds(section):
    notes = (played("8.5", 9), played(2, 3, 64))
    asked = requests.continuation(
        preset(section, bars=1, notes="played"),
        moment(running_beat=Fraction(10), notes=notes),
        "m",
    )
    (note,) = asked.conditions.midi.notes
    assert (note.start_sample - SPLICE, note.end_sample - SPLICE) == (RATE // 2, RATE)


def test_where_nothing_was_played_the_notes_are_not_known(section):
    asked = requests.continuation(preset(section, notes="played"), moment(), "m")
    assert asked.conditions.midi is None


def test_the_last_request_again_in_three_ways(section):
    first = requests.continuation(preset(section, options={"seed": 5}), moment(), "m-1")
    retried = requests.another_seed(first, "m-2")
    varied = requests.next_variation(requests.next_variation(first, "m-3"), "m-4")
    gone_on = requests.going_on(first, "take-9", "m-5")
    assert retried.plan.seed != 5
    assert retried.seed_drawn
    assert (varied.plan.seed, varied.plan.variation, varied.request_id) == (5, 2, "m-4")
    assert gone_on.source == TakePoint(take_id="take-9")
    assert (gone_on.num_samples, gone_on.request_id) == (first.num_samples, "m-5")


def test_a_knob_that_leaves_the_plan_s_limits_is_refused():
    with pytest.raises(InvalidRequestError, match="temperature is 11"):
        requests.plan_of({"temperature": 11.0}, {})
    assert requests.section_of(Path("x")) == Path("x")
