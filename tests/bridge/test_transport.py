"""Bars, beats and samples agree exactly, and keep agreeing for ever."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import InvalidRequestError
from bridge.transport import (
    MAX_CHANGES,
    Meter,
    SampleMap,
    Tempo,
    TempoMap,
    exact,
    nearest,
    parse_meter,
    steady,
    tempos_at_samples,
)

RATES = [44_100, 48_000, 88_200, 96_000]


@pytest.fixture
def winding():
    return TempoMap(
        sample_rate=48_000,
        tempos=(
            Tempo(bpm=Fraction(120)),
            Tempo(bpm=exact(97.3), beat=Fraction(7, 3)),
            Tempo(bpm=exact("61.01"), beat=Fraction(40)),
        ),
        meters=(
            Meter(),
            Meter(numerator=7, denominator=8, beat=Fraction(8)),
            Meter(numerator=3, denominator=4, beat=Fraction(8) + 4 * Fraction(7, 2)),
        ),
        origin_sample=-777,
    )


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("bars", "beats"), [(1, Fraction(7, 2)), (4, 14)])
@pytest.mark.parametrize("start", [0, 10_007, 400_001])
def test_bars_of_seven_eight_at_97_3_bpm_have_their_exact_length(rate, bars, beats, start):
    length = steady(rate, 97.3, parse_meter("7/8")).num_samples_of_bars(bars, start)
    assert abs(length - beats * 60 * rate / Fraction("97.3")) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("rate", "bars", "length"),
    [(44_100, 1, 95_180), (44_100, 4, 380_719), (48_000, 4, 414_388), (96_000, 1, 207_194)],
)
def test_known_lengths_at_97_3_bpm_in_seven_eight(rate, bars, length):
    assert (
        steady(rate, 97.3, Meter(numerator=7, denominator=8)).num_samples_of_bars(bars, 0) == length
    )


@pytest.mark.parametrize("rate", RATES)
def test_one_result_after_another_keeps_to_the_bar_lines(rate):
    tempo_map = steady(rate, 97.3, parse_meter("7/8"), origin_sample=13)
    sample = 13
    for bar in range(1, 300):
        sample += tempo_map.num_samples_of_bars(1, sample)
        assert sample == nearest(tempo_map.sample_of_bar(bar))


def test_bars_counted_from_inside_a_bar_end_at_the_same_place_inside_another(winding):
    start = nearest(winding.sample_of_bar(Fraction(3, 2)))
    end = start + winding.num_samples_of_bars(2, start)
    assert abs(winding.bar_of_sample(end) - Fraction(7, 2)) < Fraction(1, 10_000)


def test_the_tempo_may_change_inside_the_stretch(winding):
    start = nearest(winding.sample_of_beat(Fraction(0)))
    beats = 7
    expected = 48_000 * 60 * (Fraction(7, 3) / 120 + (beats - Fraction(7, 3)) / Fraction("97.3"))
    expected += Fraction(1) * 48_000 * 60 / Fraction("97.3")
    assert winding.num_samples_of_bars(2, start) == nearest(expected)


@given(st.fractions(min_value=-100, max_value=1000, max_denominator=960))
@settings(max_examples=100, deadline=None)
def test_beats_bars_and_samples_are_each_others_inverse(beat):
    tempo_map = TempoMap(
        sample_rate=44_100,
        tempos=(Tempo(bpm=exact(93.7)), Tempo(bpm=exact(141), beat=Fraction(5))),
        meters=(Meter(numerator=5), Meter(numerator=6, denominator=8, beat=Fraction(15))),
        origin_sample=99,
    )
    assert tempo_map.beat_of_sample(tempo_map.sample_of_beat(beat)) == beat
    assert tempo_map.beat_of_bar(tempo_map.bar_of_beat(beat)) == beat
    assert tempo_map.bar_of_sample(tempo_map.sample_of_bar(beat)) == beat


@given(st.fractions(), st.integers())
@settings(max_examples=100, deadline=None)
def test_rounding_commutes_with_whole_samples_and_errs_by_half_at_most(value, shift):
    assert nearest(value + shift) == nearest(value) + shift
    assert abs(nearest(value) - value) <= Fraction(1, 2)


def test_bar_lines_of_a_stretch_begin_at_its_start_and_stop_before_its_end(winding):
    lines = winding.bar_lines(-777, 400_000)
    assert lines[0] == -777
    assert list(lines) == [nearest(winding.sample_of_bar(bar)) for bar in range(len(lines))]
    assert lines[-1] < 400_000 <= nearest(winding.sample_of_bar(len(lines)))
    assert winding.bar_lines(-777, lines[3]) == lines[:3]
    assert winding.bar_lines(lines[2] + 1, lines[3]) == ()


def test_bars_before_the_origin_have_negative_numbers():
    tempo_map = steady(48_000, 120, origin_sample=96_000)
    assert tempo_map.bar_of_sample(0) == -1
    assert tempo_map.bar_lines(0, 200_000) == (0, 96_000, 192_000)


def test_a_tempo_that_changes_at_a_sample_changes_there():
    changes = [(500, 120), (48_500, 90.5), (100_001, 97.3)]
    tempo_map = TempoMap(
        sample_rate=48_000, tempos=tempos_at_samples(48_000, changes, 500), origin_sample=500
    )
    assert [tempo_map.sample_of_beat(tempo.beat) for tempo in tempo_map.tempos] == [
        500,
        48_500,
        100_001,
    ]
    assert tempo_map.tempos[1].beat == 2


@pytest.mark.parametrize(
    ("value", "fraction"),
    [(97.3, Fraction(973, 10)), ("120", Fraction(120)), (1, Fraction(1)), ("1/3", Fraction(1, 3))],
)
def test_a_number_means_what_it_prints(value, fraction):
    assert exact(value) == fraction


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "fast", "", "1/0", "9" * 100, "1e9999999", 1e300]
)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(InvalidRequestError):
        exact(value)


@pytest.mark.parametrize("bpm", [0, -120, 9.99, 999.5, 1e17])
def test_an_absurd_tempo_is_refused_with_value_limit_and_unit(bpm):
    with pytest.raises(InvalidRequestError, match=r"tempo is .* 10 to 999 bpm"):
        steady(48_000, bpm)


@pytest.mark.parametrize(
    "text", ["0/4", "65/4", "4/3", "4/0", "4/128", "4", "4/", "-4/4", "x", "4/4/4"]
)
def test_an_absurd_meter_is_refused(text):
    with pytest.raises(InvalidRequestError, match="meter"):
        parse_meter(text)


@pytest.mark.parametrize("bars", [0, -1, 10_001, float("nan")])
def test_an_absurd_number_of_bars_is_refused(bars):
    with pytest.raises(InvalidRequestError):
        steady(48_000, 120).num_samples_of_bars(bars, 0)


@pytest.mark.parametrize("rate", [0, -48_000])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(InvalidRequestError, match="Hz"):
        steady(rate, 120)
    with pytest.raises(InvalidRequestError, match="Hz"):
        SampleMap(anchor_sample=0, session_rate=rate, model_rate=44_100)


def changes(*beats):
    return tuple(Tempo(bpm=Fraction(120), beat=Fraction(beat)) for beat in beats)


@pytest.mark.parametrize("tempos", [(), changes(1), changes(0, 4, 4), changes(0, 4, 3)])
def test_changes_out_of_order_are_refused(tempos):
    with pytest.raises(InvalidRequestError):
        TempoMap(sample_rate=48_000, tempos=tempos)


def test_too_many_changes_and_too_many_bars_are_refused():
    with pytest.raises(InvalidRequestError, match=str(MAX_CHANGES)):
        TempoMap(sample_rate=48_000, tempos=changes(*range(MAX_CHANGES + 1)))
    with pytest.raises(InvalidRequestError, match=str(MAX_CHANGES)):
        tempos_at_samples(48_000, [(at, 120) for at in range(MAX_CHANGES + 1)])
    with pytest.raises(InvalidRequestError, match="10000 bars"):
        steady(48_000, 120).bar_lines(0, 96_000 * 10_002)


def test_a_meter_that_changes_inside_a_bar_is_refused():
    with pytest.raises(InvalidRequestError, match="inside bar 1"):
        TempoMap(
            sample_rate=48_000,
            tempos=changes(0),
            meters=(Meter(), Meter(numerator=3, beat=Fraction(6))),
        )


@pytest.mark.parametrize("rate", RATES)
def test_session_and_model_samples_map_exactly_from_the_anchor(rate):
    sample_map = SampleMap(anchor_sample=1_001, session_rate=rate, model_rate=44_100)
    assert sample_map.to_model(1_001 + rate) == 44_100
    assert sample_map.to_session(44_100) == 1_001 + rate
    for sample in range(900, 1_300):
        position = sample_map.to_model(sample)
        assert sample_map.to_session(1) - 1_001 == Fraction(rate, 44_100)
        assert sample_map.floor_model(sample) <= position <= sample_map.ceil_model(sample)
        assert abs(sample_map.nearest_model(sample) - position) <= Fraction(1, 2)
        assert sample_map.floor_session(sample_map.ceil_model(sample)) >= sample
        assert sample_map.ceil_session(sample_map.floor_model(sample)) <= sample
        assert sample_map.nearest_session(sample_map.nearest_model(sample)) - sample in (-1, 0, 1)


def test_at_48_khz_a_session_sample_is_147_of_160_model_samples():
    sample_map = SampleMap(anchor_sample=0, session_rate=48_000, model_rate=44_100)
    assert sample_map.ratio == Fraction(147, 160)
    assert (sample_map.floor_model(161), sample_map.ceil_model(161)) == (147, 148)
