"""`jukebox-bridge upsample`: saved codes in, finer ones and their sound out; or a longer piece."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bridge.app import MODEL_NAMES, Load
from bridge.client import Upsampling
from bridge.codes_file import CodesFile, read_codes
from bridge.commands.console import progress_bar
from bridge.commands.sampling import (
    Made,
    add_model_arguments,
    add_output_arguments,
    add_sampling_arguments,
    check_outputs,
    client_with,
    model_of,
    plan_from,
    report,
    write_codes,
    write_outputs,
)
from bridge.errors import InvalidRequestError
from bridge.lyric_file import read_lyrics
from bridge.ports import Conditions, Labels, Timing, Voice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `upsample` takes."""
    parser.add_argument("file", type=Path, metavar="CODES", help="of generate or takes export")
    add_model_arguments(parser)
    parser.add_argument("--from", dest="first", type=float, default=0.0, metavar="SECOND")
    parser.add_argument("--to", dest="end", type=float, metavar="SECOND", help="the end if absent")
    parser.add_argument(
        "--seconds", type=float, help="length of the result; more than the codes: they go on"
    )
    parser.add_argument("--artist", help="else as the codes were made")
    parser.add_argument("--genre", help="else as the codes were made")
    parser.add_argument("--lyrics", type=Path, metavar="FILE", help="for codes that go on")
    parser.add_argument(
        "--coarsest",
        type=int,
        choices=(2, 1, 0),
        metavar="LEVEL",
        help="forget finer codes of the file: draw them anew",
    )
    add_sampling_arguments(parser)
    add_output_arguments(parser)


def run(arguments: argparse.Namespace, load: Load | None = None) -> int:
    """Upsample the codes and write the result; return 0.

    Raises:
        BridgeError: A file, a value or the server; nothing is written then.
    """
    check_outputs(arguments, arguments.file, arguments.lyrics)
    file = read_codes(arguments.file)
    _check_model(arguments.model, file)
    asked = _asked(arguments, file)
    with progress_bar(f"upsampling {arguments.file}") as bar:
        bar.stage("starting")
        with client_with(arguments, load) as client:
            result = client.upsample(asked, bar.show)
            bar.stage("writing")
            write_codes(arguments, client, result.done.take_id)
        made = Made(
            result=result,
            sample_rate=file.sample_rate,
            prime=np.zeros((1, 0), np.float32),
            title=arguments.file.stem,
        )
        write_outputs(arguments, made)
    report(arguments, made, {"codes_of": str(arguments.file)})
    return 0


def _check_model(model: str, file: CodesFile) -> None:
    """Refuse codes of another codec; the released models share one."""
    if model and model != file.model and not {model, file.model} <= set(MODEL_NAMES):
        raise InvalidRequestError(
            f"the codes are of the model {file.model}, whose codebook {model} does not share"
        )


def _asked(arguments: argparse.Namespace, file: CodesFile) -> Upsampling:
    levels = file.cut(arguments.first, arguments.end)
    if arguments.coarsest is not None:
        levels = tuple(level for level in levels if level.level >= arguments.coarsest)
        if not levels:
            held = [level.level for level in file.levels]
            raise InvalidRequestError(
                f"--coarsest is {arguments.coarsest}, the codes hold levels {held}"
            )
    first = levels[0]
    model_samples = first.codes.size * file.hops[first.level]
    num_samples = model_samples * file.sample_rate // file.model_rate
    if arguments.seconds is not None:
        num_samples = round(arguments.seconds * file.sample_rate)
    unit = file.hops[first.level]
    skipped = int(arguments.first * file.model_rate) // unit * unit
    moved = round(skipped * file.sample_rate / file.model_rate)
    finest = min(arguments.levels, min(level.level for level in levels))
    return Upsampling(
        levels=levels,
        finest_level=finest,
        sample_rate=file.sample_rate,
        start_sample=file.anchor_sample + moved,
        num_samples=num_samples,
        conditions=_conditions(arguments, file, moved),
        plan=replace(plan_from(arguments), finest_level=0),
        draw_seed=arguments.seed is None,
        model=model_of(arguments),
    )


def _conditions(arguments: argparse.Namespace, file: CodesFile, moved: int) -> Conditions:
    """Return what the codes were made with, but for what is asked otherwise."""
    told: dict[str, Any] = dict(file.facts.get("conditions", {}))
    labels = dict(told.get("labels") or {})
    own = arguments.artist is not None or arguments.genre is not None
    blend = () if own else tuple(Voice(**voice) for voice in told.get("blend", ()))
    if own:
        given = {"artist": arguments.artist, "genre": arguments.genre}
        labels |= {name: value for name, value in given.items() if value is not None}
    return Conditions(
        labels=Labels(artist=labels.get("artist"), genre=labels.get("genre")),
        timing=_timing(told.get("timing"), file, moved),
        lyrics=None if arguments.lyrics is None else read_lyrics(arguments.lyrics),
        blend=blend,
    )


def _timing(told: dict[str, int] | None, file: CodesFile, moved: int) -> Timing | None:
    if told is None:
        return None
    # The request counted to where its source began, these codes begin at the anchor.
    begun = dict(file.facts.get("source", {})).get("start_sample", file.anchor_sample)
    offset = told["offset_samples"] + file.anchor_sample - begun + moved
    return Timing(total_samples=told["total_samples"], offset_samples=offset)
