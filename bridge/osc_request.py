"""The arguments of `/jukebox/continue`, and the request that they name.

Tables say what an argument is and how it is read. Files are read here, inside
the folders allowed alone. Knows no socket and no engine.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bridge.audio_file import read_audio, read_time_reference
from bridge.errors import InvalidRequestError, NotFoundError
from bridge.limits import MAX_ID_CHARACTERS, check_plan, check_position
from bridge.midi_file import read_midi
from bridge.model_time import mid_of
from bridge.osc_packet import Argument, number_of, text_of, whole_of
from bridge.ports import Conditions, Labels, Plan, Quality, Stem, StemKind
from bridge.request import MAX_PRIME_SECONDS, MAX_RESULT_SECONDS, Prime, RenderRequest
from bridge.transport import parse_meter, steady

SEED_BITS: Final = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One argument: its name, how it is read, and what it is for."""

    name: str
    read: Callable[[Argument, str], Any]
    does: str


def _real_of(argument: Argument, name: str) -> float:
    return float(number_of(argument, name))


def _word_of(words: Sequence[str]) -> Callable[[Argument, str], str]:
    def read(argument: Argument, name: str) -> str:
        text = text_of(argument, name)
        if text not in words:
            raise InvalidRequestError(f"{name} is {text[:40]!r}, known are {', '.join(words)}")
        return text

    return read


def _id_of(argument: Argument, name: str) -> str:
    text = text_of(argument, name)
    if not 0 < len(text) <= MAX_ID_CHARACTERS:
        raise InvalidRequestError(
            f"{name} has {len(text)} characters, allowed are 1 to {MAX_ID_CHARACTERS}"
        )
    return text


def _position_of(argument: Argument, name: str) -> int:
    sample = whole_of(argument, name)
    check_position(name, sample)
    return sample


ID: Final = Parameter(name="id", read=_id_of, does="the caller's name for the request")
CONTINUE: Final = (
    ID,
    Parameter(name="path", read=text_of, does="audio file of the prime"),
    Parameter(name="tempo_bpm", read=number_of, does="quarter notes a minute"),
    Parameter(name="meter", read=text_of, does="such as 4/4"),
    Parameter(name="bars", read=number_of, does="length of the result"),
)
STEM_KEYS: Final = {f"stem_{kind}": kind for kind in StemKind}
PLAN_OPTIONS: Final = (
    Parameter(name="seed", read=whole_of, does="0 to 2^64 - 1; drawn if absent"),
    Parameter(name="quality", read=_word_of(tuple(Quality)), does="fast, exact or teacher"),
    Parameter(name="variation", read=whole_of, does="another take of the same seed"),
    Parameter(name="temperature", read=_real_of, does="0.01 to 10"),
    Parameter(name="top_p", read=_real_of, does="0.001 to 1"),
    Parameter(name="top_k", read=whole_of, does="0 is off"),
    Parameter(name="guidance", read=_real_of, does="1 is off"),
    Parameter(name="passes", read=whole_of, does="0 is the model's default"),
)
OPTIONS: Final = (
    Parameter(name="midi", read=text_of, does="MIDI file; its time 0 is the prime's first sample"),
    *(
        Parameter(name=key, read=text_of, does=f"audio file of the {kind} to fit")
        for key, kind in STEM_KEYS.items()
    ),
    Parameter(name="target", read=_word_of(tuple(StemKind)), does="the part wanted"),
    Parameter(name="artist", read=text_of, does="a label of the model"),
    Parameter(name="genre", read=text_of, does="a label of the model"),
    Parameter(
        name="start", read=_position_of, does="session sample of the prime; its file's if absent"
    ),
    Parameter(name="anchor", read=_position_of, does="session sample where the code grid starts"),
    Parameter(name="model", read=text_of, does="a name of /jukebox/models"),
    *PLAN_OPTIONS,
)


def read_arguments(
    arguments: Sequence[Argument],
    parameters: Sequence[Parameter],
    optional: Sequence[Parameter] = (),
    options: Sequence[Parameter] = (),
) -> dict[str, Any]:
    """Return the values by name: parameters in order, then optional ones, then key-value pairs.

    Raises:
        InvalidRequestError: Too few or too many, a key twice or unknown, or a value refused.
    """
    form = " ".join(parameter.name for parameter in parameters)
    if len(arguments) < len(parameters):
        raise InvalidRequestError(
            f"{len(arguments)} arguments came, {len(parameters)} are needed: {form}"
        )
    placed = (*parameters, *optional)[: len(arguments)]
    values = {
        parameter.name: parameter.read(argument, parameter.name)
        for parameter, argument in zip(placed, arguments, strict=False)
    }
    rest = arguments[len(placed) :]
    if rest and not options:
        raise InvalidRequestError(
            f"{len(arguments)} arguments came, the limit is {len(placed)}: {form}"
        )
    values.update(_pairs(rest, {option.name: option for option in options}))
    return values


