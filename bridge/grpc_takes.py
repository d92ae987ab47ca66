"""The verbs for what was made: variations of takes, and takes found, marked and exported.

Translates and decides nothing. Knows no socket, no token and no other wire.
"""

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Final

from bridge import codes_file
from bridge.entries import TakeQuery
from bridge.errors import InvalidRequestError, blaming
from bridge.grpc_gate import Call, Verb, rendered
from bridge.job_messages import message_of_take, verdict_of
from bridge.messages import MAX_OUTGOING_BYTES
from bridge.ports import Conditions, Plan
from bridge.request import RenderRequest, TakePoint
from bridge.request_messages import num_samples_of, plan_of, tempo_map_of
from bridge.store import TakeStore
from bridge.takes import Take
from bridge.upload import check_id
from protos import bridge_pb2

SEED_BITS: Final = 63
MAX_VARIATIONS: Final = 64
MAX_PAGE: Final = 1_000
DEFAULT_PAGE: Final = 100


async def _vary(
    call: Call, asked: bridge_pb2.VaryRequest
) -> AsyncGenerator[bridge_pb2.RenderEvent]:
    for name in ("request_id", "idempotency_key"):
        check_id(name, getattr(asked, name))
    if not 1 <= asked.variations <= MAX_VARIATIONS:
        raise InvalidRequestError(
            f"{asked.variations} variations are asked for, allowed are 1 to {MAX_VARIATIONS}",
            field="variations",
        )
    entry = await asyncio.to_thread(_store(call).entry, asked.take_id)
    first = _variation_of(asked, entry.take)
    # One after the other: the first one is heard soonest, and all are done no later.
    for index in range(asked.variations):
        variation = first.plan.variation + index
        request = replace(
            first,
            plan=replace(first.plan, variation=variation),
            request_id=_numbered(first.request_id, index, asked.variations),
            idempotency_key=_numbered(first.idempotency_key, index, asked.variations),
        )
        async with aclosing(rendered(call, request)) as messages:
            async for message in messages:
                message.variation = variation
                yield message


async def _list_takes(
    call: Call, asked: bridge_pb2.ListTakesRequest
) -> AsyncGenerator[bridge_pb2.ListTakesResponse]:
    if not 0 <= asked.page_size <= MAX_PAGE:
        raise InvalidRequestError(
            f"the page has {asked.page_size} takes, allowed are 1 to {MAX_PAGE}, or 0 for "
            f"{DEFAULT_PAGE}",
            field="page_size",
        )
    size = asked.page_size or DEFAULT_PAGE
    query = TakeQuery(
        verdict=verdict_of(asked.mark),
        parent=asked.parent_id or None,
        limit=size,
        before_s=_place_of(asked.page_token),
    )
    entries = await asyncio.to_thread(_store(call).entries, query)
    token = entries[-1].created_s.hex() if len(entries) == size else ""
    yield bridge_pb2.ListTakesResponse(
        takes=[message_of_take(entry) for entry in entries], next_page_token=token
    )


async def _get_take(
    call: Call, asked: bridge_pb2.GetTakeRequest
) -> AsyncGenerator[bridge_pb2.Take]:
    call.request_id = asked.take_id
    yield message_of_take(await asyncio.to_thread(_store(call).entry, asked.take_id))


async def _tag_take(
    call: Call, asked: bridge_pb2.TagTakeRequest
) -> AsyncGenerator[bridge_pb2.Take]:
    call.request_id = asked.take_id
    name = asked.name if asked.HasField("name") else None
    check_id("name", name or "")
    entry = await asyncio.to_thread(_store(call).tag, asked.take_id, verdict_of(asked.mark), name)
    yield message_of_take(entry)


