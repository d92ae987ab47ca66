"""The verbs that render from what the call brings: audio, notes, codes.

Translates and decides nothing. Knows no socket, no token and no other wire.
"""

import secrets
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Final

import numpy as np

from bridge.errors import InvalidRequestError, blaming
from bridge.grpc_gate import Call, rendered
from bridge.grpc_gate import Verb as Handler
from bridge.ports import LevelCodes
from bridge.request import RenderRequest, StoredCodes
from bridge.request_messages import Verb, conditions_of, num_samples_of, plan_of
from bridge.upload import Upload, check_id
from protos import bridge_pb2

SEED_BITS: Final = 63
MAX_CODE: Final = 2**15 - 1


async def _upload(
    verb: Verb, call: Call, incoming: AsyncIterator[bridge_pb2.ContinueRequest]
) -> AsyncGenerator[bridge_pb2.RenderEvent]:
    request = await _received(verb, call, incoming)
    async with aclosing(rendered(call, request)) as messages:
        async for message in messages:
            yield message


async def _upsample(
    call: Call, asked: bridge_pb2.UpsampleRequest
) -> AsyncGenerator[bridge_pb2.RenderEvent]:
    for name in ("request_id", "model", "idempotency_key"):
        check_id(name, getattr(asked, name))
    with blaming("plan"):
        plan = plan_of(asked.plan, secrets.randbits(SEED_BITS))
    with blaming("conditions"):
        conditions = conditions_of(asked.conditions)
    with blaming("target"):
        num_samples = num_samples_of(asked.target, asked.format.sample_rate, asked.start_sample)
    request = RenderRequest(
        request_id=asked.request_id or uuid.uuid4().hex,
        sample_rate=asked.format.sample_rate,
        source=_codes_of(asked),
        num_samples=num_samples,
        plan=plan,
        conditions=conditions,
        model=asked.model,
        detached=asked.detached,
        idempotency_key=asked.idempotency_key,
        seed_drawn=not asked.plan.HasField("seed"),
        write_file=asked.write_file,
    )
    async with aclosing(rendered(call, request)) as messages:
        async for message in messages:
            yield message


UPLOAD_VERBS: Final[Mapping[str, Handler]] = {
    **{str(verb): partial(_upload, verb) for verb in Verb},
    "Upsample": _upsample,
}


async def _received(
    verb: Verb, call: Call, incoming: AsyncIterator[bridge_pb2.ContinueRequest]
) -> RenderRequest:
    call.desk.engine()  # nothing is uploaded to a server that is not ready
    first = await anext(incoming, None)
    if first is None or first.WhichOneof("part") != "header":
        raise InvalidRequestError("the first message of a call must be its header", field="header")
    upload = Upload(first.header, secrets.randbits(SEED_BITS), verb)
    call.request_id = upload.request_id
    with call.desk.callers.uploading(call.caller, upload.claimed_bytes), blaming("audio"):
        async for message in incoming:
            if message.WhichOneof("part") != "audio":
                raise InvalidRequestError("after the header only audio blocks may come")
            upload.take(message.audio)
        return upload.request()


def _codes_of(asked: bridge_pb2.UpsampleRequest) -> StoredCodes:
    for index, level in enumerate(asked.levels):
        worst = max(level.codes, default=0)
        if worst > MAX_CODE:
            raise InvalidRequestError(
                f"level {level.level} holds the code {worst}, allowed are 0 to {MAX_CODE}",
                field=f"levels[{index}].codes",
            )
    return StoredCodes(
        levels=tuple(
            LevelCodes(level=level.level, codes=np.array(level.codes, np.int16))
            for level in asked.levels
        ),
        finest_level=asked.finest_level,
        num_channels=asked.format.num_channels,
        start_sample=asked.start_sample,
    )
