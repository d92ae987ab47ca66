"""Every OSC address, once: what it takes, what it answers and which verb carries it out.

Dispatch, argument checks, `docs/osc.md` and OSCQuery all read this table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bridge.osc import render, values
from bridge.osc.answers import Answer
from bridge.osc.call import Access, Call, Row
from bridge.osc.clients import NODES, Node, Scope
from bridge.osc.desk import MARKS, MAX_PAGE, Desk
from bridge.osc.values import Kind, Parameter

_ID: Final = values.ID
_TAKE: Final = values.name_of("take", "the take's id")
_PAGE: Final = (
    values.ID,
    values.number("first", Kind.WHOLE, "how many to skip, newest first", 0, 2**31 - 1),
    values.number("count", Kind.WHOLE, "how many to tell", 1, MAX_PAGE),
)
_REPLY: Final = (render.REPLY_PORT,)

_SMALL: Final = (
    Row(
        address="/jukebox/ping",
        does="tells that the server is there",
        handler=Desk.ping,
        optional=(_ID,),
        answers="`/jukebox/pong s:id s:protocol`",
    ),
    Row(
        address="/jukebox/status",
        does="tells how the server stands",
        handler=Desk.status,
        optional=(_ID,),
        answers="`/jukebox/status s:id s:state i:running s:model`",
    ),
    Row(
        address="/jukebox/stats",
        does="tells the counts since the start",
        handler=Desk.stats,
        optional=(_ID,),
        answers="`/jukebox/stat s:id s:name d:value` for each, done",
    ),
    Row(
        address="/jukebox/models",
        does="lists the models",
        handler=Desk.models,
        optional=(_ID,),
        answers="`/jukebox/model s:id s:name s:fingerprint i:sample_rate s:licence` for each, done",
    ),
    Row(
        address="/jukebox/styles",
        does="lists the labels that the model knows",
        handler=Desk.styles,
        optional=_PAGE,
        answers="`/jukebox/style s:id s:kind s:name` for each, done; kind is artist or genre",
    ),
    Row(
        address="/jukebox/jobs",
        does="lists the jobs of this wire that run or ended lately",
        handler=Desk.jobs_list,
        optional=_PAGE,
        answers="`/jukebox/job s:id s:job s:state s:phase i:step i:total_steps` for each, done",
    ),
    Row(
        address="/jukebox/query",
        does="repeats the last answer to a job, as UDP may have lost it",
        handler=Desk.query,
        parameters=(_ID,),
        options=_REPLY,
        answers="accepted, progress, done or fail of the job",
    ),
    Row(
        address="/jukebox/cancel",
        does="stops a job; the job itself fails with CANCELLED",
        handler=Desk.cancel,
        parameters=(_ID,),
        answers="done",
    ),
)

_TAKES: Final = (
    Row(
        address="/jukebox/takes/list",
        does="lists takes, newest first",
        handler=Desk.takes_list,
        optional=_PAGE,
        answers="`/jukebox/take` for each, done with `h:total`",
    ),
    Row(
        address="/jukebox/takes/get",
        does="tells one take",
        handler=Desk.takes_get,
        parameters=(_ID, _TAKE),
        answers="`/jukebox/take s:id s:take s:mark s:name s:seed h:start_sample h:num_samples "
        "i:sample_rate s:parent s:sha256 s:model`, done",
    ),
    Row(
        address="/jukebox/takes/tag",
        does="keeps or rejects a take, or names it; a kept take is never deleted",
        handler=Desk.takes_tag,
        parameters=(_ID, _TAKE, values.word("mark", "what becomes of it", MARKS)),
        optional=(values.text("name", "a name for people", 128),),
        answers="`/jukebox/take`, done",
    ),
    Row(
        address="/jukebox/takes/export",
        does="writes a take as a Broadcast Wave file, into the folders allowed",
        handler=Desk.takes_export,
        parameters=(_ID, _TAKE, values.text("path", "file to write; one that exists stays")),
        options=_REPLY,
        answers="done with `s:path`",
    ),
)

_MUSIC: Final = tuple(
    Row(
        address=verb.address,
        does=verb.does,
        handler=Desk.make,
        verb=verb,
        parameters=verb.parameters,
        optional=verb.optional,
        options=verb.options,
        answers="queued progress, accepted, progress, then done or fail",
    )
    for verb in render.VERBS
)


def _value(node: Node) -> Parameter:
    return replace(node.known.parameter, clears=node.scope is not Scope.SERVER)


def _plain(node: Node) -> Row:
    told = node.scope is Scope.SERVER
    return Row(
        address=node.path,
        does=_value(node).does,
        handler=Desk.value,
        access=Access.READ if told else Access.BOTH,
        optional=() if told else (_value(node),),
        answers="the same address with the value; none if one was set",
        node=node,
    )


@dataclass(frozen=True, slots=True)
class _Method:
    """What may be done with a property, by an address of its own; `{}` is the property's."""

    name: str
    does: str
    handler: Callable[[Desk, Call], Sequence[Answer]]
    answers: str
    sets: bool = False

    def row(self, node: Node) -> Row:
        """Return the address for one property."""
        return Row(
            address=f"/jukebox/{node.scope}/{self.name}/{node.name}",
            does=self.does.format(node.path),
            handler=self.handler,
            parameters=(_value(node),) if self.sets else (),
            answers=self.answers.format(node.path),
            node=node,
        )


_METHODS: Final = (
    _Method("get", "tells {}", Desk.get, "`{}` with the value"),
    _Method(
        "set",
        "sets {}; an empty text sets the default again",
        Desk.set,
        "`{}` with the value now",
        sets=True,
    ),
    _Method(
        "start_listen",
        "tells {} now and after each change",
        Desk.start_listen,
        "`{}` with the value",
    ),
    _Method("stop_listen", "tells {} no more", Desk.stop_listen, "done"),
)


def _rows_of(node: Node) -> Sequence[Row]:
    methods = [one for one in _METHODS if not (one.sets and node.scope is Scope.SERVER)]
    return [_plain(node), *(one.row(node) for one in methods)]


VERB_ROWS: Final = (*_SMALL, *_MUSIC, *_TAKES)
ROWS: Final = (*VERB_ROWS, *(row for node in NODES for row in _rows_of(node)))
