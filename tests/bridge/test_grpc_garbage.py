"""Mutated messages: each is answered, nothing dies, and a normal request gives its usual bytes."""

import os

import grpc
import numpy as np
import pytest

from bridge.continuation import audio_of, header_of
from bridge.ports import Plan
from protos import bridge_pb2

COUNT = int(os.environ.get("JUKEBOX_GARBAGE_MESSAGES", "300"))
"""Of mutated messages, over all verbs; more of them are sent by who gathers evidence."""
DEADLINE_SECONDS = 60.0
ANSWERS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.CANCELLED,
}


def samples(silence):
    """Return messages as they should be, by verb."""
    asked = silence(prime_samples=500, num_samples=900)
    upload = [bridge_pb2.ContinueRequest(header=header_of(asked))]
    upload += [bridge_pb2.ContinueRequest(audio=block) for block in audio_of(asked)]
    note = bridge_pb2.Note(start_sample=500, end_sample=900, pitch=60, velocity=64)
    part = bridge_pb2.MidiPart(notes=[note], start_sample=500, end_sample=1_400)
    midi = bridge_pb2.ContinueRequest()
    midi.CopyFrom(upload[0])
    midi.header.conditions.midi.CopyFrom(part)
    live = bridge_pb2.LiveHeader(
        format=bridge_pb2.AudioFormat(sample_rate=44_100, num_channels=1), credit_samples=1_000
    )
    block = bridge_pb2.AudioBlock(role=bridge_pb2.ROLE_PRIME, samples=b"\0" * 800)
    target = bridge_pb2.Target(num_samples=300)
    return {
        "Continue": upload,
        "Generate": upload,
        "RenderMidi": [midi, upload[1]],
        "Live": [
            bridge_pb2.LiveRequest(header=live),
            bridge_pb2.LiveRequest(audio=block),
            bridge_pb2.LiveRequest(
                continuation=bridge_pb2.LiveContinuation(splice_sample=100, target=target)
            ),
            bridge_pb2.LiveRequest(stop=bridge_pb2.LiveStop()),
        ],
        "Upsample": [
            bridge_pb2.UpsampleRequest(
                format=live.format,
                levels=[bridge_pb2.LevelCodes(level=2, codes=range(9))],
                target=target,
            )
        ],
        "Vary": [bridge_pb2.VaryRequest(take_id="x" * 20, variations=1, from_sample=9)],
        "Watch": [bridge_pb2.WatchRequest(job_id="job-1", from_sample=9)],
        "Cancel": [bridge_pb2.CancelRequest(job_id="job-1")],
        "ListJobs": [bridge_pb2.ListJobsRequest(states=[bridge_pb2.JOB_STATE_DONE])],
        "ListTakes": [bridge_pb2.ListTakesRequest(page_size=3, page_token="0x1.8p+4", mark=2)],
        "TagTake": [bridge_pb2.TagTakeRequest(take_id="x" * 20, mark=2, name="n")],
        "ExportTake": [bridge_pb2.ExportTakeRequest(take_id="x" * 20)],
        "ListStyles": [bridge_pb2.ListStylesRequest(model="counting")],
    }


def mutated(data, random):
    """Return bytes with a few of them changed, cut, doubled or put in."""
    data = bytearray(data)
    for _ in range(random.integers(1, 4)):
        place = int(random.integers(0, len(data) + 1))
        match random.integers(0, 4):
            case 0 if place < len(data):
                data[place] ^= 1 << int(random.integers(0, 8))
            case 1:
                del data[place : place + int(random.integers(1, 9))]
            case 2:
                data[place:place] = data[place : place + int(random.integers(1, 17))]
            case _:
                data[place:place] = random.bytes(int(random.integers(1, 9)))
    return bytes(data)


def sent(channel, verb, messages):
    """Return the status that a call with these bytes ends with, and its text."""
    call = channel.stream_stream(f"/jukebox.bridge.v1.Bridge/{verb}")
    try:
        for _ in call(iter(messages), timeout=DEADLINE_SECONDS):
            pass
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


@pytest.mark.parametrize("verb", ["Continue", "Live", "Watch", "Cancel"])
def test_bytes_that_are_no_message_are_an_invalid_request(verb, serve):
    with grpc.insecure_channel(serve().address) as channel:
        code, text = sent(channel, verb, [b"\xff\xff"])
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("2 bytes are no jukebox.bridge.v1.")


@pytest.mark.parametrize("seed", [1])
def test_every_mutated_message_is_answered_and_nothing_is_left(seed, serve, connect, silence):
    served = serve()
    client = connect(served)
    normal = silence(draw_seed=False, plan=Plan(seed=5))
    usual = client.render(normal).done.sha256
    random = np.random.default_rng(seed)
    by_verb = samples(silence)
    outcomes = set()
    with grpc.insecure_channel(served.address) as channel:
        for _ in range(COUNT):
            verb = str(random.choice(list(by_verb)))
            messages = [message.SerializeToString() for message in by_verb[verb]]
            spoilt = int(random.integers(0, len(messages)))
            messages[spoilt] = mutated(messages[spoilt], random)
            code, text = sent(channel, verb, messages)
            assert code in ANSWERS, (verb, code, text, messages[spoilt])
            outcomes.add(code)
    assert {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT} <= outcomes
    served.on_loop(served.engine.idle())
    assert served.engine.stats().running_jobs == 0
    assert client.render(normal).done.sha256 == usual
