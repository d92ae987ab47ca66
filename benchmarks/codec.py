"""Measures the codec of released size: speed against a plain loop, memory over a long file.

    python benchmarks/codec.py [--seconds 10] [--rounds 5] [--long-minutes 20] [--json]

Speed: seconds of audio per second of one thread's processor time (which other programs on the
machine disturb less than the clock), encoding all three levels and decoding each, in pieces, in
single precision and in bfloat16; beside it a plain loop over the whole signal in the style of the
published code (padded convolutions one after the other, single precision), in the same run, rounds
interleaved. Ratios are medians over rounds. Weights are random: speed does not depend on them.

Memory: a file of `--long-minutes` is encoded and decoded in a process of its own, in pieces, and
its peak is printed. Then a stretch in the middle is computed whole, with more around it than any
output reaches, and compared: one whole pass over such a file would need tens of gigabytes.

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
REACH_SAMPLES: Final = 2 * RATE
"""More than an output of any level sees on one side."""
TYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MEBIBYTE: Final = 2**20


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print a table or JSON; return 0."""
    arguments = _parser().parse_args(given)
    torch.set_num_threads(1)
    torch.set_grad_enabled(mode=False)
    if arguments.worker:
        sys.stdout.write(json.dumps(_long_file(arguments.long_minutes)) + "\n")
        return 0
    report = {
        "machine": {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]},
        "speed": _speeds(arguments.seconds, arguments.rounds),
        "long": _in_own_process(arguments.long_minutes) if arguments.long_minutes else None,
        "meta_5b_lyrics_s": _built_without_weights(),
    }
    sys.stdout.write((json.dumps(report, indent=1) if arguments.json else _as_text(report)) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the codec of released size.")
    parser.add_argument("--seconds", type=float, default=10.0, help="of audio (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved (%(default)s)")
    parser.add_argument("--long-minutes", type=float, default=20.0, help="0: no long file")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
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


def _in_own_process(minutes: float) -> dict[str, Any]:
    """Return what a fresh process needed for a long file."""
    command = [sys.executable, __file__, "--worker", "--long-minutes", str(minutes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def _long_file(minutes: float) -> dict[str, Any]:
    """Encode and decode a file in pieces; return times, the peak, and how far from the whole."""
    codec = random_codec()
    samples = int(minutes * 60 * RATE) // 128 * 128
    rows: list[dict[str, Any]] = []
    kept: list[tuple[Tensor, Tensor]] = []
    audio = torch.randn(1, samples, generator=torch.Generator().manual_seed(1)).mul_(0.3)
    inner = _compared(samples)
    for index in range(len(codec.levels)):
        level = codec.level(index)
        started = time.process_time()
        codes = _gathered(encode(level, audio.split(PIECE_SAMPLES, -1)), samples // level.hop)
        encoded = time.process_time()
        pieces = codes.split(PIECE_SAMPLES // level.hop, -1)
        made = _gathered(decode(level, pieces), samples)
        decoded = time.process_time()
        kept.append((codes, made[:, inner].clone()))
        rows.append(
            {
                "level": index,
                "encode": samples / RATE / (encoded - started),
                "decode": samples / RATE / (decoded - encoded),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    for index, (codes, made) in enumerate(kept):
        rows[index]["compared"] = _against_the_whole(codec.level(index), audio, codes, made)
    return {"minutes": samples / RATE / 60, "levels": rows}


def _compared(samples: int) -> slice:
    """Return the stretch in the middle that is also computed whole."""
    edge = REACH_SAMPLES // 128 * 128
    span = min(3 * edge, samples // 128 * 128)
    first = (samples - span) // 2 // 128 * 128
    return slice(first + edge, first + span - edge)


def _gathered(pieces: Iterator[Tensor], count: int) -> Tensor:
    """Return pieces in one tensor that was made before them."""
    made: Tensor | None = None
    start = 0
    for piece in pieces:
        made = torch.empty(1, count, dtype=piece.dtype) if made is None else made
        made[:, start : start + piece.shape[-1]] = piece
        start += piece.shape[-1]
    assert made is not None
    return made


def _against_the_whole(
    level: Level, audio: Tensor, codes: Tensor, made: Tensor
) -> dict[str, float]:
    """Return the largest differences in a stretch of the middle that is also computed whole."""
    inner, edge = _compared(audio.shape[-1]), REACH_SAMPLES // 128 * 128
    first, last = inner.start - edge, inner.stop + edge
    frames = slice(edge // level.hop, (inner.stop - first) // level.hop)
    pieces = torch.cat(list(_some_latents(level, audio[:, :last], first)), -1)
    own = codes[:, first // level.hop : last // level.hop]
    latents = level.latents(audio[:, first:last])
    rendered = level.decode(own)[:, edge : inner.stop - first]
    chosen = level.quantizer.encode(latents[..., frames])
    return {
        "latent_difference": float((pieces - latents)[..., frames].abs().max()),
        "audio_difference": float((rendered - made).abs().max()),
        "codes_that_differ": int((chosen != own[:, frames]).sum()),
        "compared_s": (inner.stop - inner.start) / RATE,
    }


def _some_latents(level: Level, audio: Tensor, first: int) -> Iterator[Tensor]:
    """Yield the latents from a sample on of a run in pieces that starts well before it."""
    start = max(first - REACH_SAMPLES // 128 * 128, 0)
    skip = (first - start) // level.hop
    for latents in encode_latents(level, audio[:, start:].split(PIECE_SAMPLES, -1)):
        kept = latents[..., skip:]
        skip = max(skip - latents.shape[-1], 0)
        if kept.shape[-1]:
            yield kept


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
    if report["long"]:
        lines.append(f"{report['long']['minutes']:.1f} minutes in pieces, float32:")
        lines += [_long_row(row) for row in report["long"]["levels"]]
    lines.append(f"5b_lyrics built without weights in {report['meta_5b_lyrics_s']:.1f} s")
    return "\n".join(lines)


def _long_row(row: dict[str, Any]) -> str:
    compared = row["compared"]
    return (
        f"  level {row['level']}: encode {row['encode']:.1f}x, decode {row['decode']:.1f}x, "
        f"peak {row['peak_mb']:.0f} MiB; in {compared['compared_s']:.1f} s of the middle latents "
        f"differ from the whole by {compared['latent_difference']:.1e}, audio by "
        f"{compared['audio_difference']:.1e}, codes: {compared['codes_that_differ']}"
    )


if __name__ == "__main__":
    sys.exit(main())
