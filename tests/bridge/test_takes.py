import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import counting_info

from bridge.ports import Conditions, Labels, MidiPart, Note, Plan, Quality, Stem, StemKind
from bridge.render import ground_of, likeness_of, place
from bridge.request import Prime, RenderRequest
from bridge.takes import Take, from_record, request_digest, summary, take_id, to_record


def request(**changes) -> RenderRequest:
    values = {
        "request_id": "r-1",
        "sample_rate": 48_000,
        "source": Prime(samples=np.linspace(-1, 1, 101, dtype=np.float32)[None]),
        "num_samples": 500,
        "plan": Plan(seed=2**63 + 1, quality=Quality.EXACT),
        "conditions": Conditions(
            labels=Labels(artist="Bach"),
            midi=MidiPart(
                notes=(Note(start_sample=0, end_sample=9, pitch=60, velocity=80),),
                start_sample=0,
                end_sample=10,
            ),
            stems=(Stem(kind=StemKind.BASS, start_sample=3, samples=np.ones(7, np.float32)),),
        ),
    }
    return RenderRequest(**{**values, **changes})


def take(codes: bytes = b"codes", asked: RenderRequest | None = None) -> Take:
    asked = asked or request()
    placement = place(asked, ground_of(asked.source), counting_info())
    likeness = likeness_of(asked.source, asked.sample_rate)
    told = summary(asked, placement, likeness.image.num_channels)
    return Take(
        id=take_id(told, asked.plan, "fingerprint", "ab" * 32),
        request=told,
        plan=asked.plan,
        model="counting",
        fingerprint="fingerprint",
        licence="public domain",
        parent=None,
        sha256="ab" * 32,
        num_samples=500,
        gain_db=-1.5,
        level_db=-1.0,
        image=likeness.image,
        codes=codes,
    )


def test_a_take_comes_back_from_its_record_as_it_was():
    record = json.loads(json.dumps(to_record(take())))
    assert from_record(record, b"codes") == take()


def test_a_record_holds_no_audio_but_its_hash():
    text = json.dumps(to_record(take()))
    assert len(text) < 3000
    assert take().request.source["sha256"] in text
    assert len(take().request.conditions["stems"][0]["sha256"]) == 64


def test_the_same_request_has_the_same_take_whoever_asks():
    assert take().id == take(asked=request(request_id="another", client_id="c")).id


@pytest.mark.parametrize(
    "changes",
    [
        {"num_samples": 501},
        {"plan": Plan(seed=1)},
        {"sample_rate": 44_100},
        {"source": Prime(samples=np.zeros((1, 101), np.float32))},
        {"conditions": Conditions()},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_request_has_another_take(changes):
    assert take().id != take(asked=request(**changes)).id


def test_a_record_with_an_unknown_key_is_refused():
    record = to_record(replace(take(), codes=b""))
    with pytest.raises(TypeError, match="surprise"):
        from_record({**record, "surprise": 1}, b"")


def test_a_request_is_the_same_whoever_asks_and_whatever_seed_was_drawn():
    asked = request()
    same = [
        request(request_id="another", client_id="c", idempotency_key="k", deadline_s=9.0),
        request(detached=True, live=True),
    ]
    assert {request_digest(one) for one in same} == {request_digest(asked)}
    drawn = [request(plan=Plan(seed=seed), seed_drawn=True) for seed in (1, 2)]
    assert request_digest(drawn[0]) == request_digest(drawn[1]) != request_digest(asked)
    asked_for = [request(plan=Plan(seed=seed)) for seed in (1, 2)]
    assert request_digest(asked_for[0]) != request_digest(asked_for[1])
