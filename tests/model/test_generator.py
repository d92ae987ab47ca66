"""The door: the same bytes whatever the way, every condition used, every refusal told."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.bands import balance
from model.errors import ConditionError
from model.finishing import Likeness, _drums_alone
from model.noise import uniform
from model.values import StemAudio, nothing_known
from tests.model.tiny import (
    CHUNK,
    decoded,
    fed,
    grown,
    plan,
    sound,
    stepped,
    tiny_bundle,
    tiny_generator,
    told,
)

PRIME = CHUNK + 3000
END = 3 * CHUNK
LOOKAHEAD = 144
FRAME = 128
NOTES = np.array([(0, 9000, 60, 100, 5, 0), (9000, 40_000, 67, 90, 40, 0)], np.int64)


def sha_of(generator, state):
    return hashlib.sha256(decoded(generator, state).tobytes()).hexdigest()


def made(generator, state=None, **changes):
    """Return the hash of what a prime comes to."""
    state = fed(generator, sound(PRIME)) if state is None else state
    return sha_of(generator, grown(generator, state, plan(**changes), END))


@pytest.fixture(scope="module")
def reference(generator):
    return made(generator)


# How audio arrives.


@pytest.mark.parametrize(
    "pieces", [[CHUNK], [441], [1, 2 * CHUNK + 5, 0, 777], [CHUNK + 143, 1]], ids=str
)
@pytest.mark.parametrize("chunks", [1, 7], ids=["short", "beyond_the_context"])
def test_feeding_in_pieces_is_feeding_whole_bit_for_bit(either, pieces, chunks):
    audio = sound(chunks * CHUNK + 2017)
    if pieces == [441] and chunks == 7:
        pieces = [4410]
    whole = fed(either, audio)
    assert fed(either, audio, pieces=pieces).to_bytes() == whole.to_bytes()
    assert whole.settled_sample == chunks * CHUNK


def test_of_a_long_prime_only_what_may_be_looked_at_again_is_kept(generator):
    states = [fed(generator, sound(count * CHUNK + 200)) for count in (3, 9, 20)]
    kept = generator.context_samples + 36 * FRAME
    assert len(states[0].audio) == 3 * CHUNK + 200
    assert [len(state.audio) for state in states[1:]] == [kept + 200] * 2
    assert [state.heard_sample for state in states] == [count * CHUNK + 200 for count in (3, 9, 20)]


@pytest.mark.parametrize(
    "samples",
    [0, 1, 127, 271, 272, 5001, CHUNK - 1, CHUNK, CHUNK + 143, CHUNK + 144, 2 * CHUNK + 99],
)
def test_any_prime_goes_on_from_the_last_whole_frame_heard(generator, samples):
    state = generator.step([fed(generator, sound(samples))], plan())[0].state
    frames = max(0, (samples - LOOKAHEAD) // FRAME)
    assert state.drawn_from == frames
    end = (frames // 64 + 2) * CHUNK
    later = grown(generator, state, plan(), end)
    assert later.settled_sample == end
    audio = decoded(generator, later)
    assert len(audio) == later.decodable_sample // generator.block_samples * CHUNK
    assert np.isfinite(audio).all()
    assert float(audio.std()) > 1e-4


def test_what_was_heard_stays_as_it_was_heard(generator):
    audio = sound(3 * CHUNK + 144)
    longer = fed(generator, audio)
    state = grown(generator, fed(generator, audio[:PRIME]), plan(), 2 * CHUNK)
    frames = (PRIME - LOOKAHEAD) // FRAME
    assert np.array_equal(state.codes[:frames], longer.codes[:frames])
    assert not np.array_equal(state.codes[frames : 2 * 64], longer.codes[frames : 2 * 64])


def test_another_prime_goes_on_otherwise(generator, reference):
    assert made(generator, fed(generator, sound(PRIME, seed=1))) != reference


# The same bytes.


def test_the_same_request_gives_the_same_bytes_in_a_model_loaded_again(either):
    again = tiny_generator(tiny_bundle(dtype=either.bundle.codec.level(0).dtype))
    assert made(again) == made(either)


@pytest.mark.parametrize("cut", [0, 1, 2, 4])
def test_a_timeline_resumed_from_bytes_ends_the_same(generator, reference, cut):
    state = stepped(generator, fed(generator, sound(PRIME)), plan(), cut)
    again = generator.restore(state.to_bytes())
    assert made(generator, again) == reference


def test_a_timeline_resumed_while_listening_ends_the_same(generator, reference):
    audio = sound(PRIME)
    again = generator.restore(fed(generator, audio[: CHUNK + 500]).to_bytes())
    assert made(generator, generator.feed(again, audio[CHUNK + 500 :])) == reference


@pytest.mark.parametrize("cut", [0, 2, 5])
def test_forks_and_neighbours_change_nothing(generator, reference, cut):
    ours = stepped(generator, fed(generator, sound(PRIME)), plan(), cut)
    before = ours.to_bytes()
    fork, theirs = ours.fork(), fed(generator, sound(2 * CHUNK, seed=8))
    other = plan(seed=99, top_k=3)
    while ours.settled_sample < END:
        theirs = generator.step([theirs], other)[0].state
        ours, fork = (step.state for step in generator.step([ours, fork], plan()))
        theirs = generator.step([theirs], other)[0].state
        if theirs.decodable_sample >= CHUNK:
            generator.decode(theirs, 0)
    assert sha_of(generator, ours) == sha_of(generator, fork) == reference
    assert generator.restore(before).to_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"seed": 0},
        {"seed": 2**64 - 1},
        {"variation": 1},
        {"temperature": 0.3},
        {"top_k": 2},
        {"top_p": 0.4},
    ],
    ids=str,
)
def test_another_plan_gives_other_bytes(generator, reference, change):
    assert made(generator, **change) != reference


@pytest.mark.parametrize("passes", [1, 2, 3, 4])
def test_a_step_makes_a_chunk_in_any_number_of_passes(generator, passes):
    state = fed(generator, sound(PRIME), told())
    for chunk in (2, 3, 4):
        state = stepped(generator, state, plan(passes=passes), 1)
        assert state.settled_sample == chunk * CHUNK
    hashes = {made(generator, passes=count) for count in (passes, 3)}
    assert len(hashes) == (1 if passes == 3 else 2)


def test_what_is_remembered_is_what_was_settled(generator):
    state = grown(generator, fed(generator, sound(PRIME), told()), plan(), END)
    student, memory = generator.bundle.student, generator.bundle.student.transformer.start(1)
    with torch.no_grad():
        for chunk, codes in enumerate(state.codes.reshape(-1, 64).astype(np.int64)):
            inputs = generator._inputs.of_chunk(state.known, chunk)
            row = torch.as_tensor(codes)[None]
            memory = student.remember(row, student.conditions(inputs), student.upon(memory))
    for ours, theirs in zip(state.memory, memory, strict=True):
        assert torch.equal(ours.rows, theirs.rows)
        assert ours.current.shape[1] == theirs.current.shape[1] == 0


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_draws_belong_to_the_absolute_frame_and_to_the_pass_that_decides_it(generator, passes):
    """So hot that every code is as likely: a code is its draw."""
    hot = plan(passes=passes, temperature=1e9, variation=5)
    state = grown(generator, fed(generator, sound(PRIME), told()), hot, END)
    config, codes = generator.bundle.config.student, state.codes
    first = (PRIME - LOOKAHEAD) // FRAME
    place = np.arange(len(codes)) % config.group_frames
    for turn in range(passes):
        draws = uniform(hot.seed, level=2, turn=turn, variation=5, first_frame=0, frames=len(codes))
        mine = np.isin(place, config.decided(turn, passes))
        mine[:first] = False
        assert np.array_equal(codes[mine], np.floor(draws[mine] * 32))


def test_the_default_is_the_student_s_own_number_of_passes(generator, reference):
    assert made(generator, passes=generator.bundle.config.student.passes) == reference


def test_more_passes_than_frames_to_decide_are_refused(generator):
    with pytest.raises(ConditionError, match="5 passes were asked for, this model has 1 to 4"):
        generator.step([generator.open(nothing_known(), 0)], plan(passes=5))
    with pytest.raises(ConditionError, match="1 to 4"):
        generator.steps_per_second(plan(passes=64))


# Conditions.


def known_of(**changes):
    return replace(nothing_known(), **changes)


CONDITIONS = {
    "nothing": {},
    "artist": {"artist": 1},
    "genre": {"genre": 1},
    "target": {"target": 2},
    "timing": {"total_samples": 10**6},
    "offset": {"total_samples": 10**6, "offset_samples": 900_000},
    "silence": {"notes_span": (0, 10**6)},
    "notes": {"notes": NOTES, "notes_span": (0, 10**6)},
    "transposed": {"notes": np.add(NOTES, (0, 0, 1, 0, 0, 0)), "notes_span": (0, 10**6)},
    "softer": {"notes": np.subtract(NOTES, (0, 0, 0, 60, 0, 0)), "notes_span": (0, 10**6)},
    "stem": {"stems": (StemAudio(kind=1, start_sample=0, samples=sound(10**5, seed=5)),)},
    "other stem": {"stems": (StemAudio(kind=1, start_sample=0, samples=sound(10**5, seed=6)),)},
    "other kind": {"stems": (StemAudio(kind=2, start_sample=0, samples=sound(10**5, seed=5)),)},
}


def test_every_condition_steers_what_is_made(generator):
    codes = {}
    for name, changes in CONDITIONS.items():
        state = fed(generator, sound(PRIME), known_of(**changes))
        codes[name] = grown(generator, state, plan(), 3 * CHUNK).codes.tobytes()
    assert len(set(codes.values())) == len(CONDITIONS)


def test_notes_are_played_by_the_finisher_too(generator):
    state = grown(generator, fed(generator, sound(PRIME)), plan(), 3 * CHUNK)
    played = [
        sha_of(generator, replace(state, known=known_of(**CONDITIONS[name])))
        for name in ("nothing", "silence", "notes", "transposed", "softer")
    ]
    assert len(set(played)) == 5


def test_notes_outside_their_span_are_as_unknown(generator):
    bass = known_of(target=2)
    late = replace(bass, notes=NOTES, notes_span=(10**7, 10**8))
    hashes = {made(generator, fed(generator, sound(PRIME), known)) for known in (bass, late)}
    assert len(hashes) == 1


# Decoding.


def decoded_at_once(generator, states):
    """Return each block as decoded by the first state that could."""
    blocks = {}
    for state in states:
        for block in range(state.decodable_sample // generator.block_samples):
            blocks.setdefault(block, generator.decode(state, block))
    return blocks


@pytest.mark.parametrize("known", ["nothing", "notes", "notes of the start"])
def test_a_block_is_the_same_decoded_early_or_late_in_any_order(either, known):
    given = CONDITIONS.get(known, {"notes": NOTES, "notes_span": (0, CHUNK + 1000)})
    states, audio = [either.open(known_of(**given), 0)], sound(3 * CHUNK + 99)
    for at in range(0, len(audio), CHUNK):
        states.append(either.feed(states[-1], audio[at : at + CHUNK]))
    while states[-1].settled_sample < 9 * CHUNK + 1:
        states.append(either.step([states[-1]], plan())[0].state)
    early = decoded_at_once(either, states)
    assert sum(state.decodable_sample > 0 for state in states) > 8
    for block in sorted(early, reverse=True):
        assert np.array_equal(either.decode(states[-1], block), early[block])
    assert len(early) == states[-1].decodable_sample // either.block_samples >= 9
    grew = [state.decodable_sample for state in states]
    assert grew == sorted(grew)


def test_blocks_join_without_a_seam(generator):
    state = grown(generator, fed(generator, sound(PRIME)), plan(), END)
    audio = decoded(generator, state)
    render = generator._finishing.render
    frames = len(audio) // FRAME
    like = Likeness(recalled=state.spectra, balance=balance(state.weighed, 257))
    # A prime's block recalls what lies before it, the rest the whole prime.
    first = -(-PRIME // CHUNK) * CHUNK // FRAME
    span = (first, frames)
    whole = render(state.codes, state.known, span, state.drawn_from, like)
    np.testing.assert_allclose(audio[first * FRAME :], whole, atol=1e-4)


@pytest.mark.parametrize("block", [-1, 2, 10**6])
def test_a_block_that_is_not_there_yet_is_refused_with_its_end(generator, block):
    state = grown(generator, fed(generator, sound(PRIME)), plan(), 2 * CHUNK)
    assert state.decodable_sample == 2 * CHUNK - 5 * FRAME
    message = f"block {block} ends at sample {(block + 1) * CHUNK}, decodable are 15744"
    with pytest.raises(ValueError, match=message):
        generator.decode(state, block)


def test_while_listening_all_but_the_last_chunks_may_be_decoded(generator):
    state = fed(generator, sound(4 * CHUNK + 200))
    assert state.decodable_sample == 3 * CHUNK - 5 * FRAME
    assert generator.open(nothing_known(), 0).decodable_sample == 0
    with pytest.raises(ValueError, match="decodable are"):
        generator.decode(state, 3)


def test_what_generates_hears_no_more(generator):
    state = stepped(generator, fed(generator, sound(PRIME)), plan(), 1)
    with pytest.raises(ValueError, match="generates already"):
        generator.feed(state, sound(1))


# Steps.


def test_a_step_settles_a_chunk_at_most_and_the_count_is_as_told(generator):
    state = grown(generator, fed(generator, sound(PRIME), told()), plan(), 2 * CHUNK)
    steps, start = 30, state.settled_sample
    for _ in range(steps):
        step = generator.step([state], plan())[0]
        assert step.phase == "top"
        assert 0 <= step.state.settled_sample - state.settled_sample <= CHUNK
        state = step.state
    seconds = (state.settled_sample - start) / 44_100
    assert steps / seconds == pytest.approx(generator.steps_per_second(plan()), rel=0.02)


def test_fidelity_is_a_share_and_needs_a_frame(generator):
    assert generator.fidelity(sound(100)) == 0.0
    for samples in (128, CHUNK, 2 * CHUNK + 77):
        assert 0 <= generator.fidelity(sound(samples)) <= 1
    assert generator.fidelity(sound(CHUNK)) == generator.fidelity(sound(CHUNK))


def test_warming_up_leaves_no_trace(reference):
    generator = tiny_generator(tiny_bundle())
    generator.warm_up()
    assert made(generator) == reference


@pytest.mark.parametrize(
    ("rows", "alone"),
    [
        ([], False),
        ([(0, 128)], True),
        ([(0, 128), (500, 60)], False),
        ([(0, 128), (9000, 60)], True),
        ([(9000, 128)], False),
    ],
    ids=["nothing", "drums", "drums and a tune", "a tune later", "drums later"],
)
def test_drums_are_alone_where_nothing_else_was_played_lately(rows, alone):
    notes = np.array([(at, at + 400, 38, 90, program, 0) for at, program in rows], np.int64)
    known = told(notes=notes.reshape(-1, 6))
    assert _drums_alone(known, 8000) is alone
