"""What need not be computed again: primes that were heard, and takes that were made.

A state of the model is kept under the hash of all that made it: the model, the labels,
the anchor, every canonical block fed so far, and what conditions said of each. Hashes
are chained, so primes that begin alike share a path, as in a radix tree whose edges are
blocks, and the longest known beginning is found by walking the path from its end. What
conditions say of later blocks is in no hash: they steer the state that is found. At the budget
the state goes that was wanted least recently. A state is a value: who takes one out
gets the bytes that hearing the prime again would give.

A take answers a request that asks the same with the same seed. Knows neither
threads' order nor disk: takes are asked of whoever keeps them.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias

from bridge.in_force import EVER, in_force
from bridge.model_info import ModelInfo
from bridge.ports import Conditions, Mono, Plan, S
from bridge.request import RenderRequest
from bridge.stereo import StereoImage
from bridge.takes import described_conditions

STRIDE: Final = 8
"""A prime's state is kept whenever so many blocks more were heard, and after the last one."""

Keys: TypeAlias = tuple[bytes, ...]
"""One hash for each whole block of a prime: of that block and all before it."""
Find: TypeAlias = Callable[[str, Plan, str], bytes | None]
"""Gives the codes of a take by its request's digest, its plan and its model's fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What the caches hold, and how often they helped, since the start."""

    cached_states: int = 0
    cached_bytes: int = 0
    cache_limit_bytes: int = 0
    cache_hits: int = 0
    """Primes of which a beginning was known."""
    cache_misses: int = 0
    cache_evictions: int = 0
    take_hits: int = 0
    """Requests that a take answered."""
    take_misses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefilled(Generic[S]):
    """A state that has heard a request's prime from its anchor on, so many canonical blocks."""

    state: S
    fed_blocks: int
    fidelity: float | None = None
    """How well the codec reproduces the prime, if that was measured already."""
    image: StereoImage | None = None
    """How the prime lies in the stereo field, if that was measured already."""
    rest: Mono | None = None
    """What the state has not heard yet, at the model's rate; None: it is cut from the prime."""


class Caches(Generic[S]):
    """The caches of one engine; any thread may ask."""

    def __init__(self, limit_bytes: int, find: Find) -> None:
        """Begin with nothing.

        Args:
            limit_bytes: Of states held in memory; 0 switches both caches off.
            find: Asks for the take that answers a request.
        """
        self._limit_bytes = limit_bytes
        self._find = find
        self._lock = threading.Lock()
        self._states: OrderedDict[bytes, tuple[S, int]] = OrderedDict()
        self._used_bytes = 0
        self._hits = self._misses = self._evictions = 0
        self._take_hits = self._take_misses = 0

    def longest(self, keys: Keys) -> Prefilled[S] | None:
        """Return the state that has heard most of a prime; None if no beginning is known."""
        if not keys or not self._limit_bytes:
            return None
        with self._lock:
            for fed_blocks in range(len(keys), 0, -1):
                held = self._states.get(keys[fed_blocks - 1])
                if held is not None:
                    self._states.move_to_end(keys[fed_blocks - 1])
                    self._hits += 1
                    return Prefilled(state=held[0].fork(), fed_blocks=fed_blocks)
            self._misses += 1
        return None

    def keep(self, keys: Keys, fed_blocks: int, state: S) -> None:
        """Keep a state that has heard so many blocks of a prime, if it is one worth keeping.

        The state is forked; the caller goes on with its own.
        """
        if not 0 < fed_blocks <= len(keys) or (fed_blocks % STRIDE and fed_blocks < len(keys)):
            return
        key, num_bytes = keys[fed_blocks - 1], state.nbytes
        if num_bytes > self._limit_bytes:
            return
        with self._lock:
            if key in self._states:
                self._states.move_to_end(key)
                return
            self._states[key] = state.fork(), num_bytes
            self._used_bytes += num_bytes
            while self._used_bytes > self._limit_bytes:
                _, (_, freed) = self._states.popitem(last=False)
                self._used_bytes -= freed
                self._evictions += 1

    def answer(self, request: RenderRequest, digest: str, fingerprint: str) -> bytes | None:
        """Return the codes of the take that a request made before; it blocks, for it reads a disk.

        A request whose seed was drawn asks for something new each time, and so does one
        without a digest.
        """
        if request.seed_drawn or not digest or not self._limit_bytes:
            return None
        codes = self._find(digest, request.plan, fingerprint)
        with self._lock:
            self._take_hits += codes is not None
            self._take_misses += codes is None
        return codes

    def stats(self) -> CacheStats:
        """Return what is held, and the counts since the start."""
        with self._lock:
            return CacheStats(
                cached_states=len(self._states),
                cached_bytes=self._used_bytes,
                cache_limit_bytes=self._limit_bytes,
                cache_hits=self._hits,
                cache_misses=self._misses,
                cache_evictions=self._evictions,
                take_hits=self._take_hits,
                take_misses=self._take_misses,
            )


def prime_keys(info: ModelInfo, conditions: Conditions, anchor_sample: int, audio: Mono) -> Keys:
    """Return the hashes of a prime's whole canonical blocks, and of what is in force in each.

    What conditions say of later blocks is in none: a request that differs there alone finds the
    state, which is then to be steered by its own conditions (`Generator.steer`).
    A model that does not stream sizes its work by the result's end and has no keys.

    Args:
        info: Of the model.
        conditions: On the model's timeline.
        anchor_sample: Session sample of model sample 0.
        audio: What the model hears, from the anchor on.
    """
    if not info.streams:
        return ()
    always = Conditions(
        labels=conditions.labels,
        timing=conditions.timing,
        target=conditions.target,
        lyrics=conditions.lyrics,
        blend=conditions.blend,
    )
    facts = [info.fingerprint, anchor_sample, described_conditions(always)]
    link = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()
    keys: list[bytes] = []
    for end in range(info.feed_samples, audio.shape[0] + 1, info.feed_samples):
        block = audio[end - info.feed_samples : end]
        told = in_force(conditions, (end - info.feed_samples if keys else EVER, end))
        link = hashlib.sha256(link + told + block.tobytes()).digest()
        keys.append(link)
    return tuple(keys)
