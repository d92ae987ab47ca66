"""Measures the codec of released size: speed against a plain loop, memory over a long file.

    python benchmarks/codec.py [--seconds 10] [--rounds 5] [--long-minutes 20] [--json]

Speed: seconds of audio per second of one thread's processor time (which other programs on the
machine disturb less than the clock), encoding all three levels and decoding each, in pieces, in
single precision and in bfloat16; beside it a plain loop over the whole signal in the style of the
published code (padded convolutions one after the other, single precision), in the same run, rounds
interleaved. Ratios are medians over rounds. Weights are random: speed does not depend on them.

Memory: a file of `--long-minutes` is encoded and decoded in pieces, each level in a process of its
own, whose peak is printed. Then all of it is computed again by the plain modules, in stretches with
more around them than any output sees, which is what one pass over the whole would give; that pass
itself would need tens of gigabytes. It exits with 1 where latents or audio differ by more than 1e-5
anywhere, or the peak is above 1.5 GB.

Also prints how long the full 5b_lyrics stack takes to be built without weights.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from model.checkpoint import empty_module
from model.chunked import decode, encode, encode_latents
from model.codec import Codec, Level
from model.released import MODELS, RELEASED, VQVAE

RATE: Final = 44_100
PIECE_SAMPLES: Final = 44_032
"""About a second, whole frames of every level."""
STRETCH_SAMPLES: Final = 20 * PIECE_SAMPLES
"""So much is computed whole, for comparison."""
REACH_SAMPLES: Final = 2 * PIECE_SAMPLES
"""More than an output of any level sees on one side."""
MOST_DIFFERENCE: Final = 1e-5
MOST_BYTES: Final = 1.5e9
TYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MEBIBYTE: Final = 2**20


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print a table or JSON; return 1 where a long file broke a bound."""
    arguments = _parser().parse_args(given)
    torch.set_num_threads(1)
    torch.set_grad_enabled(mode=False)
    if arguments.worker is not None:
        row = _long_file(arguments.long_minutes, arguments.worker)
        sys.stdout.write(json.dumps(row) + "\n")
        return 0
    report = {
        "machine": {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]},
        "speed": _speeds(arguments.seconds, arguments.rounds),
        "long": [
            _in_own_process(arguments.long_minutes, index)
            for index in range(len(VQVAE.levels))
            if arguments.long_minutes
        ],
        "meta_5b_lyrics_s": _built_without_weights(),
    }
    sys.stdout.write((json.dumps(report, indent=1) if arguments.json else _as_text(report)) + "\n")
    return 0 if all(_holds(row) for row in report["long"]) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the codec of released size.")
    parser.add_argument("--seconds", type=float, default=10.0, help="of audio (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved (%(default)s)")
    parser.add_argument("--long-minutes", type=float, default=20.0, help="0: no long file")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", type=int, help="one level's long file alone, as JSON")
    return parser


def random_codec() -> Codec:
    """Return a codec of released size whose every number is random."""
    torch.manual_seed(0)
    codec = Codec(VQVAE).eval()
    for index in range(len(codec.levels)):
        level = codec.level(index)
        level.quantizer.codebook.normal_(0, 0.3)
    return codec