def request_of(values: Mapping[str, Any], folders: Sequence[Path]) -> RenderRequest:
    """Return the request that the arguments of `/jukebox/continue` name; reads the files.

    Raises:
        InvalidRequestError: A path outside the folders, a file that is no audio, or a value.
        NotFoundError: A file that does not exist.
    """
    plan = plan_of(values)
    path = inside(values["path"], folders)
    clip = read_audio(path)
    start = values["start"] if "start" in values else read_time_reference(path) or 0
    meter = parse_meter(values["meter"])
    tempo_map = steady(clip.sample_rate, values["tempo_bpm"], meter, start)
    splice = start + clip.samples.shape[1]
    return RenderRequest(
        request_id=values["id"],
        sample_rate=clip.sample_rate,
        source=Prime(samples=clip.samples, start_sample=start),
        num_samples=tempo_map.num_samples_of_bars(values["bars"], splice),
        plan=plan,
        conditions=_conditions_of(values, folders, clip.sample_rate, start),
        anchor_sample=values.get("anchor"),
        model=values.get("model", ""),
        write_file=True,
    )


def plan_of(values: Mapping[str, Any]) -> Plan:
    """Return the plan that the options name; a seed is drawn where there is none.

    Raises:
        InvalidRequestError: A value outside its limits.
    """
    named = {option.name: values[option.name] for option in PLAN_OPTIONS if option.name in values}
    named.setdefault("seed", secrets.randbits(SEED_BITS))
    if "quality" in named:
        named["quality"] = Quality(named["quality"])
    plan = Plan(**named)
    check_plan(plan)
    return plan


def inside(text: str, folders: Sequence[Path]) -> Path:
    """Return a file's path, links resolved; a relative one counts from the first folder.

    Raises:
        InvalidRequestError: Outside of all folders, so that a wire reads nothing else.
        NotFoundError: There is no such file.
    """
    try:
        path = (folders[0] / text).resolve()
        allowed = any(path.is_relative_to(folder) for folder in folders)
        is_file = allowed and path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidRequestError(f"{text[:200]!r} is not a path: {error}") from error
    if not allowed:
        names = ", ".join(map(str, folders))
        raise InvalidRequestError(
            f"the file {text} lies outside the folders allowed ({names}); "
            "the server's --allow-path adds one"
        )
    if not is_file:
        raise NotFoundError(f"there is no file {path}")
    return path


def _conditions_of(
    values: Mapping[str, Any], folders: Sequence[Path], sample_rate: int, start_sample: int
) -> Conditions:
    midi = None
    if "midi" in values:
        midi = read_midi(inside(values["midi"], folders), sample_rate, start_sample)
    stems = tuple(
        _stem_of(kind, inside(values[key], folders), sample_rate, start_sample)
        for key, kind in STEM_KEYS.items()
        if key in values
    )
    return Conditions(
        labels=Labels(artist=values.get("artist"), genre=values.get("genre")),
        midi=midi,
        stems=stems,
        target=StemKind(values.get("target", StemKind.MIX)),
    )


def _stem_of(kind: StemKind, path: Path, sample_rate: int, start_sample: int) -> Stem:
    clip = read_audio(path, MAX_PRIME_SECONDS + MAX_RESULT_SECONDS)
    if clip.sample_rate != sample_rate:
        raise InvalidRequestError(
            f"the {kind} stem {path} has {clip.sample_rate} Hz, the prime has {sample_rate} Hz"
        )
    return Stem(kind=kind, start_sample=start_sample, samples=mid_of(clip.samples))


def _pairs(arguments: Sequence[Argument], options: Mapping[str, Parameter]) -> dict[str, Any]:
    if len(arguments) % 2:
        raise InvalidRequestError(
            f"{len(arguments)} arguments follow the fixed ones, keys and values come in pairs"
        )
    values: dict[str, Any] = {}
    for key, argument in zip(arguments[::2], arguments[1::2], strict=True):
        name = text_of(key, "a key")
        if name not in options:
            raise InvalidRequestError(
                f"the key {name[:40]!r} is unknown, known: {', '.join(options)}"
            )
        if name in values:
            raise InvalidRequestError(f"the key {name} came twice, once is allowed")
        values[name] = options[name].read(argument, name)
    return values
