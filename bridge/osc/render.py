"""The arguments of the verbs that make music, and the requests that they name.

Files are read here, inside the folders allowed alone. What a message leaves out
comes from the client's session. Knows no socket and no engine.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from bridge.audio_file import read_audio, read_time_reference
from bridge.errors import InvalidRequestError
from bridge.form import curve_of, sections_of
from bridge.limits import check_conditions
from bridge.midi_file import read_midi
from bridge.model_time import mid_of
from bridge.osc import values
from bridge.osc.files import inside, read_codes
from bridge.osc.values import Kind, Parameter
from bridge.ports import Conditions, Labels, Mono, Plan, Quality, Stem, StemKind, Suffix
from bridge.request import (
    MAX_CHANNELS,
    MAX_DEADLINE_SECONDS,
    MAX_PRIME_SECONDS,
    MAX_RESULT_SECONDS,
    SAMPLE_RATES,
    Nothing,
    Prime,
    RenderRequest,
    Source,
    StoredCodes,
    TakePoint,
)
from bridge.takes import Take
from bridge.transport import TempoMap, parse_meter, pulse_of, steady

SEED_BITS: Final = 63
MAX_COUNT: Final = 16
STEM_KEYS: Final = {f"stem_{kind}": kind for kind in StemKind}
LENGTH: Final = (values.TEMPO, values.METER, values.BARS)
PATH: Final = values.text("path", "audio file of the prime")
MIDI: Final = values.text("midi", "MIDI file; its time 0 is the prime's first sample")
START: Final = values.position("start", "session sample of the first sample; its file's if absent")
NUM_SAMPLES: Final = Parameter(
    name="num_samples",
    kind=Kind.WHOLE,
    does="length of the result, instead of bars",
    unit="samples",
    least=1,
    greatest=MAX_RESULT_SECONDS * max(SAMPLE_RATES),
)
DEADLINE: Final = Parameter(
    name="deadline_s",
    kind=Kind.REAL,
    does="after so long the work is cancelled",
    unit="seconds",
    least=0.001,
    greatest=MAX_DEADLINE_SECONDS,
)
REPLY_PORT: Final = Parameter(
    name="reply_port",
    kind=Kind.WHOLE,
    does="UDP port of the sender's machine that answers go to; the one that asked if absent",
    least=1_024,
    greatest=65_535,
)
RATE: Final = Parameter(
    name="sample_rate",
    kind=Kind.WORD,
    does="of the result, in Hz",
    unit="Hz",
    words=tuple(map(str, SAMPLE_RATES)),
)
CHANNELS: Final = values.number("channels", Kind.WHOLE, "of the result", 1, MAX_CHANNELS)
FROM_BAR: Final = Parameter(
    name="from_bar",
    kind=Kind.EXACT,
    does="where the take is left, in bars from its first sample",
    unit="bars",
    least=0,
    greatest=values.BARS.greatest,
)
FROM_SAMPLE: Final = values.position("from_sample", "where the take is left, in session samples")
COUNT: Final = values.number(
    "count", Kind.WHOLE, "variations; more than one are named id.1, id.2, ...", 1, MAX_COUNT
)
FINEST: Final = values.number("finest_level", Kind.WHOLE, "level to go down to, 0 is audio", 0, 2)

FORM: Final = (
    values.text("suffix", "audio file that the result leads into, from its end on"),
    values.text("energy", "0 to 1 for each bar of the result, with commas; 0.5 is as loud as now"),
    values.text("density", "0 to 1 for each bar: 8 d squared onsets a quarter note"),
    values.text("sections", "NAME:BARS[@SIMILARITY] with commas, from the first sample on"),
)
_CONDITIONS: Final = (
    *(values.text(key, f"audio file of the {kind} to fit") for key, kind in STEM_KEYS.items()),
    values.TARGET,
    values.ARTIST,
    values.GENRE,
)
FORM_NAMES: Final = frozenset(parameter.name for parameter in FORM)
_ALWAYS: Final = (*LENGTH, NUM_SAMPLES, values.MODEL, *values.PLAN, DEADLINE, REPLY_PORT)
_ANCHOR: Final = values.position("anchor", "session sample where the code grid starts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A way to make music: its arguments, and how its request is read."""

    address: str
    does: str
    parameters: tuple[Parameter, ...]
    options: tuple[Parameter, ...]
    source: "Callable[[Order], tuple[Source, int, int]]"
    """Returns the source, its rate, and the sample at which the result begins."""
    optional: tuple[Parameter, ...] = LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked: the verb, the message's values, the session's, and where files may lie."""

    verb: Verb
    given: Mapping[str, Any]
    session: Mapping[str, Any]
    folders: Sequence[Path]
    client_id: str
    take: Take | None = None
    frame_samples: int = 0
    """Model samples of a frame at the top level, and the model's rate: lengths of codes."""
    model_rate: int = 1

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - what its kind says
        """Return a value: the message's, or the session's."""
        return self.given.get(name, self.session.get(name))

    def standing_on(self, take: Take | None, frame_samples: int, model_rate: int) -> "Order":
        """Return the order with what the engine knows of its material."""
        return replace(self, take=take, frame_samples=frame_samples, model_rate=model_rate)

    def file(self, name: str) -> Path:
        """Return the path of a file that the message names."""
        return inside(self.given[name], self.folders)


