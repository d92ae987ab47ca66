"""What goes onto the wire comes back as it was, and means the same on every wire."""

from pathlib import Path

import numpy as np
import pytest
from fakes import counting_info
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import InvalidRequestError
from bridge.limits import MAX_BARS_OF_CURVES, MAX_SECTIONS, MAX_TEXT_CHARACTERS, check_conditions
from bridge.messages import (
    KINDS,
    MAX_OUTGOING_BYTES,
    QUALITIES,
    blocks_of,
    bytes_of,
    event_of,
    message_of_model,
    messages_of_event,
    samples_of,
)
from bridge.ports import (
    Conditions,
    Labels,
    MidiPart,
    Note,
    Plan,
    Quality,
    Section,
    StemKind,
    Timing,
)
from bridge.request import MAX_NOTES, Accepted, AudioBlock, Done, Progress
from bridge.request_messages import (
    conditions_of,
    message_of_conditions,
    message_of_plan,
    num_samples_of,
    plan_of,
    tempo_map_of,
)
from protos import bridge_pb2

NOTE = Note(start_sample=-5, end_sample=70, pitch=0, velocity=127, program=127, is_drum=True)


def test_every_kind_and_quality_has_a_number_of_its_own():
    assert {kind for _, kind in KINDS} == set(StemKind)
    assert {quality for _, quality in QUALITIES} == set(Quality)
    assert len({number for number, _ in KINDS}) == len(StemKind)
    assert bridge_pb2.STEM_KIND_UNSPECIFIED not in dict(KINDS)


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(),
        Conditions(
            labels=Labels(artist="Bach", genre="Chorale"),
            timing=Timing(total_samples=2**40, offset_samples=3),
            midi=MidiPart(notes=(NOTE,), start_sample=-10, end_sample=2**41),
            target=StemKind.VOCALS,
            energy_per_bar=(0.1, 0.9),
            density_per_bar=(1.0,),
            sections=(Section(name="A", start_sample=0, end_sample=9, similarity=0.3),),
            lyrics="la la",
        ),
        Conditions(midi=MidiPart(notes=(), start_sample=0, end_sample=1)),
    ],
)
def test_conditions_come_back_as_they_were(conditions):
    sent = message_of_conditions(conditions).SerializeToString()
    assert conditions_of(bridge_pb2.Conditions.FromString(sent)) == conditions


@given(
    seed=st.integers(0, 2**64 - 1),
    temperature=st.decimals("0.01", "10", places=3).map(float),
    top_p=st.decimals("0.001", "1", places=3).map(float),
    quality=st.sampled_from(Quality),
)
@settings(max_examples=50, deadline=None)
def test_a_plan_comes_back_as_the_decimals_that_were_meant(seed, temperature, top_p, quality):
    plan = Plan(seed=seed, quality=quality, temperature=temperature, top_p=top_p, passes=3)
    sent = message_of_plan(plan, seed=plan.seed).SerializeToString()
    assert plan_of(bridge_pb2.Plan.FromString(sent), drawn_seed=1) == plan


def test_the_changes_of_a_plan_come_back_and_are_held_to_their_form():
    plan = Plan(seed=1, passes=3).changed(8192, 1).changed(16384, 2)
    sent = message_of_plan(plan, seed=1)
    assert plan_of(bridge_pb2.Plan.FromString(sent.SerializeToString()), drawn_seed=9) == plan
    sent.changes[1].from_sample = sent.changes[0].from_sample
    with pytest.raises(InvalidRequestError, match="allowed are 8193 to"):
        plan_of(sent, drawn_seed=9)


def test_an_empty_plan_means_the_defaults_and_the_drawn_seed():
    assert plan_of(bridge_pb2.Plan(), drawn_seed=99) == Plan(seed=99)
    assert plan_of(bridge_pb2.Plan(seed=0), drawn_seed=99) == Plan(seed=0)


@pytest.mark.parametrize(
    "event",
    [
        Accepted(
            request_id="a",
            seed=2**64 - 1,
            anchor_sample=-3,
            splice_sample=2**40,
            expected_samples=7,
            codec_fidelity=0.25,
            advice="hm",
            model="small",
            fingerprint="f",
        ),
        Progress(phase="top", step=3, total_steps=9, eta_seconds=1.25),
        Done(
            take_id="t",
            path=Path("result.wav"),
            sha256="00",
            num_samples=7,
            rtf=1.5,
            first_audio_ms=20.5,
            gain_db=-3.25,
            licence="l",
            late_blocks=3,
        ),
    ],
)
def test_an_event_comes_back_as_it_was(event):
    (message,) = messages_of_event(event)
    sent = bridge_pb2.RenderEvent.FromString(message.SerializeToString())
    assert event_of(sent, num_channels=2) == event


