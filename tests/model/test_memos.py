"""What a model keeps of its networks' answers: the same bytes as asking them again, and counted."""

from dataclasses import replace

import numpy as np
import pytest

from model.values import StemAudio, nothing_known
from tests.model.tiny import CHUNK, decoded, fed, grown, plan, sound, tiny_bundle, tiny_generator

PRIME = 5 * CHUNK + 900
END = 8 * CHUNK
NOTES = np.array([(0, 9000, 60, 100, 5, 0), (9000, 90_000, 67, 90, 40, 0)], np.int64)
KNOWN = {
    "nothing": nothing_known(),
    "label": replace(nothing_known(), artist=1),
    "notes": replace(nothing_known(), notes=NOTES, notes_span=(0, END)),
    "length": replace(nothing_known(), total_samples=END, offset_samples=77),
    "stem": replace(
        nothing_known(),
        target=2,
        stems=(StemAudio(kind=1, start_sample=0, samples=sound(END, seed=4)),),
    ),
}


def told(generator, name):
    """Return all that a request comes to, as bytes."""
    state = grown(generator, fed(generator, sound(PRIME), KNOWN[name]), plan(), END)
    return state.to_bytes(), decoded(generator, state).tobytes()


@pytest.fixture(scope="module")
def warm():
    """Return a model that every request was asked of, in turn."""
    generator = tiny_generator(tiny_bundle())
    for name in KNOWN:
        told(generator, name)
    return generator


@pytest.mark.parametrize("name", KNOWN)
def test_a_kept_answer_has_the_bytes_of_a_cold_one(warm, name):
    assert told(warm, name) == told(tiny_generator(tiny_bundle()), name)


def test_asked_again_nothing_is_computed_that_was_kept():
    generator = tiny_generator(tiny_bundle())
    told(generator, "nothing")
    before = generator.memos()
    told(generator, "nothing")
    after = generator.memos()
    reprise = after.pop("reprise")
    assert reprise.hits == reprise.misses == 0, "so short a sound is not put together again"
    assert after.pop("stems").misses == 0, "and none are told"
    for kind, stats in after.items():
        assert stats.misses == before[kind].misses, kind
        assert stats.hits > before[kind].hits, kind
        assert 0 < stats.held_bytes <= stats.limit_bytes, kind


def test_under_another_label_the_same_sound_is_not_encoded_again():
    generator = tiny_generator(tiny_bundle())
    told(generator, "nothing")
    before = generator.memos()
    told(generator, "label")
    after = generator.memos()
    assert after["codes"].misses == before["codes"].misses
    assert after["spectra"].misses == before["spectra"].misses
    assert after["conditions"].misses > before["conditions"].misses


@pytest.mark.parametrize("chunks", [1, 3, 4])
def test_conditions_that_differ_later_alone_leave_the_same_state(warm, chunks):
    """What a cache of states goes by: up to a sample the same is said, so the same was made."""
    change = chunks * CHUNK
    later = np.array([(change + 10, change + 9000, 72, 90, 0, 0)], np.int64)
    held = NOTES.copy()
    held[1, 1] = change + 77
    first = replace(KNOWN["notes"], notes=held)
    second = replace(KNOWN["notes"], notes=np.concatenate([NOTES, later]), notes_span=(0, END - 5))
    state = warm.feed(warm.open(first, 0), sound(PRIME)[:change])
    steered = warm.feed(replace(state, known=second), sound(PRIME)[change:])
    throughout = fed(tiny_generator(tiny_bundle()), sound(PRIME), second)
    assert steered.to_bytes() == throughout.to_bytes()


def test_without_a_length_all_chunks_of_one_label_share_their_conditions():
    generator = tiny_generator(tiny_bundle())
    fed(generator, sound(PRIME), replace(nothing_known(), target=2))
    assert generator.memos()["conditions"].misses == 1
    fed(generator, sound(PRIME), replace(KNOWN["length"], target=2))
    assert generator.memos()["conditions"].misses == 1 + PRIME // CHUNK
