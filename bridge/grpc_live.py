"""The verb `Live`: a recording comes in, its continuations go out under credits.

Translates and decides nothing. Knows no socket, no token and no other wire.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from bridge.errors import InvalidRequestError
from bridge.grpc_gate import Call, Verb
from bridge.live import LiveSession
from bridge.live_messages import opened, setup_of
from bridge.live_talk import LiveTalk
from protos import bridge_pb2


async def _live(
    call: Call, incoming: AsyncIterator[bridge_pb2.LiveRequest]
) -> AsyncGenerator[bridge_pb2.LiveEvent]:
    first = await anext(incoming, None)
    if first is None or first.WhichOneof("part") != "header":
        raise InvalidRequestError("the first message of a call must be its header", field="header")
    setup = setup_of(call.client_id(), first.header)
    call.request_id = setup.session_id
    session: LiveSession[Any] = LiveSession(call.desk.engine(), setup)
    with call.desk.callers.uploading(call.caller, setup.window_bytes):
        try:
            await session.open()
            yield opened(session, setup)
            async with aclosing(LiveTalk(session, setup, first.header).events(incoming)) as events:
                async for event in events:
                    yield event
        finally:
            await session.close()


LIVE_VERBS: Final[Mapping[str, Verb]] = {"Live": _live}