def _prime_of(order: Order) -> tuple[Source, int, int]:
    path = order.file("path")
    clip = read_audio(path)
    given = order.given.get("start")
    start = (read_time_reference(path) or 0) if given is None else given
    prime = Prime(samples=clip.samples, start_sample=start)
    return prime, clip.sample_rate, prime.end_sample


def _nothing_of(order: Order) -> tuple[Source, int, int]:
    start = order.given.get("start", 0)
    channels = order.given.get("channels", MAX_CHANNELS)
    rate = int(order.given.get("sample_rate", SAMPLE_RATES[0]))
    return Nothing(num_channels=channels, start_sample=start), rate, start


def _take_of(order: Order) -> tuple[Source, int, int]:
    take = order.take
    assert take is not None, "the desk looks the take up"
    rate, departure = take.request.sample_rate, take.start_sample
    if "from_sample" in order.given:
        departure = order.given["from_sample"]
    elif "from_bar" in order.given:
        tempo_map = _tempo_map(order, rate, take.start_sample)
        bars = order.given["from_bar"]
        departure += tempo_map.num_samples_of_bars(bars, take.start_sample) if bars else 0
    return TakePoint(take_id=take.id, departure_sample=departure), rate, departure


def _codes_of(order: Order) -> tuple[Source, int, int]:
    rate = int(order.given.get("sample_rate", SAMPLE_RATES[0]))
    start = order.given.get("start", 0)
    source = StoredCodes(
        levels=read_codes(order.file("path")),
        finest_level=order.given.get("finest_level", 0),
        num_channels=order.given.get("channels", 1),
        start_sample=start,
    )
    return source, rate, start


CONTINUE: Final = Verb(
    address="/jukebox/continue",
    does="continues a recorded section",
    parameters=(values.ID, PATH),
    options=(*_ALWAYS, MIDI, *_CONDITIONS, *FORM, START, _ANCHOR),
    source=_prime_of,
)
GENERATE: Final = Verb(
    address="/jukebox/generate",
    does="makes music from nothing but its conditions",
    parameters=(values.ID,),
    options=(*_ALWAYS, MIDI, *_CONDITIONS, *FORM, START, RATE, CHANNELS),
    source=_nothing_of,
)
RENDER_MIDI: Final = Verb(
    address="/jukebox/render_midi",
    does="plays a MIDI file in the timbre of a recorded section; as long as its notes, "
    "unless a length is given",
    parameters=(
        values.ID,
        values.text("midi", "MIDI file; its time 0 is the result's first sample"),
        PATH,
    ),
    options=(*_ALWAYS, *_CONDITIONS, START, _ANCHOR),
    source=_prime_of,
)
VARY: Final = Verb(
    address="/jukebox/vary",
    does="leaves a take at a bar and makes variations of what follows; to the take's end, "
    "unless a length is given",
    parameters=(values.ID, values.name_of("take", "the take's id")),
    options=(*_ALWAYS, FROM_BAR, FROM_SAMPLE, COUNT),
    source=_take_of,
)
UPSAMPLE: Final = Verb(
    address="/jukebox/upsample",
    does="turns codes into audio; as long as the codes, unless a length is given",
    parameters=(
        values.ID,
        values.text("path", "NumPy .npz file of codes: level2, level1, level0 as far as known"),
    ),
    options=(*_ALWAYS, *_CONDITIONS, START, RATE, CHANNELS, FINEST),
    source=_codes_of,
)
VERBS: Final = (CONTINUE, GENERATE, RENDER_MIDI, VARY, UPSAMPLE)


def check_order(verb: Verb, given: Mapping[str, Any]) -> None:
    """Refuse arguments that contradict each other, before anything runs.

    Raises:
        InvalidRequestError: Two lengths, or two places to leave a take at.
    """
    for one, other in (("bars", "num_samples"), ("from_bar", "from_sample")):
        if one in given and other in given:
            raise InvalidRequestError(
                f"{verb.address} was given {one} and {other}, one of them is allowed", field=other
            )


def seed_of(given: Mapping[str, Any], session: Mapping[str, Any]) -> tuple[int, bool]:
    """Return the seed, and whether it was drawn here: given, locked, or a new one."""
    if "seed" in given:
        return given["seed"], False
    if session["seed_lock"] and session["seed"] is not None:
        return session["seed"], False
    return secrets.randbits(SEED_BITS), True


