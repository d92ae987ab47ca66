"""What an OSC server says: one function for each answer, its arguments in order.

Knows no socket; an answer is an address and its arguments.
"""

from typing import Final, TypeAlias

from bridge.entries import TakeEntry
from bridge.errors import BridgeError
from bridge.limits import MAX_ID_CHARACTERS
from bridge.model_info import ModelInfo
from bridge.osc.packet import Argument
from bridge.request import Accepted, Done, Progress

MAX_TEXT_CHARACTERS: Final = 800
"""So that an answer fits into one datagram."""
FAIL: Final = "/jukebox/fail"
DONE: Final = "/jukebox/done"
QUEUED: Final = "/jukebox/queued"
ACCEPTED: Final = "/jukebox/accepted"
PROGRESS: Final = "/jukebox/progress"
LATE: Final = "/jukebox/late"

Answer: TypeAlias = tuple[str, tuple[Argument, ...]]

FORMS: Final = {
    QUEUED: "s:id i:position f:eta_seconds",
    ACCEPTED: "s:id s:seed h:splice_sample h:num_samples f:codec_fidelity s:model s:advice",
    PROGRESS: "s:id s:phase i:step i:total_steps f:eta_seconds",
    DONE: "s:address s:id ...",
    FAIL: "s:address s:id s:code s:message",
    LATE: "s:address s:id d:late_seconds",
    "/jukebox/pong": "s:id s:protocol",
    "/jukebox/stat": "s:id s:name d:value",
    "/jukebox/model": "s:id s:name s:fingerprint i:sample_rate s:licence",
    "/jukebox/style": "s:id s:kind s:name",
    "/jukebox/job": "s:id s:job s:state s:phase i:step i:total_steps",
    "/jukebox/take": (
        "s:id s:take s:mark s:name s:seed h:start_sample h:num_samples i:sample_rate s:parent "
        "s:sha256 s:model"
    ),
}
"""Answers that have an address of their own, and their arguments. A server never answers these,
lest two of them talk for ever."""
MUSIC_DONE: Final = (
    "s:address s:id s:path s:sha256 h:num_samples h:splice_sample s:take_id f:rtf f:gain_db "
    "s:licence"
)
"""`/jukebox/done` of a verb that makes music."""


def is_answer(address: str) -> bool:
    """Return whether an address is what servers say, ours or (`#reply`) others."""
    return address in FORMS or address.startswith("#")


def queued(job_id: str, position: int, eta_seconds: float) -> Answer:
    """Return `/jukebox/queued`: the id, jobs before it, and seconds until it begins."""
    return QUEUED, (text(job_id), Argument("i", position), Argument("f", eta_seconds))


def accepted(job_id: str, event: Accepted) -> Answer:
    """Return `/jukebox/accepted`: the id, the seed and where the result will lie."""
    return ACCEPTED, (
        text(job_id),
        # Seeds have 64 bits without a sign, which no number of OSC holds.
        text(str(event.seed)),
        Argument("h", event.splice_sample),
        Argument("h", event.expected_samples),
        Argument("f", event.codec_fidelity),
        text(event.model),
        text(event.advice),
    )


def progress(job_id: str, event: Progress) -> Answer:
    """Return `/jukebox/progress`: the id, the phase, step of total, seconds left."""
    return PROGRESS, (
        text(job_id),
        text(event.phase),
        Argument("i", event.step),
        Argument("i", event.total_steps),
        Argument("f", event.eta_seconds),
    )


def finished(address: str, job_id: str, event: Done, splice_sample: int) -> Answer:
    """Return `/jukebox/done` of a verb that makes music: its file, hash, length and place."""
    return done(
        address,
        job_id,
        text("" if event.path is None else str(event.path)),
        text(event.sha256),
        Argument("h", event.num_samples),
        Argument("h", splice_sample),
        text(event.take_id),
        Argument("f", event.rtf),
        Argument("f", event.gain_db),
        text(event.licence),
    )


def done(address: str, job_id: str, *results: Argument) -> Answer:
    """Return `/jukebox/done`: what was asked, then its results."""
    return DONE, (text(address), text(job_id), *results)


def failure(address: str, job_id: str, error: BridgeError) -> Answer:
    """Return `/jukebox/fail`: what was asked, the code and the reason."""
    words = (address[:80], job_id[:MAX_ID_CHARACTERS], error.code, str(error))
    return FAIL, tuple(map(text, words))


def late(address: str, job_id: str, late_seconds: float) -> Answer:
    """Return `/jukebox/late`: what runs now though its timetag has passed, and by how much."""
    return LATE, (text(address[:80]), text(job_id), Argument("d", late_seconds))


def model(request_id: str, info: ModelInfo) -> Answer:
    """Return `/jukebox/model`: the name, the fingerprint, the rate and the licence."""
    return "/jukebox/model", (
        text(request_id),
        text(info.name),
        text(info.fingerprint),
        Argument("i", info.sample_rate),
        text(info.output_licence),
    )


def take(request_id: str, entry: TakeEntry) -> Answer:
    """Return `/jukebox/take`: a take's name, mark, seed, place, parent and hash."""
    kept = entry.take
    return "/jukebox/take", (
        text(request_id),
        text(kept.id),
        text(entry.verdict or "none"),
        text(entry.name),
        text(str(kept.seed)),
        Argument("h", kept.start_sample),
        Argument("h", kept.num_samples),
        Argument("i", kept.request.sample_rate),
        text(kept.parent or ""),
        text(kept.sha256),
        text(kept.model),
    )


def text(value: str) -> Argument:
    """Return text that OSC can carry, and short enough for one datagram."""
    clean = value.replace("\0", " ").encode("utf-8", "replace").decode()
    return Argument("s", clean[:MAX_TEXT_CHARACTERS])
