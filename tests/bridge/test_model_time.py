from fractions import Fraction

import numpy as np
import pytest

from bridge.model_time import feed_blocks, heard, model_conditions
from bridge.ports import (
    Conditions,
    Labels,
    MidiPart,
    Note,
    Section,
    Stem,
    StemKind,
    Suffix,
    Timing,
)
from bridge.request import SAMPLE_RATES, Prime
from bridge.transport import Meter, SampleMap, Tempo, TempoMap, pulse_of

MODEL_RATE = 44_100
ANCHOR = 10_007


def map_of(rate: int) -> SampleMap:
    return SampleMap(anchor_sample=ANCHOR, session_rate=rate, model_rate=MODEL_RATE)


def mapped(conditions: Conditions, rate: int, prime_start_sample: int = 0) -> Conditions:
    return model_conditions(conditions, map_of(rate), prime_start_sample)


def sine(start_sample: int, num_samples: int, rate: int) -> np.ndarray:
    times = (start_sample - ANCHOR + np.arange(num_samples)) / rate
    return np.sin(2 * np.pi * 500 * times).astype(np.float32)


def note(start_sample: int, end_sample: int) -> Note:
    return Note(start_sample=start_sample, end_sample=end_sample, pitch=60, velocity=90)


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_notes_are_counted_from_the_anchor_in_model_samples(rate):
    midi = MidiPart(
        notes=(note(ANCHOR + rate, ANCHOR + 3 * rate),),
        start_sample=ANCHOR - rate,
        end_sample=ANCHOR + 4 * rate,
    )
    part = mapped(Conditions(midi=midi), rate).midi
    assert part.notes == (note(MODEL_RATE, 3 * MODEL_RATE),)
    assert (part.start_sample, part.end_sample) == (0, 4 * MODEL_RATE)


def test_a_note_over_the_anchor_is_cut_and_one_before_it_left_out():
    notes = (note(0, ANCHOR), note(ANCHOR - 500, ANCHOR + 500), note(ANCHOR, ANCHOR + 1))
    midi = MidiPart(notes=notes, start_sample=0, end_sample=20_000)
    assert mapped(Conditions(midi=midi), MODEL_RATE).midi.notes == (note(0, 500), note(0, 1))


@pytest.mark.parametrize("rate", SAMPLE_RATES)
@pytest.mark.parametrize("start", [0, ANCHOR, ANCHOR + 1, ANCHOR + 12_345])
def test_a_stem_is_heard_at_its_own_time(rate, start):
    stem = Stem(kind=StemKind.BASS, start_sample=start, samples=sine(start, 48_001, rate))
    (found,) = mapped(Conditions(stems=(stem,)), rate).stems
    begun = max(0, Fraction((start - ANCHOR) * MODEL_RATE, rate))
    assert 0 <= begun - found.start_sample < rate // np.gcd(rate, MODEL_RATE)
    first = int(begun) - found.start_sample + 400
    last = found.samples.shape[0] - 400
    times = (found.start_sample + np.arange(first, last)) / MODEL_RATE
    due = np.sin(2 * np.pi * 500 * times)
    np.testing.assert_allclose(found.samples[first:last], due, atol=1e-3)


def test_a_stem_that_ends_before_the_anchor_is_left_out():
    stem = Stem(kind=StemKind.DRUMS, start_sample=0, samples=np.ones(ANCHOR, np.float32))
    assert mapped(Conditions(stems=(stem,)), 48_000).stems == ()


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_the_place_in_the_song_moves_with_the_anchor(rate):
    timing = Timing(total_samples=200 * rate, offset_samples=100 * rate)
    found = mapped(Conditions(timing=timing), rate, prime_start_sample=ANCHOR - 2 * rate).timing
    assert found == Timing(total_samples=200 * MODEL_RATE, offset_samples=102 * MODEL_RATE)


def test_sections_keep_their_length_before_the_anchor_as_well():
    sections = (
        Section(name="A", start_sample=0, end_sample=ANCHOR),
        Section(name="B", start_sample=ANCHOR - 1, end_sample=ANCHOR + 9, similarity=0.5),
    )
    found = mapped(Conditions(sections=sections), MODEL_RATE).sections
    assert found == (
        Section(name="A", start_sample=-ANCHOR, end_sample=0),
        Section(name="B", start_sample=-1, end_sample=9, similarity=0.5),
    )


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_pulse_curves_and_suffix_lie_where_they_lay_in_the_session(rate):
    points = pulse_of(
        TempoMap(
            sample_rate=rate,
            tempos=(Tempo(bpm=Fraction(97)), Tempo(bpm=Fraction(120), beat=Fraction(3))),
            meters=(Meter(), Meter(numerator=7, denominator=8, beat=Fraction(8))),
            origin_sample=ANCHOR - rate,
        )
    )
    suffix = Suffix(start_sample=ANCHOR + 2 * rate, samples=sine(ANCHOR, rate, rate))
    found = mapped(
        Conditions(pulse=points, curves_sample=ANCHOR - rate, suffix=suffix), rate, ANCHOR
    )
    assert [(point.beat, point.bar, point.beats_per_bar) for point in found.pulse] == [
        (0, 0, 4),
        (3, 0.75, 4),
        (8, 2, 3.5),
    ]
    assert [point.sample / MODEL_RATE for point in found.pulse] == pytest.approx(
        [-1, 3 * 60 / 97 - 1, 3 * 60 / 97 - 1 + 2.5]
    )
    assert [point.samples_per_beat / MODEL_RATE for point in found.pulse] == pytest.approx(
        [60 / 97, 0.5, 0.5]
    )
    assert (found.curves_sample, found.suffix.start_sample) == (-MODEL_RATE, 2 * MODEL_RATE)
    assert found.suffix.samples.shape == (MODEL_RATE,)


def test_all_else_is_passed_on_as_it_is():
    given = Conditions(
        labels=Labels(artist="Bach", genre="Chorale"),
        target=StemKind.BASS,
        energy_per_bar=(0.1, 0.9),
        density_per_bar=(0.2,),
        lyrics="la",
    )
    assert mapped(given, 48_000) == given


@pytest.mark.parametrize("rate", SAMPLE_RATES)
@pytest.mark.parametrize("prime_samples", [1, 99, 48_001])
def test_the_prime_is_heard_from_the_anchor_to_the_splice(rate, prime_samples):
    before = 333
    start = ANCHOR - before
    tone = sine(start, before + prime_samples, rate)
    prime = Prime(samples=np.stack([1.5 * tone, 0.5 * tone]), start_sample=start)
    mid = heard(prime, map_of(rate))
    assert mid.shape[0] == -(-prime_samples * MODEL_RATE // rate)
    inner = slice(400, mid.shape[0] - 400)
    due = np.sin(2 * np.pi * 500 * np.arange(mid.shape[0]) / MODEL_RATE)
    np.testing.assert_allclose(mid[inner], due[inner], atol=1e-3)


@pytest.mark.parametrize("num_samples", [1, 7, 8, 9, 64])
def test_feeding_blocks_are_whole_but_the_last(num_samples):
    audio = np.arange(num_samples, dtype=np.float32)
    blocks = list(feed_blocks(audio, 8))
    np.testing.assert_array_equal(np.concatenate(blocks), audio)
    assert {block.shape[0] for block in blocks[:-1]} <= {8}
    assert 1 <= blocks[-1].shape[0] <= 8
