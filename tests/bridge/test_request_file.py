from dataclasses import replace

import numpy as np
import pytest

from bridge.errors import StorageError
from bridge.ports import (
    Conditions,
    Labels,
    LevelCodes,
    MidiPart,
    Note,
    Plan,
    PulsePoint,
    Quality,
    Section,
    Stem,
    StemKind,
    Suffix,
    Timing,
)
from bridge.request import Nothing, Prime, RenderRequest, StoredCodes, TakePoint
from bridge.request_file import from_bytes, to_bytes
from bridge.takes import described_conditions, described_source

NOISE = np.random.default_rng(0).standard_normal((2, 77)).astype(np.float32)
SOURCES = {
    "prime": Prime(samples=NOISE, start_sample=-5),
    "nothing": Nothing(num_channels=2, start_sample=9),
    "take": TakePoint(take_id="t", departure_sample=123),
    "codes": StoredCodes(
        levels=(
            LevelCodes(level=2, codes=np.arange(5, dtype=np.int16)),
            LevelCodes(level=1, codes=np.arange(20, dtype=np.int16)),
        ),
        finest_level=0,
        start_sample=3,
    ),
}
ALL = Conditions(
    labels=Labels(artist="Bach", genre=None),
    timing=Timing(total_samples=99, offset_samples=1),
    midi=MidiPart(
        notes=(
            Note(start_sample=0, end_sample=9, pitch=60, velocity=80, program=5),
            Note(start_sample=3, end_sample=4, pitch=35, velocity=1, is_drum=True),
        ),
        start_sample=0,
        end_sample=10,
    ),
    stems=(
        Stem(kind=StemKind.BASS, start_sample=3, samples=NOISE[0]),
        Stem(kind=StemKind.DRUMS, start_sample=4, samples=NOISE[1]),
    ),
    target=StemKind.VOCALS,
    suffix=Suffix(start_sample=17, samples=NOISE[1, :9]),
    pulse=(PulsePoint(sample=-0.5, beat=0, bar=0, samples_per_beat=24_000.25, beats_per_bar=3.5),),
    curves_sample=5,
    energy_per_bar=(0.25, 1.0),
    density_per_bar=(0.5,),
    sections=(Section(name="A", start_sample=0, end_sample=9, similarity=0.1),),
    lyrics="la\n✓",
)


def request(source="prime", conditions=ALL) -> RenderRequest:
    return RenderRequest(
        request_id="r",
        sample_rate=48_000,
        source=SOURCES[source],
        num_samples=7,
        plan=Plan(seed=2**64 - 1, quality=Quality.TEACHER, temperature=0.1, passes=3),
        conditions=conditions,
        anchor_sample=4,
        client_id="c",
        live=True,
        deadline_s=1.5,
        detached=True,
        idempotency_key="k",
        seed_drawn=True,
        write_file=True,
        keep_source=False,
    )


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("conditions", [ALL, Conditions()], ids=["all", "none"])
def test_a_request_comes_back_as_it_was(source, conditions):
    asked = request(source, conditions)
    again = from_bytes(to_bytes(asked))
    bare = {"source": SOURCES["nothing"], "conditions": Conditions()}
    assert replace(again, **bare) == replace(asked, **bare)
    assert described_source(again.source) == described_source(asked.source)
    assert described_conditions(again.conditions) == described_conditions(asked.conditions)
    assert type(again.source) is type(asked.source)
    assert again.conditions.midi == asked.conditions.midi
    assert again.conditions.target is asked.conditions.target
    assert again.conditions.sections == asked.conditions.sections
    assert again.conditions.pulse == asked.conditions.pulse
    assert again.conditions.curves_sample == asked.conditions.curves_sample


def test_audio_comes_back_bit_for_bit():
    again = from_bytes(to_bytes(request()))
    np.testing.assert_array_equal(again.source.samples, NOISE)
    np.testing.assert_array_equal(again.conditions.stems[1].samples, NOISE[1])
    np.testing.assert_array_equal(again.conditions.suffix.samples, NOISE[1, :9])
    assert again.conditions.suffix.start_sample == 17


def test_equal_requests_are_equal_bytes():
    assert to_bytes(request()) == to_bytes(request())


@pytest.mark.parametrize("data", [b"", b"PK", to_bytes(request())[:-40], b"\x93NUMPY"])
def test_what_is_no_request_is_refused(data):
    with pytest.raises(StorageError, match=f"{len(data)} bytes are no stored request"):
        from_bytes(data)