async def _export_take(
    call: Call, asked: bridge_pb2.ExportTakeRequest
) -> AsyncGenerator[bridge_pb2.ExportEvent]:
    call.request_id = asked.take_id
    if asked.codes:
        if asked.write_file:
            raise InvalidRequestError("codes are streamed, not written into the spool")
        data = await call.desk.engine().export_codes(asked.take_id)
        yield bridge_pb2.ExportEvent(
            header=bridge_pb2.ExportHeader(
                file_name=f"{asked.take_id}{codes_file.SUFFIX}",
                size_bytes=len(data),
                file_sha256=hashlib.sha256(data).hexdigest(),
            )
        )
        for first in range(0, len(data), MAX_OUTGOING_BYTES):
            yield bridge_pb2.ExportEvent(data=data[first : first + MAX_OUTGOING_BYTES])
        return
    path = await call.desk.engine().export(asked.take_id)
    header = await asyncio.to_thread(_header_of, path)
    yield bridge_pb2.ExportEvent(header=header)
    if not asked.write_file:
        file = await asyncio.to_thread(path.open, "rb")
        with file:
            while data := await asyncio.to_thread(file.read, MAX_OUTGOING_BYTES):
                yield bridge_pb2.ExportEvent(data=data)


TAKE_VERBS: Final[Mapping[str, Verb]] = {
    "Vary": _vary,
    "ListTakes": _list_takes,
    "GetTake": _get_take,
    "TagTake": _tag_take,
    "ExportTake": _export_take,
}


def _store(call: Call) -> TakeStore:
    return call.desk.engine().store


def _place_of(token: str) -> float | None:
    if not token:
        return None
    try:
        return float.fromhex(token)
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(
            f"the page token {token[:80]!r} is none that this server gave", field="page_token"
        ) from error


def _header_of(path: Path) -> bridge_pb2.ExportHeader:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return bridge_pb2.ExportHeader(
        file_name=path.name,
        path=str(path),
        size_bytes=path.stat().st_size,
        file_sha256=digest,
    )


def _variation_of(asked: bridge_pb2.VaryRequest, take: Take) -> RenderRequest:
    """Return the first variation's request; bars count over the target's tempo map."""
    rate, start, end = take.request.sample_rate, take.start_sample, take.end_sample
    with blaming("from_bar" if asked.WhichOneof("from") == "from_bar" else "from_sample"):
        departure = _departure_of(asked, rate, start, end)
    with blaming("target"):
        if asked.target.WhichOneof("length") is not None:
            num_samples = num_samples_of(asked.target, rate, departure)
        else:
            num_samples = end - departure
    with blaming("plan"):
        plan = _plan_of(asked, take)
    return RenderRequest(
        request_id=asked.request_id or uuid.uuid4().hex,
        sample_rate=rate,
        source=TakePoint(take_id=take.id, departure_sample=None if departure == end else departure),
        num_samples=num_samples,
        plan=plan,
        conditions=Conditions(),
        model=take.model,
        detached=asked.detached,
        idempotency_key=asked.idempotency_key,
        seed_drawn=asked.HasField("plan") and not asked.plan.HasField("seed"),
        write_file=asked.write_file,
    )


def _departure_of(asked: bridge_pb2.VaryRequest, rate: int, start: int, end: int) -> int:
    departure = start
    match asked.WhichOneof("from"):
        case "from_sample":
            departure = asked.from_sample
        case "from_bar" if asked.from_bar:
            tempo_map = tempo_map_of(asked.target.tempo_map, rate)
            departure = start + tempo_map.num_samples_of_bars(asked.from_bar, start)
        case _:
            pass
    if not start <= departure <= end:
        raise InvalidRequestError(
            f"the take is left at sample {departure}, it lies on samples {start} to {end}"
        )
    return departure


def _plan_of(asked: bridge_pb2.VaryRequest, take: Take) -> Plan:
    if asked.HasField("plan"):
        return plan_of(asked.plan, secrets.randbits(SEED_BITS))
    return replace(take.plan, variation=take.plan.variation + 1, changes=())


def _numbered(name: str, index: int, count: int) -> str:
    return f"{name}.{index}" if name and count > 1 else name
