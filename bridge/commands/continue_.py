"""`jukebox-bridge continue`: an audio file in, the file that goes on after it out."""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bridge.app import Load, open_chain
from bridge.audio_file import (
    AudioClip,
    Provenance,
    read_audio,
    read_time_reference,
    write_audio,
)
from bridge.client import Continuation, Result
from bridge.commands.console import progress_bar, say
from bridge.commands.form import (
    Following,
    add_following_arguments,
    add_form_arguments,
    add_tempo_arguments,
    followed,
    formed,
    leading,
)
from bridge.commands.parts import add_part_arguments, midi_from, part_files, stems_from
from bridge.commands.serving import add_server_arguments, client_of
from bridge.errors import InvalidRequestError, NotFoundError
from bridge.ports import Audio, Conditions, Labels, Plan, Quality, StemKind
from bridge.transport import parse_meter

SUFFIXES: Final = (".wav", ".wave", ".bwf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `continue` takes."""
    _add_files(parser)
    add_part_arguments(parser)
    _add_music(parser)
    _add_plan(parser)
    add_server_arguments(parser)


def run(arguments: argparse.Namespace, load: Load | None = None) -> int:
    """Continue the prime and write the result; return 0.

    Raises:
        BridgeError: A file, a value or the server; nothing is written then.
    """
    _check_out(arguments)
    job = _job_of(arguments)
    with progress_bar(f"continuing {arguments.prime}") as bar:
        bar.stage("loading the model")
        with client_of(arguments, load) as client:
            result = client.render(job.continuation, bar.show)
        bar.stage("writing")
        path = _write(arguments.out, job, result)
    say(_report(path, job, result, as_json=arguments.json))
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """The request, and what is done with its result."""

    continuation: Continuation
    following: Following | None
    chain_path: Path | None
    chain: Callable[[Audio], Audio] | None


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prime", type=Path, required=True, metavar="WAV", help="what goes on")
    parser.add_argument("--out", type=Path, required=True, metavar="WAV", help="the result")
    parser.add_argument(
        "--chain", type=Path, metavar="JSON", help="plugins to run the result through"
    )
    parser.add_argument("--json", action="store_true", help="report as JSON")


def _add_music(parser: argparse.ArgumentParser) -> None:
    add_tempo_arguments(parser)
    add_form_arguments(parser)
    add_following_arguments(parser)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--bars", type=float, help="length of the result; needs --tempo")
    length.add_argument("--samples", type=int, help="length of the result")
    parser.add_argument(
        "--start", type=int, metavar="SAMPLE", help="the prime's place; that of its file if absent"
    )
    parser.add_argument("--artist", help="a label of the model")
    parser.add_argument("--genre", help="a label of the model")


def _add_plan(parser: argparse.ArgumentParser) -> None:
    blank = Plan(seed=0)
    parser.add_argument("--seed", type=int, help="makes the result repeatable; drawn if absent")
    parser.add_argument("--quality", default=blank.quality, choices=list(Quality))
    parser.add_argument("--variation", type=int, default=blank.variation)
    parser.add_argument("--temperature", type=float, default=blank.temperature)
    parser.add_argument("--top-p", type=float, default=blank.top_p)
    parser.add_argument("--top-k", type=int, default=blank.top_k)
    parser.add_argument("--guidance", type=float, default=blank.guidance)
    parser.add_argument("--passes", type=int, default=blank.passes)
    parser.add_argument(
        "--no-reprise",
        action="store_true",
        help="let nothing of the prime sound again: every sound is made",
    )


def _check_out(arguments: argparse.Namespace) -> None:
    """Refuse early what could not be written after minutes of work."""
    out: Path = arguments.out
    if out.suffix.lower() not in SUFFIXES:
        raise InvalidRequestError(
            f"--out is {out}, the result is a WAV file: {', '.join(SUFFIXES)} are allowed"
        )
    if not out.parent.is_dir():
        raise NotFoundError(f"--out is {out}, there is no folder {out.parent}")
    if out.is_dir():
        raise InvalidRequestError(f"--out is {out}, which is a folder")
    suffix = () if arguments.suffix is None else (arguments.suffix,)
    inputs = (arguments.prime, *suffix, *part_files(arguments))
    if any(path.resolve() == out.resolve() for path in inputs):
        raise InvalidRequestError(f"--out is {out}, which is also read")


def _job_of(arguments: argparse.Namespace) -> _Job:
    clip = read_audio(arguments.prime)
    start = arguments.start
    if start is None:
        start = read_time_reference(arguments.prime) or 0
    meter = parse_meter(arguments.meter)
    continuation = Continuation(
        prime=clip.samples,
        sample_rate=clip.sample_rate,
        bars=arguments.bars,
        num_samples=arguments.samples,
        tempo_bpm=arguments.tempo,
        meter=(meter.numerator, meter.denominator),
        conditions=Conditions(
            labels=Labels(artist=arguments.artist, genre=arguments.genre),
            midi=midi_from(arguments, clip.sample_rate, start),
            target=StemKind(arguments.target),
        ),
        stems=stems_from(arguments, clip),
        plan=_plan(arguments),
        draw_seed=arguments.seed is None,
        prime_start_sample=start,
    )
    continuation, following = leading(formed(continuation, arguments), arguments, clip)
    chain = None
    if arguments.chain is not None:
        chain = open_chain(arguments.chain, clip.sample_rate, clip.samples.shape[0])
    return _Job(
        continuation=continuation,
        following=following,
        chain_path=arguments.chain,
        chain=chain,
    )


def _plan(arguments: argparse.Namespace) -> Plan:
    return Plan(
        seed=arguments.seed or 0,
        quality=Quality(arguments.quality),
        variation=arguments.variation,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        top_k=arguments.top_k,
        guidance=arguments.guidance,
        passes=arguments.passes,
        reprise=not arguments.no_reprise,
    )


def _write(out: Path, job: _Job, result: Result) -> Path:
    accepted, done = result.accepted, result.done
    audio = result.audio if job.chain is None else job.chain(result.audio)
    audio = followed(job.continuation, audio, done.lead_in, job.following)
    start = accepted.splice_sample
    if job.following is not None and job.following.loops:
        start = job.continuation.prime_start_sample
    provenance = Provenance(
        model=accepted.model,
        fingerprint=accepted.fingerprint,
        seed=accepted.seed,
        request_id=accepted.request_id,
        licence=done.licence,
        take_id=done.take_id,
    )
    clip = AudioClip(samples=audio, sample_rate=job.continuation.sample_rate)
    return write_audio(out, clip, start, provenance, overwrite=True)


def _report(path: Path, job: _Job, result: Result, *, as_json: bool) -> str:
    accepted, done = result.accepted, result.done
    rate = job.continuation.sample_rate
    facts: dict[str, Any] = {
        "out": str(path),
        "num_samples": done.num_samples,
        "sample_rate": rate,
        "splice_sample": accepted.splice_sample,
        "seed": accepted.seed,
        "sha256": done.sha256,
        "take_id": done.take_id,
        "model": accepted.model,
        "fingerprint": accepted.fingerprint,
        "licence": done.licence,
        "codec_fidelity": accepted.codec_fidelity,
        "advice": accepted.advice,
        "gain_db": done.gain_db,
        "rtf": done.rtf,
        "first_audio_ms": done.first_audio_ms,
        "chain": None if job.chain_path is None else str(job.chain_path),
    }
    if as_json:
        return json.dumps(facts, indent=1)
    advice = f"\n{accepted.advice}" if accepted.advice else ""
    return (
        f"{path}: {done.num_samples} samples ({done.num_samples / rate:.2f} s) from sample "
        f"{accepted.splice_sample} on, seed {accepted.seed}, {done.rtf:.2f}x real time{advice}"
    )