def requests_of(order: Order, seed: int, *, seed_drawn: bool) -> list[RenderRequest]:
    """Return the requests that an order names, one a variation; reads the files.

    Raises:
        InvalidRequestError: A path outside the folders, a file that is not what it should be,
            or a value outside its limits.
        NotFoundError: A file that does not exist.
    """
    source, rate, splice = order.verb.source(order)
    conditions = _conditions_of(order, source, rate, splice)
    num_samples = _num_samples(order, conditions, source, rate, splice)
    suffix = _suffix_of(order, rate, splice + num_samples)
    conditions = replace(conditions, suffix=suffix)
    check_conditions(conditions)
    name = order.given["id"]
    request = RenderRequest(
        request_id=name,
        sample_rate=rate,
        source=source,
        num_samples=num_samples,
        plan=_plan_of(order, seed),
        conditions=conditions,
        anchor_sample=order.given.get("anchor"),
        model=order["model"] or "",
        client_id=order.client_id,
        deadline_s=order.given.get("deadline_s"),
        detached=True,
        idempotency_key=f"osc:{name}",
        seed_drawn=seed_drawn,
        write_file=True,
    )
    return [_varied(request, index, part) for index, part in enumerate(names_of(order.given))]


def names_of(given: Mapping[str, Any]) -> list[str]:
    """Return the names of an order's jobs: its id, or id.1, id.2 and so on."""
    count = given.get("count", 1)
    return [f"{given['id']}.{n}" for n in range(1, count + 1)] if count > 1 else [given["id"]]


def _varied(request: RenderRequest, index: int, name: str) -> RenderRequest:
    return replace(
        request,
        request_id=name,
        idempotency_key=f"osc:{name}",
        plan=replace(request.plan, variation=request.plan.variation + index),
    )


def _tempo_map(order: Order, rate: int, start: int) -> TempoMap:
    return steady(rate, order["tempo_bpm"], parse_meter(order["meter"]), start)


def _num_samples(
    order: Order, conditions: Conditions, source: Source, rate: int, splice: int
) -> int:
    if "num_samples" in order.given:
        return order.given["num_samples"]
    if "bars" not in order.given:
        own = _own_length(order, conditions, source, rate, splice)
        if own is not None:
            return own
    start = source.start_sample if isinstance(source, Prime) else splice
    return _tempo_map(order, rate, start).num_samples_of_bars(order["bars"], splice)


def _own_length(
    order: Order, conditions: Conditions, source: Source, rate: int, splice: int
) -> int | None:
    """Return the length that the order's own material has, if it has one."""
    if order.verb is RENDER_MIDI and conditions.midi is not None:
        return max(1, conditions.midi.end_sample - splice)
    if isinstance(source, StoredCodes):
        model_samples = source.levels[0].codes.size * order.frame_samples
        return max(1, int(Fraction(model_samples * rate, order.model_rate)))
    if isinstance(source, TakePoint) and order.take is not None:
        if splice >= order.take.end_sample:
            return None
        return order.take.end_sample - splice
    return None


def _plan_of(order: Order, seed: int) -> Plan:
    named = {parameter.name: order[parameter.name] for parameter in values.PLAN}
    known = {name: value for name, value in named.items() if value is not None}
    fields: dict[str, Any] = {**known, "seed": seed, "quality": Quality(order["quality"])}
    return Plan(**fields)


def _conditions_of(order: Order, source: Source, rate: int, splice: int) -> Conditions:
    if isinstance(source, TakePoint):
        # A take goes on under its own.
        return Conditions()
    start = source.start_sample
    midi = None
    if "midi" in order.given:
        begin = splice if order.verb is RENDER_MIDI else start
        midi = read_midi(order.file("midi"), rate, begin)
    stems = tuple(
        _stem_of(kind, order.file(key), rate, start)
        for key, kind in STEM_KEYS.items()
        if key in order.given
    )
    tempo_map = _tempo_map(order, rate, start)
    curves = {name: curve_of(order.given.get(name, "")) for name in ("energy", "density")}
    told = not set(order.given).isdisjoint({"tempo_bpm", "bars", *FORM_NAMES})
    return Conditions(
        labels=Labels(artist=order["artist"] or None, genre=order["genre"] or None),
        midi=midi,
        stems=stems,
        target=StemKind(order["target"]),
        pulse=pulse_of(tempo_map) if told else (),
        energy_per_bar=curves["energy"],
        density_per_bar=curves["density"],
        curves_sample=splice if any(curves.values()) else None,
        sections=sections_of(order.given.get("sections", ""), tempo_map, start),
    )


def _suffix_of(order: Order, rate: int, start_sample: int) -> Suffix | None:
    if "suffix" not in order.given:
        return None
    samples = _read_beside("suffix", order.file("suffix"), rate)
    return Suffix(start_sample=start_sample, samples=samples)


def _stem_of(kind: StemKind, path: Path, rate: int, start: int) -> Stem:
    return Stem(kind=kind, start_sample=start, samples=_read_beside(f"{kind} stem", path, rate))


def _read_beside(what: str, path: Path, rate: int) -> Mono:
    """Return the mid of audio that belongs to a prime.

    Raises:
        InvalidRequestError: It has another rate.
    """
    clip = read_audio(path, MAX_PRIME_SECONDS + MAX_RESULT_SECONDS)
    if clip.sample_rate != rate:
        raise InvalidRequestError(
            f"the {what} {path} has {clip.sample_rate} Hz, the prime has {rate} Hz"
        )
    return mid_of(clip.samples)
