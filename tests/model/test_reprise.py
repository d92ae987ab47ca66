from dataclasses import replace

import numpy as np
import pytest

from model.composing import VELOCITY_DB
from model.grains import SOURCE, START, STRAY_SAMPLES
from model.listening import STEP_SAMPLES
from model.reprise import BEFORE_LINE_SAMPLES, unit_beats
from model.state import restored
from model.values import Echo, Pulse, StemAudio, SuffixAudio, nothing_known, steady_pulse
from model.weighing import Choice, copied_shares, recalled
from tests.model.tiny import (
    CHUNK,
    decoded,
    fed,
    grown,
    plan,
    told,
)

RATE = 44_100
BEAT = 20_000
PRIME = 250_000
END = PRIME + 20 * CHUNK


@pytest.fixture
def generator(remembering):
    return remembering


def beats(samples=PRIME, seed=3):
    """Return hits of changing colour on every beat over a little noise."""
    random = np.random.default_rng(seed)
    audio = 0.01 * random.standard_normal(samples + BEAT)
    for start in range(0, samples, BEAT):
        tone = np.sin(np.arange(BEAT) * random.uniform(0.02, 0.4))
        audio[start : start + BEAT] += 0.4 * tone * np.exp(-np.arange(BEAT) / 5000)
    return audio[:samples].astype(np.float32)


def on_the_beat(**changes):
    return replace(nothing_known(), pulse=steady_pulse(float(BEAT), 4.0), **changes)


HELD = StemAudio(kind=1, start_sample=0, samples=beats())
"""All that is recorded is this stem."""


def made(generator, known=None, audio=None, end=END, **changes):
    known = on_the_beat() if known is None else known
    audio = beats() if audio is None else audio
    return grown(generator, fed(generator, audio, known), plan(**changes), end)


def test_stretches_come_from_the_same_place_of_a_beat_and_from_what_was_heard(generator):
    rows = made(generator).reprised
    assert len(rows) > 7
    assert unit_beats(steady_pulse(float(BEAT), 4.0), 0) == 1
    for start, source in rows[:, [START, SOURCE]].tolist():
        apart = (start - source) % BEAT
        assert min(apart, BEAT - apart) <= STRAY_SAMPLES
        assert 0 <= source < PRIME
    assert ((rows[1:, START] + BEFORE_LINE_SAMPLES) % BEAT == 0).all()


def test_what_sounds_is_the_recording(generator):
    state, audio = made(generator), beats()
    sound = decoded(generator, state)
    start, source = (int(value) for value in state.reprised[3, [START, SOURCE]])
    inside = slice(start + 2000, start + BEAT - 2000)
    heard = audio[source + 2000 : source + BEAT - 2000]
    np.testing.assert_allclose(sound[inside], heard, atol=1e-6)


def test_the_recording_goes_on_however_long(generator):
    rows = made(generator, end=PRIME + 150 * BEAT).reprised
    assert len(rows) > 149
    assert (rows[:, SOURCE] >= 0).all()
    assert len(set(rows[-40:, SOURCE].tolist())) > 4


def test_a_seed_is_a_choice_and_a_variation_another(generator):
    first = made(generator).reprised
    np.testing.assert_array_equal(made(generator).reprised, first)
    others = [made(generator, seed=2).reprised, made(generator, variation=1).reprised]
    assert all(not np.array_equal(other, first) for other in others)


