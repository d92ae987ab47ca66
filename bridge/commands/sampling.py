"""What `generate` and `upsample` share: flags by level, the server, what is written at the end."""

import argparse
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bridge.app import Load, embedded_server, models_folder, released_folder
from bridge.audio_file import AudioClip, Provenance, write_audio, write_whole
from bridge.client import Client, Result
from bridge.commands.configured import add_setting_flags, config_of
from bridge.commands.console import say
from bridge.commands.serving import access_of, add_remote_arguments
from bridge.config import private_config
from bridge.errors import InvalidRequestError, NotFoundError
from bridge.lyric_file import markers_of, to_lrc
from bridge.ports import Audio, LevelPlan, Plan, Quality
from bridge.report import Scene
from bridge.request import SAMPLE_RATES

LEVELS: Final = (2, 1, 0)
ByLevel = dict[int | None, float]
"""Numbers by level; None is every level that is not named."""
_BY_LEVEL: Final = ("temperature", "top_p", "top_k", "hop_fraction")


def by_level(text: str) -> ByLevel:
    """Return numbers by level: `0.99` for all, or `2=0.98,1=0.99`.

    Raises:
        argparse.ArgumentTypeError: It is neither.
    """
    found: ByLevel = {}
    for part in text.split(","):
        level, equals, value = part.rpartition("=")
        try:
            key = int(level) if equals else None
            number = float(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"{text!r} is neither a number nor LEVEL=NUMBER,... with levels 2, 1, 0"
            ) from error
        if key in found or key not in (None, *LEVELS):
            raise argparse.ArgumentTypeError(
                f"{text!r} names level {level or 'all'} twice or one that is not 2, 1 or 0"
            )
        found[key] = number
    return found


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how to sample; numbers may differ by level."""
    parser.add_argument(
        "--levels",
        type=int,
        choices=LEVELS,
        default=0,
        metavar="LEVEL",
        help="go down to this level: 2 is the coarsest, 0 full-band (%(default)s)",
    )
    for name, does in (
        ("--hop-fraction", "how far apart windows start, of the context: small is slow and smooth"),
        ("--temperature", "of the draws"),
        ("--top-p", "draw among the likeliest that make up this probability"),
        ("--top-k", "draw among so many likeliest; 0: all"),
    ):
        parser.add_argument(name, type=by_level, metavar="X|LEVEL=X,..", default={}, help=does)
    parser.add_argument("--seed", type=int, help="makes the result repeatable; drawn if absent")
    parser.add_argument("--variation", type=int, default=0, help="another draw of the same seed")


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is written."""
    parser.add_argument("--out", type=Path, required=True, metavar="WAV", help="the result")
    parser.add_argument("--codes", type=Path, metavar="FILE", help="the codes, as safetensors")
    parser.add_argument("--lrc", type=Path, metavar="FILE", help="when the lyrics are sung")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="what was made, and the words")
    parser.add_argument("--json", action="store_true", help="report as JSON")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model and the server."""
    parser.add_argument("--model", default="", metavar="NAME", help="such as 5b_lyrics")
    parser.add_argument(
        "--models", type=Path, default=models_folder(), metavar="DIR", help="imported models"
    )
    add_remote_arguments(parser)
    add_setting_flags(parser, ("spool", "precision"))


def model_of(arguments: argparse.Namespace) -> str:
    """Return the name that a request asks for: a server of one's own has but the model named.

    A trained model is named by its folder, and goes by another name.
    """
    return "" if arguments.server is None else arguments.model


@contextmanager
def client_with(arguments: argparse.Namespace, load: Load | None) -> Generator[Client]:
    """Yield a client of `--server`, or of a server of `--model` that lives as long as this.

    Raises:
        InvalidRequestError: Neither is named.
        NotFoundError: The model was not imported.
    """
    access = access_of(arguments)
    with _server_with(arguments, load) as address, Client(address, access) as client:
        yield client


@contextmanager
def _server_with(arguments: argparse.Namespace, load: Load | None) -> Generator[str]:
    if arguments.server is not None:
        yield arguments.server
        return
    given = config_of(arguments)
    folder = given.model
    if arguments.model:
        folder = released_folder(arguments.model, arguments.models)
    elif load is None and folder is None:
        raise InvalidRequestError(
            "no model is named: --model NAME takes one that was imported, --server one that runs"
        )
    config = replace(private_config(given.spool, folder), precision=given.precision)
    with embedded_server(config, load) as address:
        yield address


def plan_from(arguments: argparse.Namespace) -> Plan:
    """Return how to sample, as published but for what was asked."""
    plan = Plan(
        seed=arguments.seed or 0,
        quality=Quality.TEACHER,
        variation=arguments.variation,
        finest_level=arguments.levels,
    )
    rows: dict[int, dict[str, Any]] = {}
    for name in _BY_LEVEL:
        given: ByLevel = getattr(arguments, name)
        for level, value in given.items():
            number = _whole(name, value)
            # No plan holds a hop for all: it is written out by level.
            if level is None and name != "hop_fraction":
                plan = replace(plan, **{name: number})
                continue
            for one in LEVELS if level is None else (level,):
                if level is not None or one not in given:
                    rows.setdefault(one, {})[name] = number
    levels = tuple(LevelPlan(level=level, **rows[level]) for level in LEVELS if level in rows)
    return replace(plan, levels=levels)


def check_outputs(arguments: argparse.Namespace, *inputs: Path | None) -> None:
    """Refuse early what could not be written after hours of work.

    Raises:
        InvalidRequestError: A folder, or a file that is also read or written twice.
        NotFoundError: There is no such folder.
    """
    taken = {path.resolve() for path in inputs if path is not None}
    for name in ("out", "codes", "lrc", "picture"):
        path: Path | None = getattr(arguments, name)
        if path is None:
            continue
        if not path.parent.is_dir():
            raise NotFoundError(f"--{name} is {path}, there is no folder {path.parent}")
        if path.is_dir():
            raise InvalidRequestError(f"--{name} is {path}, which is a folder")
        if path.resolve() in taken:
            raise InvalidRequestError(f"--{name} is {path}, which is also read or written")
        taken.add(path.resolve())


def check_rate(sample_rate: int) -> None:
    """Refuse a rate that no result can have.

    Raises:
        InvalidRequestError: It is none of `SAMPLE_RATES`.
    """
    if sample_rate not in SAMPLE_RATES:
        rates = ", ".join(map(str, SAMPLE_RATES))
        raise InvalidRequestError(f"--rate is {sample_rate} Hz, allowed are {rates} Hz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A result, and what it stands on."""

    result: Result
    sample_rate: int
    prime: Audio
    title: str


