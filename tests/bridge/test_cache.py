"""What was computed is found again, under the hash of all that made it, within a budget."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from fakes import counting_info

from bridge.cache import STRIDE, Caches, prime_keys
from bridge.ports import Conditions, Labels, MidiPart, Note, Plan, Stem, StemKind
from bridge.request import Nothing, RenderRequest

BLOCK = counting_info().feed_samples


@dataclass(frozen=True)
class Page:
    """A state of a given size that counts its forks' generation."""

    name: str
    nbytes: int = 100
    forked: int = 0

    def fork(self):
        return replace(self, forked=self.forked + 1)


def audio(blocks, seed=0, rest=0):
    random = np.random.default_rng(seed)
    return random.standard_normal(blocks * BLOCK + rest).astype(np.float32)


def keys_of(sound, conditions=None, anchor=0, **changes):
    return prime_keys(counting_info(**changes), conditions or Conditions(), anchor, sound)


def caches(limit=10_000, found=None):
    return Caches(limit, lambda digest, plan, fingerprint: found)


def request(**changes):
    values = {
        "request_id": "r",
        "sample_rate": 44_100,
        "source": Nothing(),
        "num_samples": 100,
        "plan": Plan(seed=1),
        "conditions": Conditions(),
    }
    return RenderRequest(**{**values, **changes})


def test_a_known_prime_is_found_whole_and_as_a_fork():
    cache, keys = caches(), keys_of(audio(5))
    cache.keep(keys, 5, Page("five"))
    known = cache.longest(keys)
    assert known is not None
    assert (known.fed_blocks, known.state) == (5, Page("five", forked=2))
    assert cache.stats().cache_hits == 1


@pytest.mark.parametrize("blocks", [5, 6, 30])
def test_a_longer_prime_goes_on_where_the_shorter_one_ended(blocks):
    cache, sound = caches(), audio(30)
    cache.keep(keys_of(sound[: 5 * BLOCK + 17]), 5, Page("five"))
    known = cache.longest(keys_of(sound[: blocks * BLOCK]))
    assert known is not None
    assert (known.fed_blocks, known.state.name) == (5, "five")


def test_of_a_prime_that_changes_on_the_way_the_common_beginning_is_found():
    cache, sound = caches(), audio(30)
    keys = keys_of(sound)
    for fed in range(1, 31):
        cache.keep(keys, fed, Page(str(fed)))
    assert cache.stats().cached_states == 30 // STRIDE + 1
    other = sound.copy()
    other[20 * BLOCK + 5] += 1e-6
    known = cache.longest(keys_of(other))
    assert known is not None
    assert known.fed_blocks == 20 // STRIDE * STRIDE


def test_what_is_wanted_least_recently_goes_first_and_the_budget_holds():
    cache = caches(limit=250)
    paths = [keys_of(audio(3, seed)) for seed in range(3)]
    cache.keep(paths[0], 3, Page("a"))
    cache.keep(paths[1], 3, Page("b"))
    assert cache.longest(paths[0]) is not None
    cache.keep(paths[2], 3, Page("c"))
    assert [cache.longest(path) is not None for path in paths] == [True, False, True]
    stats = cache.stats()
    assert (stats.cached_states, stats.cached_bytes, stats.cache_evictions) == (2, 200, 1)
    assert (stats.cache_hits, stats.cache_misses, stats.cache_limit_bytes) == (3, 1, 250)


def test_a_state_larger_than_the_budget_is_not_kept_and_pushes_nothing_out():
    cache, keys = caches(limit=250), keys_of(audio(3))
    cache.keep(keys, 3, Page("a"))
    cache.keep(keys_of(audio(3, 1)), 3, Page("big", nbytes=300))
    assert cache.longest(keys) is not None
    assert cache.stats().cached_bytes == 100


def test_a_state_kept_twice_counts_once():
    cache, keys = caches(), keys_of(audio(2))
    for _ in range(2):
        cache.keep(keys, 2, Page("a"))
    assert cache.stats().cached_bytes == 100


def test_a_budget_of_nothing_switches_both_caches_off():
    cache, keys = caches(limit=0, found=b"codes"), keys_of(audio(2))
    cache.keep(keys, 2, Page("a", nbytes=0))
    assert cache.longest(keys) is None
    assert cache.answer(request(), "d", "f") is None
    assert cache.stats().cache_misses == cache.stats().take_misses == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"anchor": 1},
        {"fingerprint": "counting-2"},
        {"conditions": Conditions(labels=Labels(artist="Bach"))},
        {
            "conditions": Conditions(
                midi=MidiPart(
                    notes=(Note(start_sample=0, end_sample=9, pitch=60, velocity=1),),
                    start_sample=0,
                    end_sample=9,
                )
            )
        },
        {
            "conditions": Conditions(
                stems=(Stem(kind=StemKind.BASS, start_sample=0, samples=np.ones(9, np.float32)),)
            )
        },
        {"sound": audio(4, seed=9)},
    ],
    ids=["anchor", "model", "label", "note", "stem", "sound"],
)
def test_whatever_makes_another_state_makes_other_keys(changes):
    sound = audio(4)
    same = {"sound": sound, **changes}
    assert set(keys_of(sound)).isdisjoint(keys_of(**same))


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_conditions_that_differ_later_share_the_path_up_to_there(blocks):
    def with_note_at(sample):
        note = Note(start_sample=sample, end_sample=sample + 9, pitch=60, velocity=1)
        return Conditions(midi=MidiPart(notes=(note,), start_sample=0, end_sample=9 * BLOCK))

    sound = audio(4)
    first, other = (with_note_at(place) for place in (blocks * BLOCK, 3 * BLOCK + 5))
    keys, others = keys_of(sound, first), keys_of(sound, other)
    assert keys[:blocks] == others[:blocks]
    assert set(keys[blocks:]).isdisjoint(others[blocks:])


def test_equal_stems_make_equal_keys_and_other_samples_other_ones():
    def stemmed(value):
        samples = np.full(9, value, np.float32)
        return Conditions(stems=(Stem(kind=StemKind.BASS, start_sample=0, samples=samples),))

    sound = audio(2)
    assert keys_of(sound, stemmed(0.5)) == keys_of(sound, stemmed(0.5))
    assert keys_of(sound, stemmed(0.5)) != keys_of(sound, stemmed(0.25))


def test_only_whole_blocks_have_keys_and_models_that_do_not_stream_have_none():
    assert len(keys_of(audio(3, rest=BLOCK - 1))) == 3
    assert keys_of(audio(0, rest=5)) == ()
    assert keys_of(audio(3), streams=False) == ()
    assert caches().longest(()) is None


def test_a_take_answers_unless_the_seed_was_drawn_or_nothing_was_kept():
    cache = caches(found=b"codes")
    assert cache.answer(request(), "", "f") is None
    assert cache.answer(request(), "d", "f") == b"codes"
    assert cache.answer(request(seed_drawn=True), "d", "f") is None
    assert caches(found=None).answer(request(), "d", "f") is None
    assert (cache.stats().take_hits, cache.stats().take_misses) == (1, 0)