def _speeds(seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Return real-time factors: ours by type, the plain loop's, and the median ratios."""
    codec = random_codec()
    audio = torch.randn(1, int(seconds * RATE) // 128 * 128) * 0.3
    works = {"encode all levels": _encoders(codec, audio)}
    for index in range(len(codec.levels)):
        works[f"decode level {index}"] = _decoders(codec, index, audio.shape[-1])
    rows: list[dict[str, Any]] = []
    for what, (plain, ours) in works.items():
        taken: dict[str, list[float]] = {name: [] for name in ("plain", *TYPES)}
        for _ in range(rounds):
            for name in taken:
                for level in range(len(codec.levels)):
                    codec.level(level).compute_in(TYPES.get(name, torch.float32))
                taken[name].append(_processor_seconds(plain if name == "plain" else ours))
        length = audio.shape[-1] / RATE
        speeds = {name: length / sorted(times)[rounds // 2] for name, times in taken.items()}
        ratios = {
            name: sorted(a / b for a, b in zip(taken["plain"], taken[name], strict=True))[
                rounds // 2
            ]
            for name in TYPES
        }
        rows.append({"what": what, "speeds": speeds, "ratios": ratios})
    return rows


def _processor_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _encoders(codec: Codec, audio: Tensor) -> tuple[Callable[[], object], Callable[[], object]]:
    levels = [codec.level(index) for index in range(len(codec.levels))]
    return (
        lambda: [level.quantizer.encode(_plain_latents(level, audio)) for level in levels],
        lambda: [list(encode(level, audio.split(PIECE_SAMPLES, -1))) for level in levels],
    )


def _decoders(
    codec: Codec, index: int, samples: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    level = codec.level(index)
    codes = torch.randint(0, VQVAE.codebook_size, (1, samples // level.hop))
    pieces = codes.split(PIECE_SAMPLES // level.hop, -1)
    return (
        lambda: _plain_audio(level, codes),
        lambda: list(decode(level, pieces)),
    )


def _plain_latents(level: Level, audio: Tensor) -> Tensor:
    """Encode as a straight program would: one padded convolution of everything after the other."""
    x = audio[:, None]
    for block in level.encoder:
        for down, stack in zip(block.downs, block.stacks, strict=True):
            stride = down.conv.stride[0]
            x = F.conv1d(x, down.conv.weight, down.conv.bias, stride, stride // 2)
            x = _plain_stack(stack, x)
        x = F.conv1d(x, block.out.conv.weight, block.out.conv.bias, padding=1)
    return x


def _plain_audio(level: Level, codes: Tensor) -> Tensor:
    x = level.quantizer.decode(codes).contiguous()
    for block in level.decoder:
        x = F.conv1d(x, block.enter.conv.weight, block.enter.conv.bias, padding=1)
        for stack, up in zip(block.stacks, block.ups, strict=True):
            x = _plain_stack(stack, x)
            stride = up.conv.stride[0]
            x = F.conv_transpose1d(x, up.conv.weight, up.conv.bias, stride, stride // 2)
    return F.conv1d(x, level.out.conv.weight, level.out.conv.bias, padding=1)


def _plain_stack(stack: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - a list of modules
    for unit in stack:
        conv = unit.dilated.conv
        dilation = conv.dilation[0]
        hidden = F.conv1d(F.relu(x), conv.weight, conv.bias, padding=dilation, dilation=dilation)
        x = x + F.conv1d(F.relu(hidden), unit.pointwise.weight, unit.pointwise.bias)
    return x


def _in_own_process(minutes: float, index: int) -> dict[str, Any]:
    """Return what a fresh process needed for one level of a long file."""
    command = [sys.executable, __file__, "--worker", str(index), "--long-minutes", str(minutes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def _long_file(minutes: float, index: int) -> dict[str, Any]:
    """Encode and decode a file in pieces; return times, the peak, and how far from the whole."""
    level = random_codec().level(index)
    samples = int(minutes * 60 * RATE) // 128 * 128
    audio = torch.randn(1, samples, generator=torch.Generator().manual_seed(1)).mul_(0.3)
    started = time.process_time()
    codes = _gathered(encode(level, audio.split(PIECE_SAMPLES, -1)), samples // level.hop)
    encoded = time.process_time()
    made = _gathered(decode(level, codes.split(PIECE_SAMPLES // level.hop, -1)), samples)
    decoded = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "level": index,
        "minutes": samples / RATE / 60,
        "encode": samples / RATE / (encoded - started),
        "decode": samples / RATE / (decoded - encoded),
        "peak_mib": peak,
        **_encoding_differs(level, audio, codes),
        "audio_difference": _audio_difference(level, codes, made),
    }


def _gathered(pieces: Iterator[Tensor], count: int) -> Tensor:
    """Return pieces in one tensor that was made before them."""
    made: Tensor | None = None
    start = 0
    for piece in pieces:
        made = torch.empty(1, count, dtype=piece.dtype) if made is None else made
        made[:, start : start + piece.shape[-1]] = piece
        start += piece.shape[-1]
    assert made is not None
    assert start == count
    return made


def _encoding_differs(level: Level, audio: Tensor, codes: Tensor) -> dict[str, float]:
    """Return how far latents in pieces are from the whole's, anywhere, and codes that differ."""
    furthest, others, first = 0.0, 0, 0
    for pieces in encode_latents(level, audio.split(STRETCH_SAMPLES, -1)):
        last = first + pieces.shape[-1]
        around, inner = _around(first * level.hop, last * level.hop, audio.shape[-1])
        frames = slice(inner.start // level.hop, inner.stop // level.hop)
        whole = level.latents(audio[:, around])[..., frames]
        furthest = max(furthest, float((pieces - whole).abs().max()))
        for start in range(0, pieces.shape[-1], 4096):
            some = level.quantizer.encode(whole[..., start : start + 4096])
            own = codes[:, first + start : first + start + some.shape[-1]]
            others += int((some != own).sum())
        first = last
    assert first == codes.shape[-1]
    return {"latent_difference": furthest, "codes_that_differ": others, "codes": first}


def _audio_difference(level: Level, codes: Tensor, made: Tensor) -> float:
    """Return how far audio in pieces is from the whole's, anywhere."""
    furthest = 0.0
    for first in range(0, made.shape[-1], STRETCH_SAMPLES):
        last = min(first + STRETCH_SAMPLES, made.shape[-1])
        around, inner = _around(first, last, made.shape[-1])
        whole = level.decode(codes[:, around.start // level.hop : around.stop // level.hop])
        furthest = max(furthest, float((whole[:, inner] - made[:, first:last]).abs().max()))
    return furthest


def _around(first: int, last: int, samples: int) -> tuple[slice, slice]:
    """Return a stretch with all that its outputs see, and where it lies in that."""
    start = max(0, first - REACH_SAMPLES)
    return slice(start, min(samples, last + REACH_SAMPLES)), slice(first - start, last - start)


def _holds(row: dict[str, Any]) -> bool:
    """Return whether a level's long file kept the promised bounds."""
    near = max(row["latent_difference"], row["audio_difference"]) <= MOST_DIFFERENCE
    return near and row["peak_mib"] * MEBIBYTE < MOST_BYTES


def _built_without_weights() -> float:
    started = time.monotonic()
    for name in MODELS["5b_lyrics"].values():
        empty_module(RELEASED[name])
    return time.monotonic() - started


def _as_text(report: dict[str, Any]) -> str:
    machine = report["machine"]
    lines = [
        f"{machine['cores']} cores, load average {machine['load']:.1f}; times real time on one "
        "thread's processor time, in brackets the median ratio to the plain loop",
        f"{'':20}{'plain':>8}{'float32':>18}{'bfloat16':>18}",
    ]
    for row in report["speed"]:
        cells = [f"{row['speeds'][name]:.1f} ({row['ratios'][name]:.1f}x)" for name in TYPES]
        lines.append(f"{row['what']:20}{row['speeds']['plain']:>8.1f}{cells[0]:>18}{cells[1]:>18}")
    lines += [_long_row(row) for row in report["long"]]
    lines.append(f"5b_lyrics built without weights in {report['meta_5b_lyrics_s']:.1f} s")
    return "\n".join(lines)


def _long_row(row: dict[str, Any]) -> str:
    return (
        f"{row['minutes']:.1f} minutes in pieces at level {row['level']}: encode "
        f"{row['encode']:.1f}x, decode {row['decode']:.1f}x, peak {row['peak_mib']:.0f} MiB; "
        f"nowhere further from the whole than {row['latent_difference']:.1e} in latents and "
        f"{row['audio_difference']:.1e} in audio; {row['codes_that_differ']} of {row['codes']} "
        f"codes differ: {'holds' if _holds(row) else 'DOES NOT HOLD'}"
    )


if __name__ == "__main__":
    sys.exit(main())
