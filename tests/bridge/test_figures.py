"""The figures on sounds made for it: the true one beats the wrong one, fakes are seen as such."""

from dataclasses import replace

import numpy as np
import pytest

from bridge import toys
from bridge.figures import FIGURES, Better, Heard, measure
from bridge.ports import Note

RATE = 44_100
BAR = 2 * RATE
PRIME = 2 * BAR
RESULT = 2 * BAR
SCALE = (0, 2, 4, 5, 7, 9, 11)


def melody(seed, rate=RATE, root=60):
    """Return 8 s of a melody over a bass, in a major key, none of it repeated."""
    rng = np.random.default_rng(seed)
    notes = []
    for beat in range(16):
        pitch = root + SCALE[rng.integers(7)] + 12 * int(rng.integers(2))
        notes += split(beat * rate // 2, rate // 2, pitch, int(rng.integers(1, 3)))
    for beat in range(0, 16, 4):
        notes += split(beat * rate // 2, 2 * rate, root - 24 + SCALE[rng.integers(7)], 1)
    return tuple(sorted(notes, key=lambda note: note.start_sample))


def split(start, length, pitch, parts):
    each = length // parts
    return [
        Note(
            start_sample=start + part * each,
            end_sample=start + part * each + each * 9 // 10,
            pitch=pitch,
            velocity=90,
        )
        for part in range(parts)
    ]


def played(notes, rate=RATE, decay=0.35, brightness=0.6, num_samples=None):
    """Return decaying harmonic tones: an instrument unlike the toy."""
    audio = np.zeros(num_samples or (PRIME + RESULT) * rate // RATE)
    for note in notes:
        seconds = np.arange(note.end_sample - note.start_sample) / rate
        hz = 440 * 2 ** ((note.pitch - 69) / 12)
        tone = sum(
            brightness**k * np.sin(2 * np.pi * hz * k * seconds + k)
            for k in range(1, 9)
            if hz * k < 0.45 * rate
        )
        fade = np.minimum(1, np.minimum(seconds, seconds[::-1]) / 0.005)
        audio[note.start_sample : note.end_sample] += 0.1 * tone * fade * np.exp(-seconds / decay)
    return audio.astype(np.float32)[None]


def moved(notes, pitch=0, samples=0):
    return tuple(
        replace(
            note,
            pitch=note.pitch + pitch,
            start_sample=note.start_sample + samples,
            end_sample=note.end_sample + samples,
        )
        for note in notes
    )


NOTES = melody(1)
MUSIC = played(NOTES)
PRIME_HEARD = Heard(MUSIC[:, :PRIME], RATE, notes=NOTES)


def figure(name, audio, notes=NOTES, prime=PRIME_HEARD):
    heard = Heard(audio, RATE, start_sample=PRIME, notes=notes)
    return FIGURES[name].measure(heard, prime)


TRUE = MUSIC[:, PRIME:]
NOISE = np.random.default_rng(0).normal(0, 0.1, (1, RESULT)).astype(np.float32)
SILENCE = np.zeros((1, RESULT), np.float32)
LOOP = toys.looped(MUSIC[:, :PRIME], RESULT, BAR)
OTHER = played(melody(2, root=66))[:, PRIME:]
DULL = played(NOTES, brightness=0.2, decay=2.0)[:, PRIME:]


@pytest.mark.parametrize("semitones", [-6, -1, 1, 3])
def test_the_true_notes_beat_transposed_ones(semitones):
    true, wrong = (figure("note_f1", TRUE, notes) for notes in (NOTES, moved(NOTES, semitones)))
    assert true > 0.6
    assert wrong < 0.25


@pytest.mark.parametrize("audio", [NOISE, SILENCE, LOOP, OTHER])
def test_what_plays_other_notes_has_few_of_the_written_ones(audio):
    assert figure("note_f1", audio) < 0.4


@pytest.mark.parametrize("rate", [48_000, 88_200])
def test_notes_are_found_at_any_rate_and_from_any_start(rate):
    notes = melody(1, rate)
    splice = PRIME * rate // RATE
    audio = played(notes, rate)[:, splice:]
    heard = Heard(audio, rate, start_sample=splice, notes=notes)
    assert FIGURES["note_f1"].measure(heard, PRIME_HEARD) > 0.6
    displaced = Heard(audio, rate, start_sample=splice - rate, notes=notes)
    assert FIGURES["note_f1"].measure(displaced, PRIME_HEARD) < 0.45


def test_the_rhythm_of_the_true_notes_beats_a_late_one():
    true = figure("rhythm", TRUE)
    late = figure("rhythm", TRUE, moved(NOTES, samples=RATE * 32 // 100))
    assert true > 0.5
    assert late < true - 0.3
    assert figure("rhythm", NOISE) < 0.4
    assert figure("rhythm", SILENCE) == 0


def test_drums_have_a_rhythm_and_no_pitch():
    hits = tuple(
        Note(start_sample=at, end_sample=at + 4_000, pitch=38, velocity=100, is_drum=True)
        for at in PRIME + RATE // 8 * np.array([0, 3, 8, 11, 13, 19, 24, 29])
    )
    drums = toys.synthesised(hits, RATE, start_sample=PRIME, num_samples=RESULT, like=TRUE)
    assert figure("rhythm", drums, hits) > 0.5
    assert figure("note_f1", drums, hits) is None


def test_the_key_is_that_of_the_prime_or_another():
    assert figure("key_match", TRUE) > 0.5
    assert figure("key_match", OTHER) < figure("key_match", TRUE) - 0.3


def test_the_same_instrument_is_nearer_than_another_and_noise_is_far():
    own, dull, noise = (figure("timbre_distance_db", audio) for audio in (TRUE, DULL, NOISE))
    assert own < 0.8 * dull < 0.8 * noise


def test_timbre_does_not_hear_the_level():
    quiet = figure("timbre_distance_db", 0.5 * TRUE)
    assert quiet == pytest.approx(figure("timbre_distance_db", TRUE), abs=1.0)


def test_a_copy_of_the_prime_is_seen_wherever_it_was_taken_from():
    for audio in (LOOP, MUSIC[:, RATE // 3 :][:, :RESULT] * 0.5):
        assert figure("copy_score", audio) > 0.95
    for audio in (TRUE, OTHER, NOISE, SILENCE):
        assert figure("copy_score", audio) < 0.75


@pytest.mark.parametrize("gain_db", [-20, 0, 6])
def test_a_jump_of_level_is_told_in_db(gain_db):
    after = MUSIC[:, PRIME - RATE // 2 : PRIME] * np.float32(10 ** (gain_db / 20))
    assert figure("loudness_jump_db", after) == pytest.approx(abs(gain_db), abs=0.01)


def test_the_silent_share_is_told():
    half = np.concatenate([TRUE[:, :RATE], np.zeros_like(TRUE[:, :RATE])], axis=1)
    assert figure("silence_share", half) == pytest.approx(0.5, abs=0.03)
    assert figure("silence_share", SILENCE) == 1
    assert figure("silence_share", NOISE) == 0


def test_noise_of_any_colour_is_noise_and_tones_are_not():
    dark = np.convolve(NOISE[0], np.ones(16) / 16, mode="same")[None].astype(np.float32)
    for noise in (NOISE, dark):
        assert figure("noisiness", noise) == pytest.approx(1, abs=0.1)
    assert figure("noisiness", TRUE) < 0.25
    assert figure("noisiness", SILENCE) is None


def test_without_notes_there_is_nothing_to_adhere_to():
    row = measure(Heard(TRUE, RATE), PRIME_HEARD)
    assert row["note_f1"] is None
    assert row["rhythm"] is None
    assert row["copy_score"] is not None


@pytest.mark.parametrize("num_samples", [1, 1_000, RATE // 2])
def test_short_results_are_measured_too(num_samples):
    row = measure(Heard(TRUE[:, :num_samples], RATE, start_sample=PRIME, notes=NOTES), PRIME_HEARD)
    assert list(row) == list(FIGURES)
    assert row["copy_score"] is None
    assert all(value is None or np.isfinite(value) for value in row.values())


@pytest.mark.parametrize(
    ("name", "worse"),
    [
        ("note_f1", OTHER),
        ("rhythm", SILENCE),
        ("key_match", OTHER),
        ("timbre_distance_db", NOISE),
        ("copy_score", LOOP),
        ("loudness_jump_db", SILENCE),
        ("silence_share", SILENCE),
    ],
)
def test_the_true_continuation_is_better_in_the_direction_that_the_table_says(name, worse):
    good, bad = figure(name, TRUE), figure(name, worse)
    assert (good > bad) == (FIGURES[name].better is Better.HIGHER)
    assert good != bad