def test_the_crossfade_and_late_blocks_come_back_too():
    lead_in = np.arange(6, dtype=np.float32).reshape(2, 3)
    done = Done(
        take_id="",
        path=None,
        sha256="",
        num_samples=0,
        rtf=0.0,
        first_audio_ms=0.0,
        gain_db=0.0,
        licence="",
        lead_in=lead_in,
    )
    (message,) = messages_of_event(done)
    back = event_of(message, num_channels=2)
    np.testing.assert_array_equal(back.lead_in, lead_in)
    assert back.path is None
    (late,) = messages_of_event(AudioBlock(start_sample=4, samples=lead_in, underrun=True))
    back = event_of(late, num_channels=2)
    assert (back.start_sample, back.underrun) == (4, True)
    np.testing.assert_array_equal(back.samples, lead_in)


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("num_samples", [1, 4_095, 32_768, 100_001])
def test_blocks_follow_each_other_and_are_not_too_large(num_channels, num_samples):
    samples = np.random.default_rng(0).standard_normal((num_channels, num_samples))
    samples = samples.astype(np.float32)
    blocks = list(blocks_of(samples, 77, bridge_pb2.ROLE_STEM, StemKind.BASS))
    due = 77
    for block in blocks:
        assert block.start_sample == due
        assert (block.role, block.stem) == (bridge_pb2.ROLE_STEM, bridge_pb2.STEM_KIND_BASS)
        assert len(block.samples) <= MAX_OUTGOING_BYTES
        due += len(block.samples) // (4 * num_channels)
    whole = samples_of(b"".join(block.samples for block in blocks), num_channels)
    np.testing.assert_array_equal(whole, samples)


def test_audio_is_interleaved_little_endian_float32():
    samples = np.array([[1.0, 2.0], [-1.0, 0.5]], np.float32)
    expected = np.array([1.0, -1.0, 2.0, 0.5], "<f4").tobytes()
    assert bytes_of(samples) == expected
    with pytest.raises(InvalidRequestError, match=r"12 bytes, not a multiple of 8 bytes"):
        samples_of(expected[:12], 2)


def change(sample, bpm, numerator=0, denominator=0):
    return bridge_pb2.TempoChange(
        sample=sample, tempo_bpm=bpm, meter_numerator=numerator, meter_denominator=denominator
    )


def test_a_length_is_samples_or_bars_from_the_splice():
    assert num_samples_of(bridge_pb2.Target(num_samples=5), 48_000, 0) == 5
    bars = bridge_pb2.Target(bars=2, tempo_map=[change(0, 120, 3, 4)])
    assert num_samples_of(bars, 48_000, 72_000) == 2 * 72_000


def test_meters_change_at_the_bar_line_whose_rounded_sample_is_given():
    rate = 44_100
    bar = 4 * 60 * rate / 97.3
    second, third = round(bar), round(bar) + round(3 * 60 * rate / 97.3)
    tempo_map = tempo_map_of(
        [change(0, 97.3), change(second, 97.3, 3, 4), change(third, 120)], rate
    )
    assert [meter.numerator for meter in tempo_map.meters] == [4, 3]
    assert tempo_map.meters[1].beat == 4
    target = bridge_pb2.Target(bars=1, tempo_map=[change(0, 97.3), change(second, 97.3, 3, 4)])
    assert num_samples_of(target, rate, second) == pytest.approx(3 * 60 * rate / 97.3, abs=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([], "0 entries"),
        ([change(0, 0)], "0 bpm"),
        ([change(0, 120), change(0, 120)], "beats must rise"),
        ([change(0, 120), change(1_000, 120, 3, 4)], "inside bar 0"),
        ([change(0, 120, 65, 4)], "65 beats"),
    ],
)
def test_a_tempo_map_that_no_music_has_is_refused(changes, words):
    with pytest.raises(InvalidRequestError, match=words):
        tempo_map_of(changes, 48_000)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (Conditions(timing=Timing(total_samples=9, offset_samples=9)), "9 samples"),
        (Conditions(energy_per_bar=(1.5,)), "energy_per_bar of bar 0 is 1.5, allowed are 0 to 1"),
        (Conditions(density_per_bar=(float("nan"),)), "density_per_bar of bar 0 is nan"),
        (Conditions(energy_per_bar=(0.0,) * (MAX_BARS_OF_CURVES + 1)), "4097 bars"),
        (
            Conditions(sections=(Section(name="A", start_sample=5, end_sample=5),)),
            "'A' ends at sample 5",
        ),
        (
            Conditions(
                sections=(Section(name="A", start_sample=0, end_sample=1),) * (MAX_SECTIONS + 1)
            ),
            "257 sections",
        ),
        (Conditions(lyrics="x" * (MAX_TEXT_CHARACTERS + 1)), "20001 characters"),
        (
            Conditions(midi=MidiPart(notes=(), start_sample=4, end_sample=4)),
            "MIDI part ends at sample 4",
        ),
        (
            Conditions(
                midi=MidiPart(notes=(NOTE,) * (MAX_NOTES + 1), start_sample=0, end_sample=4)
            ),
            "100001 MIDI notes, the limit is 100000",
        ),
    ],
)
def test_conditions_outside_their_limits_are_refused_with_both(conditions, words):
    with pytest.raises(InvalidRequestError, match=words):
        check_conditions(conditions)


def test_a_model_tells_everything_that_a_caller_may_know():
    info = counting_info()
    message = message_of_model(info)
    told = {name: getattr(message, name) for name in ("name", "fingerprint", "sample_rate")}
    assert told == {"name": "counting", "fingerprint": "counting-1", "sample_rate": 44_100}
    assert set(message.supports) == info.supports
    assert (tuple(message.artists), message.output_licence) == (info.artists, "public domain")
