"""Stretches that go with stems as they went with them in the recording."""

from dataclasses import replace

import numpy as np
import pytest

from model.grains import SOURCE, START
from model.reprise import BEFORE_LINE_SAMPLES
from model.state import restored
from model.values import StemAudio, nothing_known, steady_pulse
from tests.model.tiny import CHUNK, decoded, fed, grown, plan

BEAT = 20_000
PRIME_BEATS = 12
PRIME = PRIME_BEATS * BEAT
END = PRIME + 20 * CHUNK
BEATS = END // BEAT + 2
DRUMS, BASS = 1, 2
HEARD = [0, 1, 1, 0, 2, 0, 1, 2, 2, 0, 1, 2]
"""Which of three sounds is on each beat of the recording."""
ASKED = [2, 2, 0, 1, 0, 0, 2, 1, 1, 2, 0, 2, 1, 0, 1, 2, 0, 0, 1, 2]
"""What stands beside the beats to come."""
SOUNDS = (HEARD + 10 * ASKED)[:BEATS]


@pytest.fixture
def generator(remembering):
    return remembering


def hits(sounds, frequencies, samples):
    """Return a decaying tone on every beat, of the frequency of its sound."""
    random = np.random.default_rng(5)
    audio = 0.003 * random.standard_normal(len(sounds) * BEAT)
    at = np.arange(BEAT)
    for beat, sound in enumerate(sounds):
        tone = np.sin(2 * np.pi * frequencies[sound] / 44_100 * at) * np.exp(-at / 6000)
        audio[beat * BEAT : (beat + 1) * BEAT] += 0.4 * tone
    return audio[:samples].astype(np.float32)


def recorded():
    return hits(HEARD, (110, 165, 247), PRIME)


def stem(first=0, end=BEATS * BEAT, kind=DRUMS):
    samples = hits(SOUNDS, (523, 880, 1480), BEATS * BEAT)[first:end]
    return StemAudio(kind=kind, start_sample=first, samples=samples)


def known(*stems, **changes):
    pulse = steady_pulse(float(BEAT), 4.0)
    return replace(nothing_known(), pulse=pulse, stems=stems, **changes)


def made(generator, told, end=END, **changes):
    return grown(generator, fed(generator, recorded(), told), plan(**changes), end)


def pairs(state):
    """Return which sound stood beside each stretch in the recording, and which stands there now."""
    rows = state.reprised[1:]
    places = (rows[:, START] + BEFORE_LINE_SAMPLES) // BEAT
    sources = (rows[:, SOURCE] + BEFORE_LINE_SAMPLES + BEAT // 4) // BEAT
    return [(HEARD[source], SOUNDS[place]) for source, place in zip(sources, places, strict=True)]


def shared(found):
    """Return the share of stretches beside which stands what stood beside them."""
    return np.mean([here == there for here, there in found])


@pytest.mark.parametrize("target", [0, BASS], ids=["mix", "bass"])
def test_beside_like_sounds_come_the_stretches_that_came_beside_them(generator, target):
    found = pairs(made(generator, known(stem(), target=target)))
    assert len(found) > 6
    assert shared(found) == 1
    assert shared(pairs(made(generator, known()))) < 0.6


def test_of_several_stems_each_counts(generator):
    """One tells the first sound from the others, one the second: together they tell all."""
    tones = [(523, 880, 880), (1480, 2500, 1480)]
    samples = [hits(SOUNDS, frequencies, BEATS * BEAT) for frequencies in tones]
    stems = [
        StemAudio(kind=kind, start_sample=0, samples=one) for kind, one in enumerate(samples, 1)
    ]
    found = pairs(made(generator, known(*stems)))
    alone = pairs(made(generator, known(stems[0])))
    assert shared(found) > 0.7 > shared(alone)


def test_a_stem_that_ends_leaves_the_rest_to_the_recording(generator):
    end = PRIME + 6 * BEAT
    state = made(generator, known(stem(end=end)))
    assert (state.reprised[:, SOURCE] >= 0).all()
    beside = state.reprised[1:, START] + BEFORE_LINE_SAMPLES + BEAT < end
    found = np.array(pairs(state))[beside]
    assert len(found) > 1
    np.testing.assert_array_equal(found[:, 0], found[:, 1])


def test_a_stem_that_begins_later_is_compared_with_the_recording(generator):
    """Its sounds are those of the recording: so beats come that sound as it does."""
    samples = hits(SOUNDS, (110, 165, 247), BEATS * BEAT)[PRIME:]
    late = StemAudio(kind=DRUMS, start_sample=PRIME, samples=samples)
    assert shared(pairs(made(generator, known(late)))) > 0.8


def test_silence_beside_says_nothing(generator):
    silent = StemAudio(kind=DRUMS, start_sample=0, samples=np.zeros(BEATS * BEAT, np.float32))
    rows = made(generator, known(silent)).reprised
    assert len(rows) > 6
    assert (rows[:, SOURCE] >= 0).all()


def test_however_it_was_heard_stored_or_rewound_the_bytes_are_the_same(generator):
    told = known(stem(), target=BASS)
    whole = made(generator, told)
    state, audio = generator.open(told, 0), recorded()
    for start in range(0, PRIME, 7001):
        state = generator.feed(state, audio[start : start + 7001])
    half = made(generator, told, end=PRIME + 8 * CHUNK)
    others = [
        grown(generator, state, plan(), END),
        grown(generator, restored(half.to_bytes()), plan(), END),
        grown(generator, generator.rewind(whole, 40 * CHUNK), plan(), END),
    ]
    for other in others:
        np.testing.assert_array_equal(other.reprised, whole.reprised)
        np.testing.assert_array_equal(decoded(generator, other), decoded(generator, whole))


def test_what_stems_play_later_changes_nothing_before(generator):
    """A stretch looks at stems as far as it goes: a beat, no further."""
    changed = stem()
    later = changed.samples.copy()
    first = PRIME + 5 * BEAT
    later[first:] = later[first:][::-1]
    one, other = (
        made(generator, known(replace(changed, samples=s))) for s in (changed.samples, later)
    )
    before = one.reprised[:, START] < first - 2 * BEAT
    np.testing.assert_array_equal(one.reprised[before], other.reprised[: before.sum()])
    assert not np.array_equal(one.reprised, other.reprised)


def test_what_stems_play_beside_a_recording_is_looked_at_once(generator):
    before = generator.memos()["stems"]
    made(generator, known(stem()))
    after = generator.memos()["stems"]
    assert after.misses - before.misses <= 1
    assert after.hits - before.hits > 5
