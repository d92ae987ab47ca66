"""Plans by level, blends and words: the same on the wire, on disk and in a take; bounded."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from bridge import request_file
from bridge.admission import needs
from bridge.errors import InvalidRequestError
from bridge.limits import check_conditions, check_plan
from bridge.messages import event_of, messages_of_event
from bridge.ports import Conditions, Labels, LevelCodes, LevelPlan, Plan, TimedWord, Voice
from bridge.request import Done, Nothing, RenderRequest, StoredCodes
from bridge.request_messages import (
    conditions_of,
    message_of_conditions,
    message_of_plan,
    plan_of,
)
from bridge.takes import plan_from, words_from

PLAN = Plan(
    seed=3,
    finest_level=1,
    levels=(LevelPlan(level=2, temperature=0.98, top_k=5), LevelPlan(level=0, hop_fraction=0.125)),
)
CONDITIONS = Conditions(
    blend=(Voice(artist="a", genre="g", weight=0.7), Voice(artist="b", weight=-0.2))
)
WORD = TimedWord(text="oh", line=2, start_sample=5, end_sample=9, character_samples=(5, 7))


def asked(**changes):
    facts = {
        "request_id": "r",
        "sample_rate": 48_000,
        "source": Nothing(),
        "num_samples": 9,
        "plan": PLAN,
        "conditions": CONDITIONS,
    }
    return RenderRequest(**facts | changes)


def test_plans_and_blends_come_back_from_the_wire_and_the_disk():
    assert plan_of(message_of_plan(PLAN, seed=3), 0) == PLAN
    assert conditions_of(message_of_conditions(CONDITIONS)) == CONDITIONS
    assert request_file.from_bytes(request_file.to_bytes(asked())) == asked()
    assert plan_from(asdict(PLAN)) == PLAN
    old = {name: value for name, value in asdict(PLAN).items() if "level" not in name}
    assert plan_from(old) == replace(PLAN, finest_level=0, levels=())


def test_words_come_back_from_the_wire_and_a_record():
    done = Done(
        take_id="t",
        path=None,
        sha256="s",
        num_samples=9,
        rtf=1.0,
        first_audio_ms=1.0,
        gain_db=0.0,
        licence="l",
        words=(WORD,),
        lead_in=np.zeros((1, 0), np.float32),
    )
    (message,) = messages_of_event(done)
    assert event_of(message, 1) == done
    assert words_from([asdict(WORD)]) == (WORD,)


def test_a_model_must_say_that_it_can_use_them():
    assert {"finest_level", "levels", "blend"} <= set(needs(asked()))
    plain = asked(plan=Plan(seed=1), conditions=Conditions())
    assert not {"finest_level", "levels", "blend"} & set(needs(plain))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"finest_level": 3}, "finest_level is 3, allowed are 0 to 2"),
        ({"levels": (LevelPlan(level=3),)}, "level is 3, allowed are 0 to 2"),
        ({"levels": (LevelPlan(level=1), LevelPlan(level=1))}, "level 1 is there twice"),
        ({"levels": (LevelPlan(level=1, temperature=0.0),)}, "temperature of level 1 is 0"),
        ({"levels": (LevelPlan(level=0, hop_fraction=2.0),)}, "hop_fraction of level 0 is 2"),
    ],
)
def test_plans_by_level_are_bounded(changes, words):
    with pytest.raises(InvalidRequestError, match=words):
        check_plan(replace(PLAN, **changes))


def test_blends_are_bounded_and_stand_alone():
    many = tuple(Voice(artist=str(index)) for index in range(17))
    with pytest.raises(InvalidRequestError, match="the limit is 16"):
        check_conditions(Conditions(blend=many))
    with pytest.raises(InvalidRequestError, match="choose one of the two"):
        check_conditions(replace(CONDITIONS, labels=Labels(artist="a")))
    with pytest.raises(InvalidRequestError, match="weight of 'a' is nan"):
        check_conditions(Conditions(blend=(Voice(artist="a", weight=float("nan")),)))


def test_codes_name_the_level_they_go_down_to_once():
    codes = StoredCodes(levels=(LevelCodes(level=2, codes=np.zeros(4, np.int16)),), finest_level=2)
    with pytest.raises(InvalidRequestError, match="the plan goes down to level 1"):
        asked(source=codes)
