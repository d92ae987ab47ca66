"""What `continue` and `generate` share of form: tempo, curves, sections, what follows."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from bridge.audio_file import AudioClip, read_audio
from bridge.commands.parts import as_many_channels
from bridge.continuation import Continuation
from bridge.errors import InvalidRequestError
from bridge.form import curve_of, sections_of
from bridge.ports import Audio
from bridge.splice import FADE_SECONDS, joined, led_out
from bridge.transport import TempoMap, parse_meter, steady

LOOP_SECONDS: Final = 2.0
"""So much of the prime's beginning is told of a loop."""


def add_tempo_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare tempo and meter."""
    parser.add_argument("--tempo", type=float, metavar="BPM", help="quarter notes a minute")
    parser.add_argument("--meter", default="4/4", help="such as 7/8 (%(default)s)")


def add_form_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare curves and sections, which count bars."""
    parser.add_argument(
        "--energy", default="", metavar="X,..", help="0 to 1 a bar; 0.5 is as loud as the prime"
    )
    parser.add_argument(
        "--density", default="", metavar="X,..", help="0 to 1 a bar: 8 d^2 onsets a quarter note"
    )
    parser.add_argument(
        "--sections",
        default="",
        metavar="NAME:BARS[@X],..",
        help="the form from the prime's start on; equal names sound alike, @ says by how much",
    )


def add_following_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the result leads into."""
    follows = parser.add_mutually_exclusive_group()
    follows.add_argument("--suffix", type=Path, metavar="WAV", help="what the result leads into")
    follows.add_argument(
        "--loop",
        action="store_true",
        help="lead back into the prime's start; prime and result are written as one seamless loop",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What follows a result: another recording, or the prime again."""

    suffix: Audio
    loops: bool


def formed(asked: Continuation, arguments: argparse.Namespace) -> Continuation:
    """Return a request with its curves and sections.

    Raises:
        InvalidRequestError: They cannot be read, or sections have no tempo.
    """
    conditions = replace(
        asked.conditions,
        energy_per_bar=curve_of(arguments.energy),
        density_per_bar=curve_of(arguments.density),
        sections=()
        if not arguments.sections
        else sections_of(arguments.sections, _tempo_map(asked), asked.prime_start_sample),
    )
    return replace(asked, conditions=conditions)


def leading(
    asked: Continuation, arguments: argparse.Namespace, prime: AudioClip
) -> tuple[Continuation, Following | None]:
    """Return a request that leads into what follows, longer by the crossfade into it.

    Raises:
        InvalidRequestError: Bars have no tempo, or what follows is too short or of another rate.
    """
    following = _following(arguments, prime)
    if following is None:
        return asked, None
    fade, num_samples = _fade_samples(prime.sample_rate), asked.num_samples
    if num_samples is None:
        assert asked.bars is not None
        num_samples = _tempo_map(asked).num_samples_of_bars(asked.bars, asked.splice_sample)
    longer = replace(
        asked, bars=None, num_samples=num_samples + fade, suffix=following.suffix[:, fade:]
    )
    return longer, following


def followed(
    asked: Continuation, result: Audio, lead_in: Audio, following: Following | None
) -> Audio:
    """Return what is written: the result, passing into what follows; of a loop all of it."""
    if following is None:
        return result
    fade = _fade_samples(asked.sample_rate)
    made = led_out(result, following.suffix, fade)
    if not following.loops:
        return made
    whole = joined(asked.prime, lead_in, made, fade)
    # The passage into the start belongs where the loop begins again.
    return np.concatenate([made[:, -fade:], whole[:, fade:-fade]], axis=1)


def _following(arguments: argparse.Namespace, prime: AudioClip) -> Following | None:
    if not arguments.loop and arguments.suffix is None:
        return None
    suffix = prime.samples[:, : round(LOOP_SECONDS * prime.sample_rate)]
    if not arguments.loop:
        clip = read_audio(arguments.suffix)
        if clip.sample_rate != prime.sample_rate:
            raise InvalidRequestError(
                f"the suffix {arguments.suffix} has {clip.sample_rate} Hz, "
                f"the prime has {prime.sample_rate} Hz"
            )
        suffix = as_many_channels(clip.samples, prime.samples.shape[0])
    least = 2 * _fade_samples(prime.sample_rate)
    if suffix.shape[1] < least:
        raise InvalidRequestError(
            f"what follows has {suffix.shape[1]} samples, at least {least} samples are needed"
        )
    return Following(suffix=suffix, loops=arguments.loop)


def _tempo_map(asked: Continuation) -> TempoMap:
    if asked.tempo_bpm is None:
        raise InvalidRequestError("bars need a tempo: give --tempo, none was given")
    numerator, denominator = asked.meter
    meter = parse_meter(f"{numerator}/{denominator}")
    return steady(asked.sample_rate, asked.tempo_bpm, meter, asked.prime_start_sample)


def _fade_samples(sample_rate: int) -> int:
    return round(FADE_SECONDS * sample_rate)