def write_codes(arguments: argparse.Namespace, client: Client, take_id: str) -> None:
    """Write the codes of a take where they are wanted; the server must still be there."""
    if arguments.codes is not None:
        client.export_codes(take_id, arguments.codes)


def write_outputs(arguments: argparse.Namespace, made: Made) -> None:
    """Write the audio, and the words and the picture where they are wanted."""
    accepted, done = made.result.accepted, made.result.done
    start = accepted.splice_sample
    provenance = Provenance(
        model=accepted.model,
        fingerprint=accepted.fingerprint,
        seed=accepted.seed,
        request_id=accepted.request_id,
        licence=done.licence,
        take_id=done.take_id,
    )
    clip = AudioClip(
        samples=made.result.audio,
        sample_rate=made.sample_rate,
        markers=markers_of(done.words, start, done.num_samples),
    )
    write_audio(arguments.out, clip, start, provenance, overwrite=True)
    if arguments.lrc is not None:
        tags = {"ti": made.title, "by": "jukebox-bridge", "licence": done.licence}
        text = to_lrc(done.words, start, made.sample_rate, tags)
        write_whole(arguments.lrc, (text.encode(),), overwrite=True)
    if arguments.picture is not None:
        _write_picture(arguments.picture, made)


def report(arguments: argparse.Namespace, made: Made, notes: Mapping[str, Any]) -> None:
    """Say what was made."""
    accepted, done = made.result.accepted, made.result.done
    facts = {
        "out": str(arguments.out),
        "num_samples": done.num_samples,
        "sample_rate": made.sample_rate,
        "start_sample": accepted.splice_sample,
        "seed": accepted.seed,
        "sha256": done.sha256,
        "take_id": done.take_id,
        "model": accepted.model,
        "fingerprint": accepted.fingerprint,
        "licence": done.licence,
        "words": len(done.words),
        "rtf": done.rtf,
        **notes,
    }
    if arguments.json:
        say(json.dumps(facts, indent=1))
        return
    sung = f", {len(done.words)} words timed" if done.words else ""
    seconds = done.num_samples / made.sample_rate
    say(
        f"{arguments.out}: {seconds:.2f} s by {accepted.model}, seed {accepted.seed}, take "
        f"{done.take_id}, {done.rtf:.4f}x real time{sung}\nlicence of the result: {done.licence}"
    )


def _whole(name: str, value: float) -> float:
    if name != "top_k":
        return value
    if not value.is_integer():
        raise InvalidRequestError(f"--top-k is {value:g}, it must be a whole number")
    return int(value)


def _write_picture(path: Path, made: Made) -> None:
    # Here, not above: drawing brings a library that takes a second to import.
    from bridge.report_picture import write_picture
    from bridge.splice import joined

    result, accepted = made.result, made.result.accepted
    scene = Scene(
        prime=made.prime,
        sample_rate=made.sample_rate,
        splice_sample=accepted.splice_sample,
        bar_samples=result.audio.shape[1],
        words=result.done.words,
    )
    whole = joined(made.prime, result.done.lead_in, result.audio, 0)
    write_picture(path, whole, {"result": result.audio}, scene, {})
