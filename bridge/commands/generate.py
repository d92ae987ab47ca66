"""`jukebox-bridge generate`: labels, lyrics, maybe a recording in; an imported model sings."""

import argparse
from pathlib import Path

import numpy as np

from bridge.app import Load
from bridge.audio_file import AudioClip, read_audio, read_time_reference
from bridge.client import Continuation, Verb
from bridge.commands.console import progress_bar
from bridge.commands.form import add_form_arguments, add_tempo_arguments, formed
from bridge.commands.parts import add_part_arguments, midi_from, part_files, stems_from
from bridge.commands.sampling import (
    Made,
    add_model_arguments,
    add_output_arguments,
    add_sampling_arguments,
    check_outputs,
    check_rate,
    client_with,
    model_of,
    plan_from,
    report,
    write_codes,
    write_outputs,
)
from bridge.errors import InvalidRequestError
from bridge.lyric_file import read_lyrics
from bridge.ports import Conditions, Labels, StemKind, Timing, Voice
from bridge.transport import parse_meter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `generate` takes."""
    add_model_arguments(parser)
    _add_piece(parser)
    add_part_arguments(parser)
    add_tempo_arguments(parser)
    add_form_arguments(parser)
    add_sampling_arguments(parser)
    add_output_arguments(parser)


def run(arguments: argparse.Namespace, load: Load | None = None) -> int:
    """Make a piece and write it; return 0.

    Raises:
        BridgeError: A file, a value or the server; nothing is written then.
    """
    check_outputs(arguments, arguments.lyrics, arguments.prime, *part_files(arguments))
    clip = _prime(arguments)
    asked = formed(_asked(arguments, clip), arguments)
    with progress_bar(f"generating with {arguments.model or 'the server'}") as bar:
        bar.stage("starting")
        with client_with(arguments, load) as client:
            result = client.render(asked, bar.show)
            bar.stage("writing")
            write_codes(arguments, client, result.done.take_id)
        made = Made(
            result=result,
            sample_rate=clip.sample_rate,
            prime=clip.samples,
            title=arguments.lyrics.stem if arguments.lyrics else arguments.out.stem,
        )
        write_outputs(arguments, made)
    report(arguments, made, {})
    return 0


def _add_piece(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--artist", help="a name of the model's list, or #NUMBER")
    parser.add_argument("--genre", help="words of the model's list, or #NUMBERs")
    parser.add_argument(
        "--blend",
        type=_voice,
        action="append",
        default=[],
        metavar="ARTIST[/GENRE]=WEIGHT",
        help="instead of these: part of a weighted sum; repeatable",
    )
    parser.add_argument("--lyrics", type=Path, metavar="FILE", help="UTF-8 text, line by line")
    parser.add_argument("--seconds", type=float, required=True, help="length of the result")
    parser.add_argument("--total", type=float, metavar="SECONDS", help="of the whole song")
    parser.add_argument(
        "--offset", type=float, metavar="SECONDS", help="where in the song it begins; needs --total"
    )
    parser.add_argument("--prime", type=Path, metavar="WAV", help="go on after this recording")
    parser.add_argument("--rate", type=int, default=44_100, help="in Hz (%(default)s)")


def _voice(text: str) -> Voice:
    who, equals, weight = text.rpartition("=")
    artist, slash, genre = who.partition("/")
    try:
        value = float(weight)
    except ValueError:
        equals = ""
        value = 0.0
    if not equals or not artist or (slash and not genre):
        raise argparse.ArgumentTypeError(f"{text!r} is not ARTIST[/GENRE]=WEIGHT")
    return Voice(artist=artist, genre=genre or None, weight=value)


def _prime(arguments: argparse.Namespace) -> AudioClip:
    if arguments.prime is not None:
        return read_audio(arguments.prime)
    check_rate(arguments.rate)
    return AudioClip(samples=np.zeros((1, 0), np.float32), sample_rate=arguments.rate)


def _asked(arguments: argparse.Namespace, clip: AudioClip) -> Continuation:
    start = 0
    if arguments.prime is not None:
        start = read_time_reference(arguments.prime) or 0
    meter = parse_meter(arguments.meter)
    return Continuation(
        prime=clip.samples,
        sample_rate=clip.sample_rate,
        num_samples=round(arguments.seconds * clip.sample_rate),
        tempo_bpm=arguments.tempo,
        meter=(meter.numerator, meter.denominator),
        conditions=Conditions(
            labels=Labels(artist=arguments.artist, genre=arguments.genre),
            timing=timing_from(arguments, clip.sample_rate),
            lyrics=None if arguments.lyrics is None else read_lyrics(arguments.lyrics),
            blend=tuple(arguments.blend),
            midi=midi_from(arguments, clip.sample_rate, start),
            target=StemKind(arguments.target),
        ),
        stems=stems_from(arguments, clip),
        plan=plan_from(arguments),
        draw_seed=arguments.seed is None,
        prime_start_sample=start,
        model=model_of(arguments),
        verb=Verb.GENERATE if arguments.prime is None else Verb.CONTINUE,
    )


def timing_from(arguments: argparse.Namespace, sample_rate: int) -> Timing | None:
    """Return where a piece lies in its song, None if that is left to the model.

    Raises:
        InvalidRequestError: An offset without a total.
    """
    if arguments.total is None:
        if arguments.offset is not None:
            raise InvalidRequestError(
                f"--offset is {arguments.offset:g} s of a song of which --total is not given"
            )
        return None
    return Timing(
        total_samples=round(arguments.total * sample_rate),
        offset_samples=round((arguments.offset or 0.0) * sample_rate),
    )
