"""What an OSC server says: one function for each answer, its arguments in order.

Knows no socket; an answer is an address and its arguments.
"""

from typing import Final, TypeAlias

from bridge.errors import BridgeError
from bridge.limits import MAX_ID_CHARACTERS
from bridge.osc_packet import Argument
from bridge.ports import ModelInfo
from bridge.request import Accepted, Done, Progress

MAX_TEXT_CHARACTERS: Final = 800
"""So that an answer fits into one datagram."""
FAIL: Final = "/jukebox/fail"
DONE: Final = "/jukebox/done"
ANSWERS: Final = frozenset(
    {FAIL, DONE, "/jukebox/accepted", "/jukebox/progress", "/jukebox/pong", "/jukebox/model"}
)
"""What a server says; it never answers these, lest two of them talk for ever."""
CANCELLED: Final = "CANCELLED"

Answer: TypeAlias = tuple[str, tuple[Argument, ...]]


def accepted(event: Accepted) -> Answer:
    """Return `/jukebox/accepted`: the id, the seed and where the result will lie."""
    return "/jukebox/accepted", (
        text(event.request_id),
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
    return "/jukebox/progress", (
        text(job_id),
        text(event.phase),
        Argument("i", event.step),
        Argument("i", event.total_steps),
        Argument("f", event.eta_seconds),
    )


def finished(address: str, job_id: str, event: Done, splice_sample: int) -> Answer:
    """Return `/jukebox/done` of a continuation: its file, hash, length and place."""
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


def cancelled(address: str, job_id: str) -> Answer:
    """Return the `/jukebox/fail` of a request that was cancelled, as gRPC names it."""
    return FAIL, tuple(map(text, (address, job_id, CANCELLED, "the request was cancelled")))


def model(info: ModelInfo) -> Answer:
    """Return `/jukebox/model`: the name, the fingerprint, the rate and the licence."""
    return "/jukebox/model", (
        text(info.name),
        text(info.fingerprint),
        Argument("i", info.sample_rate),
        text(info.output_licence),
    )


def text(value: str) -> Argument:
    """Return text that OSC can carry, and short enough for one datagram."""
    clean = value.replace("\0", " ").encode("utf-8", "replace").decode()
    return Argument("s", clean[:MAX_TEXT_CHARACTERS])
