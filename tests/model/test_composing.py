"""Notes for the chunk to come where nobody gave them, once and for good."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from model.composer import HELD, HIT_KEYS, PITCHES, STRUCK, Places, Voice, placed_notes
from model.conditioning.cues import onsets_of
from model.striking import _counts
from model.values import Echo, StemAudio, SuffixAudio, nothing_known, steady_pulse
from tests.model.tiny import (
    CHUNK,
    fed,
    grown,
    plan,
    sound,
    tiny_bundle,
    tiny_generator,
    told,
)

PRIME = 2 * CHUNK + 3000
SETTLED = (PRIME - 144) // 128 * 128
STEP = 2048
GIVEN = np.array([(0, CHUNK, 60, 100, 5, 0), (5000, CHUNK + 500, 64, 90, 40, 0)], np.int64)


def begun(generator, known=None, **changes):
    """Return the state after its first notes, or codes where there are none to compose."""
    state = fed(generator, sound(PRIME), known)
    return next(made(generator, state, plan(**changes))).state


def made(generator, state, plan):
    """Yield the steps after those that read what was heard."""
    while True:
        step = generator.step([state], plan)[0]
        if step.phase == "notes" or step.state.settled_sample > SETTLED:
            yield step
        state = step.state


def test_the_first_step_composes_to_the_end_of_the_chunk_and_every_chunk_once(generator):
    steps = list(islice(made(generator, fed(generator, sound(PRIME)), plan()), 6))
    spans = [step.state.known.composed_span for step in steps]
    assert [step.phase for step in steps] == ["notes", "top"] * 3
    # And half a step beyond, since a step's notes may begin half a step before it.
    ahead = STEP // 2
    assert spans == [(SETTLED, chunk * CHUNK + ahead) for chunk in (3, 4, 5) for _ in range(2)]
    assert steps[-1].state.known.notes_span is None


@pytest.mark.parametrize("forgotten", [2, 3, 4, 5, 6])
def test_notes_are_the_same_where_the_stack_is_built_again(generator, forgotten):
    state = again = fed(generator, sound(PRIME))
    while state.settled_sample < 8 * CHUNK or not state.generating:
        state = generator.step([state], plan())[0].state
        if again.settled_sample == forgotten * CHUNK:
            again = replace(again, composed=None)
        again = generator.step([again], plan())[0].state
    assert len(state.known.notes) > 8
    assert np.array_equal(again.known.notes, state.known.notes)
    assert torch.equal(again.composed.memory[0].current, state.composed.memory[0].current)


def test_composed_notes_lie_in_the_span_and_stay_once_written(generator):
    earlier = begun(generator)
    later = grown(generator, earlier, plan(), 4 * CHUNK)
    notes = later.known.notes
    first, last = later.known.composed_span
    assert len(notes) > 3
    assert notes[:, 0].min() >= first
    assert notes[:, 1].max() <= last
    # Only what was held to the seam may have grown longer.
    kept = later.known.notes[: len(earlier.known.notes)]
    seam = earlier.known.composed_span[1]
    assert np.array_equal(kept[:, [0, 2, 3, 4, 5]], earlier.known.notes[:, [0, 2, 3, 4, 5]])
    longer = kept[:, 1] != earlier.known.notes[:, 1]
    assert (earlier.known.notes[longer, 1] == seam).all()
    assert longer.any()


@pytest.mark.parametrize(
    "known",
    [
        told(),
        told(notes=GIVEN[:0]),
        replace(nothing_known(), target=2),
        replace(nothing_known(), stems=(StemAudio(kind=1, start_sample=0, samples=sound(PRIME)),)),
    ],
    ids=["notes are given", "silence is given", "a part is wanted", "stems are given"],
)
def test_nothing_is_composed_where(generator, known):
    state = fed(generator, sound(PRIME), known)
    step = generator.step([state], plan())[0]
    assert step.phase == "top"
    later = grown(generator, step.state, plan(), 4 * CHUNK).known
    assert later.composed_span is None
    assert np.array_equal(later.notes, known.notes)


def test_nothing_is_composed_where_the_listener_hears_nothing():
    bundle = tiny_bundle()
    torch.nn.init.constant_(bundle.listener.leave.bias, -20.0)
    torch.nn.init.constant_(bundle.listener.hits[-1].bias, -20.0)
    deaf = tiny_generator(bundle)
    assert grown(deaf, fed(deaf, sound(PRIME)), plan(), 4 * CHUNK).known.composed_span is None


@pytest.mark.parametrize("end", [CHUNK, CHUNK + 1000, SETTLED, SETTLED + 3000])
def test_given_notes_are_gone_on_with_and_the_gap_stays_unknown(generator, end):
    known = replace(nothing_known(), notes=GIVEN, notes_span=(0, end))
    state = grown(generator, begun(generator, known), plan(), 4 * CHUNK)
    first = max(end, SETTLED)
    assert state.known.spans() == ((0, end), (first, 4 * CHUNK + STEP // 2))
    assert np.array_equal(state.known.notes[: len(GIVEN)], GIVEN)
    assert state.known.notes[len(GIVEN) :, 0].min() >= first


def test_what_was_heard_or_given_is_gone_on_with(generator):
    composed = set()
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(PRIME, dtype=np.float32) / 44_100)
    for audio in (sound(PRIME), tone):
        state = grown(generator, fed(generator, audio), plan(), 5 * CHUNK)
        composed.add(state.known.notes.tobytes())
    for notes in (GIVEN, GIVEN + np.array([0, 0, 3, 0, 0, 0])):
        known = replace(nothing_known(), notes=notes, notes_span=(0, PRIME))
        composed.add(begun(generator, known).known.notes[len(GIVEN) :].tobytes())
    assert len(composed) == 4


@pytest.mark.parametrize("change", [{"seed": 8}, {"variation": 2}, {"temperature": 0.2}], ids=str)
def test_seed_variation_and_temperature_write_other_notes(generator, change):
    ours, again = (begun(generator).known.notes for _ in range(2))
    assert np.array_equal(ours, again)
    assert not np.array_equal(begun(generator, **change).known.notes, ours)


def test_a_teacher_s_timeline_is_composed_for_as_well(generator):
    step = generator.step([fed(generator, sound(PRIME))], plan(teacher=True))[0]
    assert step.phase == "notes"
    assert np.array_equal(step.state.known.notes, begun(generator).known.notes)
    assert generator.step([step.state], plan(teacher=True))[0].phase == "top"


def test_what_is_held_at_the_first_step_sounds_from_the_splice_on():
    """No hole between the prime's last note and the first step composed."""
    score = np.zeros((3, PITCHES), np.int8)
    score[:2, 60], score[0, 62], score[0, 1] = HELD, STRUCK, STRUCK
    places = Places(
        onsets=np.arange(10, 13) * STEP,
        velocities=np.full(3, 82),
        start_sample=10 * STEP - 700,
        end_sample=13 * STEP,
    )
    made = placed_notes(score, places, Voice(step_samples=STEP))
    assert {row[2]: (row[0], row[1]) for row in made.tolist()} == {
        60: (10 * STEP - 700, 12 * STEP),
        62: (10 * STEP, 11 * STEP),
        HIT_KEYS[1]: (10 * STEP, 11 * STEP),
    }


