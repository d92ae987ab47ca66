"""How cost grows with length, for `fast.py --parts long`.

RTF of results of 10 s, 1 min and 10 min over gRPC, with notes told to the end and with nothing
told, and peak memory after each. The short ones are made before and after the long one, each with
a prime of its own, and medians taken. `cpu` is processor time of the server; what a further
second costs, from 10 s to 1 min and from there to 10 min, leaves out the prime.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from serving import Server, Steps, peak_rss_mb, serving, unheard_request

from bridge.client import Client
from bridge.commands.demo import Example
from bridge.ports import Conditions, MidiPart

LONG_SECONDS: Final = (10, 60, 10, 60, 10, 600, 10, 60, 10)
"""In this order, so that a machine that grows slower or faster meanwhile favours none."""


def measured(example: Example, model: Path | None, say: Steps) -> dict[str, Any]:
    """Return RTF, processor time and memory by length."""
    found: dict[str, Any] = {}
    for told in ("nothing told", "notes told"):
        runs: dict[int, list[dict[str, float]]] = defaultdict(list)
        with serving(model) as server, Client(server.address) as client:
            for number, seconds in enumerate(LONG_SECONDS):
                say(f"long: {told}, {seconds} s")
                asked = unheard_request(example, seconds * example.clip.sample_rate, number)
                conditions = Conditions()
                if told == "notes told":
                    conditions = Conditions(midi=_endless(example, seconds))
                asked = replace(asked, conditions=conditions)
                before_s = _processor_s(server)
                blocks = client.render(asked).blocks
                after_first_s = blocks[-1].seconds - blocks[0].seconds
                made_s = seconds - blocks[0].num_samples / asked.sample_rate
                runs[seconds].append(
                    {
                        "rtf": seconds / blocks[-1].seconds,
                        "rtf_after_first": made_s / after_first_s,
                        "cpu_s": _processor_s(server) - before_s,
                        "peak_rss_mb": peak_rss_mb(server.process),
                    }
                )
        lengths = sorted(runs)
        medians = {length: _medians(runs[length]) for length in lengths}
        for length, row in medians.items():
            found[f"{told}, {length} s"] = {**row, "repeats": len(runs[length])}
        for short, long in pairwise(lengths):
            more_s = medians[long]["cpu_s"] - medians[short]["cpu_s"]
            found[f"{told}, a second more, {short} to {long} s"] = {
                "cpu_ms": 1000 * more_s / (long - short)
            }
    return found


def _endless(example: Example, seconds: int) -> MidiPart:
    """Return the example's notes, the bars after its splice again and again for so long."""
    part, splice = example.part, example.splice_sample
    length = part.end_sample - splice
    later = [note for note in part.notes if note.start_sample >= splice]
    turns = -(-seconds * example.clip.sample_rate // length)
    moved = [
        replace(
            note,
            start_sample=note.start_sample + turn * length,
            end_sample=note.end_sample + turn * length,
        )
        for turn in range(1, turns)
        for note in later
    ]
    end = part.end_sample + (turns - 1) * length
    return replace(part, notes=(*part.notes, *moved), end_sample=end)


def _processor_s(server: Server) -> float:
    used = server.process.cpu_times()
    return used.user + used.system


def _medians(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.median([row[name] for row in rows])) for name in rows[0]}


def lines_of(found: dict[str, Any]) -> list[str]:
    """Return what was found, line by line."""
    return [
        f"{length}: {row['cpu_ms']:.1f} ms of processor time"
        if "cpu_ms" in row
        else f"{length}: {row['rtf']:.2f}x, after the first audio {row['rtf_after_first']:.2f}x, "
        f"cpu {row['cpu_s']:.2f} s, peak {row['peak_rss_mb']:.0f} MiB, {row['repeats']} times"
        for length, row in found.items()
    ]
