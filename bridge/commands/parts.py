"""What `continue` and `generate` share: notes, stems and the part wanted, as files."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bridge.audio_file import AudioClip, read_audio
from bridge.errors import InvalidRequestError
from bridge.midi_file import read_midi
from bridge.ports import Audio, MidiPart, StemKind
from bridge.request import MAX_PRIME_SECONDS, MAX_RESULT_SECONDS


def add_part_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare notes, stems and the part wanted."""
    parser.add_argument("--midi", type=Path, metavar="MID", help="its time 0 is the prime's start")
    parser.add_argument(
        "--stem",
        type=_stem,
        action="append",
        default=[],
        metavar="KIND=WAV",
        help=f"audio to fit, from the prime's start on; kinds: {', '.join(StemKind)}; repeatable",
    )
    parser.add_argument(
        "--target",
        default=StemKind.MIX,
        choices=list(StemKind),
        help="the part wanted; beside stems the prime is this part alone",
    )


def part_files(arguments: argparse.Namespace) -> tuple[Path, ...]:
    """Return the files that are read."""
    midi = () if arguments.midi is None else (arguments.midi,)
    return (*midi, *(path for _, path in arguments.stem))


def midi_from(
    arguments: argparse.Namespace, sample_rate: int, start_sample: int
) -> MidiPart | None:
    """Return the notes, None if none are given.

    Raises:
        NotFoundError: There is no such file.
        InvalidRequestError: It is no Standard MIDI file, or a damaged one.
    """
    if arguments.midi is None:
        return None
    return read_midi(arguments.midi, sample_rate, start_sample)


def stems_from(arguments: argparse.Namespace, prime: AudioClip) -> dict[StemKind, Audio]:
    """Return the stems in the prime's format.

    Raises:
        InvalidRequestError: Two of a kind, or another rate than the prime's.
    """
    given: Sequence[tuple[StemKind, Path]] = arguments.stem
    stems: dict[StemKind, Audio] = {}
    for kind, path in given:
        if kind in stems:
            raise InvalidRequestError(f"2 stems of kind {kind} are given, 1 is allowed")
        clip = read_audio(path, MAX_PRIME_SECONDS + MAX_RESULT_SECONDS)
        if clip.sample_rate != prime.sample_rate:
            raise InvalidRequestError(
                f"the {kind} stem {path} has {clip.sample_rate} Hz, "
                f"the prime has {prime.sample_rate} Hz"
            )
        stems[kind] = as_many_channels(clip.samples, prime.samples.shape[0])
    return stems


def _stem(text: str) -> tuple[StemKind, Path]:
    kind, equals, path = text.partition("=")
    if not equals or not path or kind not in list(StemKind):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not KIND=WAV with KIND one of {', '.join(StemKind)}"
        )
    return StemKind(kind), Path(path)


def as_many_channels(audio: Audio, num_channels: int) -> Audio:
    """Return a stem in the prime's format; the model hears its mid, which stays the same."""
    if audio.shape[0] == num_channels:
        return audio
    mid = audio.mean(axis=0, keepdims=True, dtype=audio.dtype)
    return mid.repeat(num_channels, axis=0)