def test_so_many_are_struck_as_the_chances_say_together():
    chances = np.array([0.5, 0.0, 0.25, 1.0])
    assert _counts(chances)[:5] == pytest.approx([0, 0.375, 0.5, 0.125, 0])
    assert _counts(np.full(128, 0.5)).sum() == pytest.approx(1)


BEAT = 60 / 132 * 44_100
PULSE = steady_pulse(BEAT, 3.0)


def off_grid(samples):
    """Return how far samples lie from sixteenths and triplets of eighths, in samples."""
    lines = [np.abs(samples - np.rint(samples * n / BEAT) * BEAT / n) for n in (4, 3)]
    return np.min(lines, axis=0)


def near_grid(step):
    """Return whether a line of the grid lies within half a step."""
    return off_grid(np.arange(step * STEP - STEP // 2, step * STEP + STEP // 2)).min() <= 0.5


def test_where_a_tempo_is_known_notes_begin_on_its_grid(generator):
    free = grown(generator, fed(generator, sound(PRIME)), plan(), 5 * CHUNK)
    starts = free.known.notes[:, 0]
    assert (starts[starts > SETTLED] % STEP == 0).all()
    known = replace(nothing_known(), pulse=PULSE)
    state = grown(generator, fed(generator, sound(PRIME), known), plan(), 5 * CHUNK)
    onsets = np.unique(state.known.notes[:, 0])
    onsets = onsets[onsets > SETTLED]
    steps = (onsets + STEP // 2) // STEP
    placed = [near_grid(step) for step in steps.tolist()]
    assert 5 < sum(placed) < len(placed)
    assert (off_grid(onsets[placed]) <= 0.5).all()
    assert (np.delete(onsets, np.flatnonzero(placed)) % STEP == 0).all()
    # A note that begins before the chunk's end is known when its codes are made.
    assert (np.abs(onsets - steps * STEP) <= STEP // 2).all()
    early = [row for row in onsets.tolist() if row < 4 * CHUNK]
    before = grown(generator, fed(generator, sound(PRIME), known), plan(), 4 * CHUNK)
    mine = before.known.notes[:, 0]
    assert sorted({*mine[(mine > SETTLED) & (mine < 4 * CHUNK)].tolist()}) == early


def test_every_step_has_one_place_and_places_rise():
    for pulse in (PULSE, steady_pulse(60 / 231 * 44_100, 4.0), None):
        steps = np.arange(-40, 400)
        onsets = onsets_of(pulse, steps)
        assert ((onsets + STEP // 2) // STEP == steps).all()


def test_a_bar_s_energy_is_its_notes_velocity(generator):
    known = replace(
        nothing_known(),
        pulse=steady_pulse(CHUNK / 2, 2.0),
        curves_sample=3 * CHUNK,
        energy=(-12.0, 12.0, 0.0),
    )
    state = grown(generator, fed(generator, sound(PRIME), known), plan(), 8 * CHUNK)
    notes = state.known.notes
    assert {bar: set(notes[notes[:, 0] // CHUNK == bar, 3].tolist()) for bar in range(3, 7)} == {
        3: {21},
        4: {127},
        5: {82},
        6: {82},
    }


def louder(bundle, cue_gain):
    """Return the bundle with a composer that heeds what it is told more, or not at all."""
    with torch.no_grad():
        bundle.composer.cue.weight.mul_(cue_gain)
        bundle.composer.pitchwise.weight.mul_(cue_gain)
    return bundle


def struck(notes):
    """Return step and pitch of every note, in order."""
    return sorted(zip(((notes[:, 0] + STEP // 2) // STEP).tolist(), notes[:, 2], strict=True))


CHANGES = {
    "metre": {"pulse": PULSE},
    "density": {"density": (2.0,) * 9},
    "energy": {"energy": (6.0,) * 9},
    "suffix": {"suffix": SuffixAudio(start_sample=9 * CHUNK, samples=sound(STEP * 12, seed=4))},
    "section": {
        "echoes": (
            Echo(
                start_sample=3 * CHUNK,
                end_sample=9 * CHUNK,
                source_sample=CHUNK // 2,
                similarity=0.5,
            ),
        )
    },
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_told_changes_the_scores_where_the_weights_heed_it(name):
    told, untold = replace(nothing_known(), **CHANGES[name]), nothing_known()
    if name in ("density", "energy"):
        told, untold = (replace(known, pulse=PULSE) for known in (told, untold))

    def composed(gain, known):
        generator = tiny_generator(louder(tiny_bundle(), gain))
        state = grown(generator, fed(generator, sound(PRIME), known), plan(), 5 * CHUNK)
        return struck(state.known.notes)

    deaf, heeding = ([composed(gain, known) for known in (untold, told)] for gain in (0.0, 1.0))
    assert heeding[0] != heeding[1]
    # Density and sections besides weigh the chances, whatever the weights say; so does a metre that
    # is not told: notes may then come no more often than in the prime.
    assert (deaf[0] == deaf[1]) is (name not in ("metre", "density", "section"))


@pytest.mark.parametrize("guidance", [0.0, 2.5])
def test_guidance_leads_away_from_what_nobody_told(guidance):
    known = replace(nothing_known(), pulse=PULSE, **CHANGES["energy"])
    generator = tiny_generator(tiny_bundle())

    def notes(known, guidance):
        chosen = plan(guidance=guidance)
        return grown(generator, fed(generator, sound(PRIME), known), chosen, 5 * CHUNK).known.notes

    plain, led = notes(known, 1.0), notes(known, guidance)
    assert not np.array_equal(plain, led)
    # The metre is known to both: it leads nowhere.
    metre = replace(nothing_known(), pulse=PULSE)
    assert np.array_equal(notes(metre, guidance)[:, :3], notes(metre, 1.0)[:, :3])
    if guidance == 0:
        # Who is led by nothing writes the notes of who was told nothing, at other velocities.
        assert np.array_equal(led[:, :3], notes(metre, 1.0)[:, :3])


@pytest.mark.parametrize("gain", [0.0, 1.0], ids=["deaf", "heeding"])
def test_a_section_comes_back_note_for_note_where_it_is_all_alike(gain):
    generator = tiny_generator(louder(tiny_bundle(), gain))

    def made(similarity):
        echo = Echo(
            start_sample=6 * CHUNK,
            end_sample=9 * CHUNK,
            source_sample=3 * CHUNK,
            similarity=similarity,
        )
        known = replace(nothing_known(), echoes=(echo,))
        state = grown(generator, fed(generator, sound(PRIME), known), plan(), 9 * CHUNK)
        notes = state.known.notes
        starts = notes[:, 0]
        source = notes[(starts > 3 * CHUNK) & (starts < 6 * CHUNK - STEP)]
        again = notes[(starts > 6 * CHUNK) & (starts < 9 * CHUNK - STEP)]
        return set(struck(source)), set(struck(again - [3 * CHUNK, 0, 0, 0, 0, 0]))

    shares = []
    for similarity in (1.0, 0.7, 0.0):
        source, again = made(similarity)
        assert len(source) > 8
        shares.append(len(source & again) / len(source))
    assert shares[0] == 1.0
    assert shares[0] > shares[1] > shares[2]


def test_a_denser_bar_has_more_onsets(generator):
    counts = []
    for density in (0.0, 1.0, 6.0):
        known = replace(
            nothing_known(),
            pulse=steady_pulse(CHUNK / 2, 2.0),
            curves_sample=3 * CHUNK,
            density=(density,) * 9,
        )
        state = grown(generator, fed(generator, sound(PRIME), known), plan(), 7 * CHUNK)
        starts = state.known.notes[:, 0]
        counts.append(int((starts > 3 * CHUNK).sum()))
    assert 2 * counts[0] < counts[1] < counts[2]


def test_a_state_is_stored_with_all_that_was_told(generator):
    known = replace(nothing_known(), pulse=PULSE, curves_sample=-77)
    for change in CHANGES.values():
        known = replace(known, **change)
    state = fed(generator, sound(PRIME), known)
    again = generator.restore(state.to_bytes())
    assert again.known.curves_sample == -77
    assert again.known.echoes == known.echoes
    assert (again.known.energy, again.known.density) == (known.energy, known.density)
    ours, theirs = (grown(generator, one, plan(), 4 * CHUNK) for one in (state, again))
    assert np.array_equal(ours.codes, theirs.codes)
    assert np.array_equal(ours.known.notes, theirs.known.notes)


def test_guidance_leads_codes_away_from_those_of_who_was_told_nothing(generator):
    known = told()

    def codes(known, **changes):
        return grown(generator, fed(generator, sound(PRIME), known), plan(**changes), 4 * CHUNK)

    plain, led, free = (codes(known, guidance=scale).codes for scale in (1.0, 3.0, 0.0))
    assert not np.array_equal(plain, led)
    assert not np.array_equal(plain, free)
    # Whoever is told nothing has nothing to be led by.
    silent = told(notes=GIVEN[:0], notes_span=None, target=2)
    assert np.array_equal(codes(silent).codes, codes(silent, guidance=3.0).codes)
