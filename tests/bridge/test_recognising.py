"""Of a prime that was heard before nothing is heard again, whatever conditions say of later."""

import asyncio

import numpy as np
import pytest
from fakes import CountingGenerator, counting_info

from bridge.engine import Engine, EngineLimits
from bridge.ports import Conditions, Labels, MidiPart, Note, Plan
from bridge.request import Prime, RenderRequest
from bridge.store import TakeStore

RATE = counting_info().sample_rate
BLOCK = counting_info().feed_samples
BLOCKS = 20
PRIME = np.random.default_rng(1).normal(0, 0.1, (1, BLOCKS * BLOCK)).astype(np.float32)


def asked(name, conditions):
    return RenderRequest(
        request_id=name,
        sample_rate=RATE,
        source=Prime(samples=PRIME, start_sample=0),
        num_samples=3 * BLOCK,
        plan=Plan(seed=1),
        conditions=conditions,
    )


def with_note_at(sample):
    note = Note(start_sample=sample, end_sample=sample + 50, pitch=60, velocity=90)
    return Conditions(midi=MidiPart(notes=(note,), start_sample=0, end_sample=(BLOCKS + 3) * BLOCK))


def heard_again(tmp_path, first, second):
    """Return how many blocks a second request fed, and how often and where it was steered."""
    generator = CountingGenerator()

    async def scenario():
        store = TakeStore(tmp_path / "spool")
        engine = Engine(generator, store=store, clock=lambda: 0.0, limits=EngineLimits())
        for name, conditions in (("first", first), ("second", second)):
            before = generator.calls["feed"]
            async for _ in engine.render(asked(name, conditions)):
                pass
        await engine.close()
        return generator.calls["feed"] - before

    fed = asyncio.run(asyncio.wait_for(scenario(), 30))
    return fed, generator.steered


@pytest.mark.parametrize("sample", [BLOCKS * BLOCK + 10, 17 * BLOCK], ids=["later", "on the way"])
def test_a_request_that_differs_later_goes_on_from_there_under_its_own_conditions(tmp_path, sample):
    first, second = with_note_at((BLOCKS + 1) * BLOCK), with_note_at(sample)
    fed, steered = heard_again(tmp_path, first, second)
    # States are kept every eight blocks, and of the whole prime.
    kept = BLOCKS if sample > BLOCKS * BLOCK else 16
    assert fed == BLOCKS - kept
    ((conditions, at),) = steered
    assert conditions.midi == second.midi
    assert at == kept * BLOCK


def test_another_label_is_another_path(tmp_path):
    fed, steered = heard_again(tmp_path, Conditions(), Conditions(labels=Labels(artist="Bach")))
    assert (fed, steered) == (BLOCKS, [])
