"""What the stages of the model cost on one thread, against what this machine can do at most.

    python benchmarks/stages.py [--model DIR]

A part of `fast.py`. Seconds of audio made per second of each stage (RTF), and operations and bytes
that one call's tensors move: bytes count every operator's inputs and outputs, weights included, as
if there were no cache. The peaks are measured in the same run: a product of two large matrices, and
reading a buffer far larger than the caches.
"""

import argparse
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bridge.commands.demo import Example, load_example
from bridge.ports import Quality
from bridge.stereo import mid_of
from model.bundle import Bundle
from model.generator import StreamingGenerator, load_generator
from model.serving import PackedLinear
from model.state import TimelineState
from model.traced import Traced
from model.values import SamplingPlan, nothing_known

PRIME_SECONDS: Final = 4
DECODED_BLOCKS: Final = 14
LEAST_BLOCKS: Final = 6
ENOUGH_SECONDS: Final = 8.0
"""After which a quality is measured as soon as the least blocks were decoded."""
MADE: Final = "made"
"""Fast, and nothing of the prime sounds again: student and finisher make it."""
PLANS: Final = {
    Quality.FAST: SamplingPlan(seed=1),
    MADE: SamplingPlan(seed=1, reprise=False),
    Quality.EXACT: SamplingPlan(seed=1, teacher=True, exact=True),
    Quality.TEACHER: SamplingPlan(seed=1, teacher=True),
}
COUNTED_CALL: Final = 6
"""The first ones may have less to look back on, and blocks at the splice are made in two ways."""
READ_BYTES: Final = 256 * 2**20
PRODUCT_SIZE: Final = 1024


Work: TypeAlias = Callable[[StreamingGenerator], Any]
"""A call of the model."""


class Traffic(TorchDispatchMode):
    """Counts what operators do: floating-point operations, and bytes in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.nbytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 - as torch calls it
        """Run an operator, and count it; views move nothing."""
        del types
        given = kwargs or {}
        made = func(*args, **given)
        if not func.is_view:
            counted = flop_registry.get(func.overloadpacket)
            self.flops += 0 if counted is None else counted(*args, **given, out_val=made)
            self.nbytes += sum(part.nbytes for part in _tensors((args, made)))
        return made


@dataclass(slots=True, kw_only=True)
class Stage:
    """Calls of one stage: how long they took, how much audio they made, what one of them did."""

    calls: int = 0
    seconds: list[float] = field(default_factory=list[float])
    audio_s: list[float] = field(default_factory=list[float])
    traffic: Traffic = field(default_factory=Traffic)

    def as_row(self, name: str) -> dict[str, Any]:
        """Return what was measured."""
        audio_s = sum(self.audio_s)
        return {
            "stage": name,
            "rtf": audio_s / sum(self.seconds) if audio_s else None,
            "median_ms": 1000 * float(np.median(self.seconds)),
            "gflop": self.traffic.flops / 1e9,
            "gb": self.traffic.nbytes / 1e9,
        }


class Meter:
    """Times calls of the model by stage, and counts the work of one call of each.

    Counted is a model that remembers nothing: what was asked once it would not do again.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.stages: dict[str, Stage] = {}
        self.model = StreamingGenerator(bundle)
        self._packed_flops = 0
        for part in (bundle.student, bundle.composer, bundle.top, *bundle.upsamplers):
            for module in part.modules():
                if isinstance(module, PackedLinear):
                    module.register_forward_hook(self._count_packed)

    def call(self, work: Work, stage: Callable[[Any], tuple[str, float]]) -> Any:  # noqa: ANN401 - what the work gives
        """Return what a call gives; `stage` names it and the seconds of audio that it made."""
        begun = time.perf_counter()
        made = work(self.model)
        taken = time.perf_counter() - begun
        name, audio_s = stage(made)
        found = self.stages.setdefault(name, Stage())
        found.calls += 1
        if found.calls == COUNTED_CALL:
            # Once more, counted: states are values, so nothing is made twice.
            afresh, self._packed_flops = StreamingGenerator(self.model.bundle), 0
            with _layer_by_layer(), found.traffic:
                work(afresh)
            found.traffic.flops += self._packed_flops
        if found.calls > 1:
            found.seconds.append(taken)
            found.audio_s.append(audio_s)
        return made

    def rows(self) -> list[dict[str, Any]]:
        """Return what was measured, a row a stage."""
        timed = {name: stage for name, stage in self.stages.items() if stage.calls >= COUNTED_CALL}
        return [stage.as_row(name) for name, stage in timed.items()]

    def _count_packed(self, module: Any, given: Any, made: Tensor) -> None:  # noqa: ANN401 - a hook
        del module
        self._packed_flops += 2 * given[0].numel() * made.shape[-1]


@contextmanager
def _layer_by_layer() -> Generator[None]:
    """Run networks that are kept as graphs as their layers meanwhile: those can be counted."""
    as_graph = Traced.__call__
    Traced.__call__ = lambda self, given: self.network(given)
    try:
        yield
    finally:
        Traced.__call__ = as_graph


