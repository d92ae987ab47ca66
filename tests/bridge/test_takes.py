import json
import os
from dataclasses import fields, replace

import numpy as np
import pytest
from fakes import counting_info

from bridge.errors import NotFoundError
from bridge.ports import Conditions, Labels, MidiPart, Note, Plan, Quality, Stem, StemKind
from bridge.render import ground_of, place
from bridge.request import Prime, RenderRequest
from bridge.store import ABANDONED_SECONDS, TakeStore
from bridge.takes import Take, from_record, summary, take_id, to_record


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
    ground = ground_of(asked)
    told = summary(asked, ground, place(asked, ground, counting_info()))
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
        image=ground.image,
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


def test_a_saved_take_is_there_after_a_restart(tmp_path):
    TakeStore(tmp_path).save(take(codes=bytes(range(256))))
    reopened = TakeStore(tmp_path)
    assert reopened.ids() == (take().id,)
    loaded = reopened.load(take().id)
    assert {field.name: getattr(loaded, field.name) for field in fields(Take)} == {
        field.name: getattr(take(codes=bytes(range(256))), field.name) for field in fields(Take)
    }


def test_saving_an_equal_take_again_changes_nothing(tmp_path):
    store = TakeStore(tmp_path)
    store.save(take())
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "takes").rglob("*"))
    store.save(take())
    assert len(store) == 1
    assert sorted(p.stat().st_mtime_ns for p in (tmp_path / "takes").rglob("*")) == before


def test_a_take_that_another_writer_finished_first_is_kept(tmp_path, monkeypatch):
    first, second = TakeStore(tmp_path), TakeStore(tmp_path)
    first.save(take())
    # The second writer looked before the first one renamed its folder.
    monkeypatch.setattr("pathlib.Path.exists", lambda path: False)
    second.save(take())
    monkeypatch.undo()
    assert [folder.name for folder in (tmp_path / "takes").iterdir()] == [take().id]
    assert second.load(take().id) == take()


def test_what_a_killed_writer_left_is_no_take_and_goes_away_in_time(tmp_path):
    store = TakeStore(tmp_path)
    store.save(take())
    half = tmp_path / "takes" / ".unfinished-0123"
    half.mkdir()
    (half / "take.json").write_text("{")
    assert TakeStore(tmp_path).ids() == (take().id,)
    assert half.exists()
    old = half.stat().st_mtime - 2 * ABANDONED_SECONDS
    os.utime(half, (old, old))
    assert TakeStore(tmp_path).ids() == (take().id,)
    assert not half.exists()


def test_an_unknown_take_is_named_in_the_error(tmp_path):
    with pytest.raises(NotFoundError, match="'nowhere'; 0 takes"):
        TakeStore(tmp_path).load("nowhere")


def test_a_record_with_an_unknown_key_is_refused():
    record = to_record(replace(take(), codes=b""))
    with pytest.raises(TypeError, match="surprise"):
        from_record({**record, "surprise": 1}, b"")
