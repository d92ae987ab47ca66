"""Spoilt messages to every method of the real service: each is answered, nothing dies or stays.

A message is drawn field by field from its descriptor, right or wrong, and then
spoilt as bytes; the wire sees raw bytes, as any peer could send them.
"""

import os
import random
import sys
from collections import Counter

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from bridge.ports import Plan
from protos import bridge_pb2
from tests.bridge.test_grpc_garbage import ANSWERS, samples
from tests.evidence.spoiling import Memory, no_hang, spoilt

COUNT = int(os.environ.get("JUKEBOX_GRPC_GARBAGE", "20000"))
SHORT_COUNT = 60
SEED = 6
GROWTH_BYTES = 96 * 2**20
DEADLINE_SECONDS = 100
MAX_ANSWERS = 40
"""So many messages of an answer are read, then the call is ended: some garbage asks for hours."""
MAX_DEPTH = 5
SERVICE = bridge_pb2.DESCRIPTOR.services_by_name["Bridge"]
WHOLE = (0, 1, -1, 2, 127, 128, 44_100, 48_000, 2**31 - 1, -(2**31), 2**62, -(2**63), 2**63 - 1)
REAL = (0.0, 1.0, -1.0, 0.5, 120.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"))
TEXT = (
    "",
    "x",
    "x" * 20,
    "x" * 129,
    "job-1",
    "counting",
    "Bach",
    "../../etc/passwd",
    "\0",
    "\u202e",
)
DATA = (b"", b"\0", b"\0" * 800, b"\0\0\xc0\x7f", b"\xff" * 9, b"\0\0\x80\x7f" * 4)
RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-3, 9),
}


def value_of(field, draws):
    """Return a value of a scalar field's type, sensible or not."""
    if field.cpp_type in RANGES:
        least, greatest = RANGES[field.cpp_type]
        near = draws.randrange(2_000) if draws.random() < 0.5 else draws.choice(WHOLE)
        return min(max(near, least), greatest)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return draws.random() < 0.5
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return draws.choice(REAL)
    return draws.choice(DATA if field.type == FieldDescriptor.TYPE_BYTES else TEXT)


def spoil_fields(message, draws, depth=0):
    """Change about one field in four, here and in what is inside."""
    if depth > MAX_DEPTH:
        return
    for field in message.DESCRIPTOR.fields:
        inner = field.message_type is not None and not field.is_repeated
        if draws.random() < 0.25:
            spoil_field(message, field, draws, depth)
        elif inner and message.HasField(field.name):
            spoil_fields(getattr(message, field.name), draws, depth + 1)


def spoil_field(message, field, draws, depth):
    if draws.random() < 0.3:
        message.ClearField(field.name)
    elif field.is_repeated:
        held = getattr(message, field.name)
        for _ in range(draws.choice((1, 1, 3, 200))):
            if field.message_type is None:
                held.append(value_of(field, draws))
            else:
                spoil_fields(held.add(), draws, depth + 1)
    elif field.message_type is None:
        setattr(message, field.name, value_of(field, draws))
    else:
        getattr(message, field.name).SetInParent()
        spoil_fields(getattr(message, field.name), draws, depth + 1)


def spoilt_call(whole, draws):
    """Return a call as bytes, spoilt as values or as bytes, some of it out of order or again."""
    data = []
    for message in whole:
        changed = type(message)()
        changed.CopyFrom(message)
        if draws.random() < 0.5:
            spoil_fields(changed, draws)
        data.append(changed.SerializeToString())
    if draws.random() < 0.5:
        at = draws.randrange(len(data))
        data[at] = spoilt(data[at], draws)
    if draws.random() < 0.1:
        draws.shuffle(data)
    if draws.random() < 0.1:
        data += data[: draws.randrange(len(data) + 1)]
    return data


def corpus(silence):
    """Return calls as they should be, for every method of the service."""
    known = samples(silence)
    empty = {
        name: [GetMessageClass(one.input_type)()] for name, one in SERVICE.methods_by_name.items()
    }
    return empty | known


def sent(channel, verb, messages):
    """Return the status that a call with these bytes ends with, and its text."""
    call = channel.stream_stream(f"/{SERVICE.full_name}/{verb}")(
        iter(messages), timeout=DEADLINE_SECONDS
    )
    try:
        for number, _ in enumerate(call):
            if number == MAX_ANSWERS:
                call.cancel()
                return grpc.StatusCode.OK, "answered at length"
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def flood(served, client, silence, count):
    """Return how calls ended, and by how much the memory grew."""
    normal = silence(draw_seed=False, plan=Plan(seed=5))
    usual = client.render(normal).done.sha256
    draws, memory, outcomes = random.Random(SEED), Memory(), Counter()
    whole = corpus(silence)
    assert set(whole) == set(SERVICE.methods_by_name)
    with grpc.insecure_channel(served.address) as channel:
        for number in range(count):
            verb = draws.choice(sorted(whole))
            messages = spoilt_call(whole[verb], draws)
            with no_hang():
                code, text = sent(channel, verb, messages)
            assert code in ANSWERS, (verb, code, text, messages)
            outcomes[code.name] += 1
            if verb == "UnloadModel" and code is grpc.StatusCode.OK:
                # That was a request by rule; whoever comes next wants a model.
                client.load_model()
            if number == count // 10:
                memory.begin()
    served.on_loop(served.engine.idle())
    assert served.engine.stats().running_jobs == 0
    assert served.engine.store.check() == ()
    assert client.render(normal).done.sha256 == usual
    return outcomes, memory.grown


def test_spoilt_messages_to_every_method_are_answered(serve, connect, silence):
    served = serve()
    outcomes, _ = flood(served, connect(served), silence, SHORT_COUNT)
    assert {"OK", "INVALID_ARGUMENT"} <= set(outcomes)


@pytest.mark.evidence
def test_thousands_of_spoilt_messages_to_every_method(serve, connect, silence):
    served = serve()
    outcomes, grown = flood(served, connect(served), silence, COUNT)
    told = ", ".join(f"{name} {times}" for name, times in outcomes.most_common())
    sys.stdout.write(
        f"\ngRPC, {COUNT} calls of spoilt messages to all {len(SERVICE.methods)} methods, seed "
        f"{SEED}: {told}; memory grew by {grown / 2**20:.1f} MiB\n"
    )
    assert grown < GROWTH_BYTES