def measured(example: Example, model: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the stages of every quality, and the peaks of this machine."""
    torch.set_grad_enabled(False)
    generator = load_generator(model)
    say("stages: peaks of this machine")
    found: dict[str, Any] = {"peaks": peaks(), "fingerprint": generator.bundle.card.fingerprint}
    rate = generator.bundle.config.codec.sample_rate
    clip = example.clip
    audio = mid_of(clip.samples[:, -PRIME_SECONDS * clip.sample_rate :])
    prime = soxr.resample(audio, clip.sample_rate, rate).astype(np.float32)
    for quality, plan in PLANS.items():
        say(f"stages: {quality}")
        meter = Meter(generator.bundle)
        _make(meter, prime, plan)
        found[quality] = meter.rows()
    return found


def lines_of(found: dict[str, Any]) -> list[str]:
    """Return what was measured as text."""
    peaks_ = found["peaks"]
    best = max(peaks_["float32_gflop_s"], peaks_["bfloat16_gflop_s"])
    lines = [
        f"model {found['fingerprint']}; one thread does {peaks_['float32_gflop_s']:.0f} GFLOP/s in "
        f"float32, {peaks_['bfloat16_gflop_s']:.0f} in bfloat16, and reads "
        f"{peaks_['read_gb_s']:.1f} GB/s"
    ]
    for quality in PLANS:
        for row in found[quality]:
            seconds = row["median_ms"] / 1000
            rtf = "" if row["rtf"] is None else f"{row['rtf']:.2f}x"
            lines.append(
                f"{quality:8}{row['stage']:8}{rtf:>9}{row['median_ms']:8.1f} ms a call of "
                f"{row['gflop']:6.2f} GFLOP, {row['gb']:6.3f} GB: "
                f"{row['gflop'] / seconds / best:5.1%} of the best peak, "
                f"{row['gb'] / seconds / peaks_['read_gb_s']:4.0%} of reads"
            )
    return lines


def peaks() -> dict[str, float]:
    """Return what one thread of this machine can do at most, as far as PyTorch gets it out."""
    buffer = torch.randn(READ_BYTES // 4)
    found = {"read_gb_s": max(_rate(partial(torch.sum, buffer), READ_BYTES) for _ in range(4))}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        one = torch.randn(PRODUCT_SIZE, PRODUCT_SIZE).to(dtype)
        product = partial(torch.matmul, one, one)
        found[f"{name}_gflop_s"] = max(_rate(product, 2 * PRODUCT_SIZE**3) for _ in range(6))
    return found


def _make(meter: Meter, prime: np.ndarray[Any, Any], plan: SamplingPlan) -> None:
    """Hear a prime, generate and decode, chunk by chunk."""
    generator = meter.model
    chunk, rate = generator.grid.chunk_samples, generator.bundle.config.codec.sample_rate
    state = generator.open(nothing_known(), 0)
    for first in range(0, len(prime) // chunk * chunk, chunk):
        block = prime[first : first + chunk]
        state = meter.call(_feed(state, block), _always("hear", chunk / rate))
    decoded, end_s = 0, time.monotonic() + ENOUGH_SECONDS
    while decoded < (DECODED_BLOCKS if time.monotonic() < end_s else LEAST_BLOCKS):
        before = state
        state = meter.call(_step(before, plan), partial(_stepped, before, rate))[0].state
        size = generator.block_samples
        for block in range(before.decodable_sample // size, state.decodable_sample // size):
            meter.call(_decode(state, block), _always("decode", size / rate))
            decoded += 1


def _feed(state: TimelineState, audio: np.ndarray[Any, Any]) -> Work:
    return lambda model: model.feed(state, audio)


def _step(state: TimelineState, plan: SamplingPlan) -> Work:
    return lambda model: model.step([state], plan)


def _decode(state: TimelineState, block: int) -> Work:
    return lambda model: model.decode(state, block)


def _always(name: str, audio_s: float) -> Callable[[Any], tuple[str, float]]:
    return lambda _: (name, audio_s)


def _stepped(before: TimelineState, rate: int, steps: list[Any]) -> tuple[str, float]:
    """Return which stage a step was, and the seconds that it settled at its level."""
    after, phase = steps[0].state, steps[0].phase
    if not after.by_teacher or phase == "notes":
        return phase, (after.settled_sample - before.settled_sample) / rate
    pairs = zip(before.lower, after.lower, strict=False)
    grown = [(len(b.codes) - len(a.codes)) * a.hop_samples / rate for a, b in pairs]
    # What reads codes that are known already makes no audio.
    return (phase, max(grown)) if any(grown) else ("read", 0.0)


def _rate(work: Callable[[], Any], amount: int) -> float:
    begun = time.perf_counter()
    work()
    return amount / 1e9 / (time.perf_counter() - begun)


def _tensors(value: Any) -> list[Tensor]:  # noqa: ANN401 - nested as operators nest
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [part for one in value for part in _tensors(one)]
    return []


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the model's stages on one thread.")
    parser.add_argument("--model", type=Path, metavar="DIR", help="weights; else the shipped ones")
    found = measured(load_example(), parser.parse_args().model, lambda words: None)
    sys.stdout.write("\n".join(lines_of(found)) + "\n")


if __name__ == "__main__":
    main()
