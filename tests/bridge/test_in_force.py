"""What conditions say of a stretch, and that what they say later is not in it."""

from dataclasses import replace

import numpy as np
import pytest

from bridge.in_force import EVER, in_force
from bridge.ports import (
    Conditions,
    MidiPart,
    Note,
    PulsePoint,
    Section,
    Stem,
    StemKind,
    Suffix,
)

END = 1000
NOTES = (
    Note(start_sample=100, end_sample=400, pitch=60, velocity=90),
    Note(start_sample=900, end_sample=1500, pitch=64, velocity=90),
)
PULSE = (
    PulsePoint(sample=0.0, beat=0.0, bar=0.0, samples_per_beat=100.0, beats_per_bar=4.0),
    PulsePoint(sample=2000.0, beat=20.0, bar=5.0, samples_per_beat=50.0, beats_per_bar=4.0),
)
SECTION = Section(name="A", start_sample=200, end_sample=1800)
GIVEN = Conditions(
    midi=MidiPart(notes=NOTES, start_sample=0, end_sample=3000),
    stems=(Stem(kind=StemKind.BASS, start_sample=50, samples=np.ones(3000, np.float32)),),
    pulse=PULSE,
    energy_per_bar=(0.1, 0.2, 0.3, 0.4, 0.5),
    curves_sample=0,
    sections=(SECTION,),
    suffix=Suffix(start_sample=2500, samples=np.ones(10, np.float32)),
)


def midi(*notes, end=3000):
    return MidiPart(notes=notes, start_sample=0, end_sample=end)


def stem(samples, start=50):
    return (Stem(kind=StemKind.BASS, start_sample=start, samples=samples),)


def changed_from(sample):
    samples = np.ones(3000, np.float32)
    samples[sample - 50 :] = 0.5
    return stem(samples)


LATER = {
    "note": {"midi": midi(*NOTES, replace(NOTES[0], start_sample=END, end_sample=2000))},
    "end of a note that sounds": {"midi": midi(NOTES[0], replace(NOTES[1], end_sample=1200))},
    "end of what is known": {"midi": midi(*NOTES, end=1000)},
    "stem": {"stems": changed_from(END)},
    "tempo": {"pulse": PULSE[:1]},
    "curve": {"energy_per_bar": (0.1, 0.2, 0.3, 0.9, 0.9)},
    "end of a section": {"sections": (replace(SECTION, end_sample=1000),)},
    "section": {"sections": (SECTION, Section(name="B", start_sample=1800, end_sample=2000))},
    "suffix": {"suffix": None},
}
NOW = {
    "note": {"midi": midi(NOTES[0], replace(NOTES[1], start_sample=999))},
    "velocity": {"midi": midi(replace(NOTES[0], velocity=91), NOTES[1])},
    "two notes for one": {
        "midi": midi(
            replace(NOTES[0], end_sample=200), replace(NOTES[0], start_sample=200), NOTES[1]
        )
    },
    "end of a note": {"midi": midi(replace(NOTES[0], end_sample=399), NOTES[1])},
    "end of what is known": {"midi": midi(*NOTES, end=999)},
    "no notes": {"midi": None},
    "stem": {"stems": changed_from(END - 1)},
    "start of a stem": {"stems": stem(np.ones(3000, np.float32), start=51)},
    "tempo": {"pulse": (replace(PULSE[0], samples_per_beat=101.0), PULSE[1])},
    "curve": {"energy_per_bar": (0.1, 0.2, 0.9, 0.4, 0.5)},
    "section": {"sections": (replace(SECTION, name="B"),)},
    "suffix": {"suffix": Suffix(start_sample=999, samples=np.ones(10, np.float32))},
}


@pytest.mark.parametrize("change", LATER.values(), ids=LATER)
def test_what_is_said_of_later_makes_no_difference(change):
    assert in_force(replace(GIVEN, **change), (EVER, END)) == in_force(GIVEN, (EVER, END))
    # It is told of the stretch that it is said of.
    later = [in_force(conditions, (END, 3001)) for conditions in (replace(GIVEN, **change), GIVEN)]
    assert later[0] != later[1]


@pytest.mark.parametrize("change", NOW.values(), ids=NOW)
def test_what_is_said_of_the_stretch_makes_a_difference(change):
    assert in_force(replace(GIVEN, **change), (EVER, END)) != in_force(GIVEN, (EVER, END))


def test_what_ended_before_the_anchor_may_still_ring():
    before = midi(Note(start_sample=-500, end_sample=-10, pitch=60, velocity=90))
    nothing = Conditions(midi=midi())
    assert in_force(Conditions(midi=before), (EVER, 10)) != in_force(nothing, (EVER, 10))