@pytest.mark.parametrize("piece", [1000, 30_001])
@pytest.mark.parametrize("reprise", [True, False])
def test_pieces_are_the_whole_and_early_blocks_the_late_ones(generator, piece, reprise):
    whole = made(generator, reprise=reprise)
    state, audio = generator.open(on_the_beat(), 0), beats()
    for start in range(0, PRIME, piece):
        state = generator.feed(state, audio[start : start + piece])
    early: dict[int, np.ndarray] = {}
    while state.settled_sample < END:
        state = generator.step([state], plan(reprise=reprise))[0].state
        for block in range(state.decodable_sample // generator.block_samples):
            if block not in early:
                early[block] = generator.decode(state, block)
    np.testing.assert_array_equal(state.reprised, whole.reprised)
    np.testing.assert_array_equal(state.codes, whole.codes)
    np.testing.assert_array_equal(
        np.concatenate([early[block] for block in sorted(early)]), decoded(generator, whole)
    )


def test_what_was_stored_and_what_was_rewound_goes_on_as_it_would(generator):
    whole = made(generator)
    half = made(generator, end=PRIME + 8 * CHUNK)
    stored = grown(generator, restored(half.to_bytes()), plan(), END)
    back = generator.rewind(whole, 40 * CHUNK)
    assert len(back.reprised) < len(whole.reprised)
    for other in (stored, grown(generator, back, plan(), END)):
        np.testing.assert_array_equal(other.reprised, whole.reprised)
        np.testing.assert_array_equal(decoded(generator, other), decoded(generator, whole))


@pytest.mark.parametrize(
    ("known", "audio", "changes"),
    [
        (told(notes_span=(0, 2 * END)), None, {}),
        (on_the_beat(target=2), None, {}),
        (on_the_beat(target=2, stems=(HELD,)), None, {}),
        (on_the_beat(target=2, stems=(HELD,)), 1e-4 * beats(), {}),
        (on_the_beat(), beats(60_000), {}),
        (nothing_known(), np.zeros(PRIME, np.float32), {}),
        (on_the_beat(), None, {"reprise": False}),
    ],
    ids=[
        "notes told",
        "a part",
        "a part of a recording that holds the stems",
        "a part that was silent",
        "too little heard",
        "silence",
        "not wanted",
    ],
)
def test_nothing_sounds_again(generator, known, audio, changes):
    heard = PRIME if audio is None else len(audio)
    state = made(generator, known, audio, end=heard + 2 * CHUNK, **changes)
    assert not len(state.reprised)


def test_without_a_tempo_the_beat_is_found(generator):
    rows = made(generator, nothing_known()).reprised
    assert len(rows) > 5
    lags = (rows[:, START] - rows[:, SOURCE]) % BEAT
    near = np.minimum(lags, BEAT - lags) < 0.03 * BEAT
    assert near.mean() > 0.7


def test_where_told_notes_end_the_recording_takes_over(generator):
    begin, end = PRIME // 2, 36 * CHUNK
    notes = np.array([(begin, end, 60, 90, 5, 0)], np.int64)
    state = made(generator, on_the_beat(notes=notes, notes_span=(begin, end)))
    assert int(state.reprised[0, START]) == end
    decoded(generator, state)


def test_where_another_plan_wants_it_no_more_the_finisher_takes_over(generator):
    half = made(generator, end=36 * CHUNK)
    state = grown(generator, half, plan(reprise=False), END)
    assert state.reprised[-1, [START, SOURCE]].tolist() == [36 * CHUNK, -1]
    assert np.abs(decoded(generator, state)[37 * CHUNK :]).max() > 0


def test_what_sounded_before_the_finisher_took_over_sounds_the_same_after(generator):
    half = made(generator, end=36 * CHUNK)
    early = decoded(generator, half)
    late = decoded(generator, grown(generator, half, plan(reprise=False), END))
    np.testing.assert_array_equal(late[: len(early)], early)


def test_who_composes_after_the_recording_went_on_by_itself_heard_that_too(generator):
    half = made(generator, end=36 * CHUNK)
    assert half.known.composed_span is None, "nothing asks for notes"
    assert len(half.heard) == 0, "nor for those heard"
    half = generator.step([half], plan(reprise=False))[0].state
    assert len(half.heard) == 36 * CHUNK // STEP_SAMPLES
    source = int(half.reprised[1, SOURCE]) + 4 * STEP_SAMPLES
    step = (int(half.reprised[1, START]) + 4 * STEP_SAMPLES) // STEP_SAMPLES
    near = half.heard[source // STEP_SAMPLES - 1 : source // STEP_SAMPLES + 2]
    assert any(np.array_equal(half.heard[step], one) for one in near)


def test_a_suffix_is_composed_for(generator):
    suffix = SuffixAudio(start_sample=END, samples=beats(20_000))
    state = made(generator, on_the_beat(suffix=suffix), end=36 * CHUNK)
    assert len(state.reprised)
    assert state.known.composed_span is not None


def test_a_tempo_that_nothing_heard_has_is_left_to_the_finisher(generator):
    knots = np.array([[0, 0, 0, BEAT, 4], [PRIME, PRIME / BEAT, 3.125, 1.3 * BEAT, 4]], np.float64)
    state = made(generator, replace(nothing_known(), pulse=Pulse(knots=knots)))
    assert not (state.reprised[:, SOURCE] >= 0).any()


def test_the_beat_that_was_found_is_looked_for_once(generator, monkeypatch):
    whole = made(generator, nothing_known())
    state = made(generator, nothing_known(), end=PRIME + 4 * CHUNK)
    assert state.beat is not None
    monkeypatch.setattr(generator._reprising, "_find_pulse", None)
    on = grown(generator, state, plan(), END)
    np.testing.assert_array_equal(on.reprised, whole.reprised)
    back = generator.rewind(on, PRIME // 2)
    assert back.beat is None, "less was heard there"


def test_a_stretch_that_copies_one_second_costs_more_than_one_that_does_not(generator):
    state = fed(generator, beats(), on_the_beat())
    start = 13 * BEAT - BEFORE_LINE_SAMPLES
    first = 5 * BEAT - BEFORE_LINE_SAMPLES
    rows = np.array([(start, first, 1000, 1000)], np.int64)
    begin = start + BEAT
    on, other = first + BEAT, 9 * BEAT - BEFORE_LINE_SAMPLES
    choice = Choice(
        start=begin,
        end=begin + BEAT,
        line=begin + BEFORE_LINE_SAMPLES,
        sources=np.array([on, other]),
        least=0,
        most=PRIME,
    )
    recording = recalled(state.spectra)
    copied, new = copied_shares(recording, rows, choice)
    assert copied > 0.9
    assert new < 0.5
    alone = replace(choice, start=start, end=start + BEAT, line=13 * BEAT)
    assert not copied_shares(recording, rows[:0], replace(alone, end=start + 2048)).any()


def test_a_section_comes_back_as_it_sounded(generator):
    shift = 8 * BEAT
    first = 13 * BEAT
    echo = Echo(
        start_sample=first + shift,
        end_sample=first + 2 * shift,
        source_sample=first,
        similarity=1.0,
    )
    end = first + 2 * shift
    rows = made(generator, on_the_beat(echoes=(echo,)), end=end).reprised
    by_line = dict((rows[:, [START, SOURCE]] + [BEFORE_LINE_SAMPLES, 0]).tolist())
    lines = range(first + shift, end, BEAT)
    assert len(lines) == 8
    for line in lines:
        assert abs(by_line[line] - by_line[line - shift]) <= STRAY_SAMPLES


def test_energy_is_a_gain(generator):
    known = on_the_beat(energy=(-VELOCITY_DB / 2,) * 40, curves_sample=PRIME)
    softer = made(generator, known).reprised[1:, 2]
    plain = made(generator).reprised[1:, 2]
    np.testing.assert_allclose(softer / plain, 10**-0.5, rtol=0.03)


def test_what_stretches_are_compared_with_is_made_once_for_a_recording(generator):
    before = generator.memos()["reprise"]
    made(generator)
    after = generator.memos()["reprise"]
    assert after.hits > before.hits
    assert after.misses <= before.misses + 1
