"""`jukebox-bridge demo`: continue the packaged example, its notes told and freely; show both."""

import argparse
import os
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import numpy as np

from bridge import report, splice
from bridge.app import Load
from bridge.audio_file import AudioClip, Provenance, read_audio, write_audio
from bridge.client import Continuation, Result
from bridge.commands.console import progress_bar, say
from bridge.commands.serving import add_server_arguments, client_of
from bridge.errors import InvalidRequestError, NotReadyError
from bridge.midi_file import read_midi, read_tempo_map
from bridge.ports import Audio, Conditions, MidiPart, Plan
from bridge.report_picture import write_picture
from bridge.transport import TempoMap

BARS: Final = 4
DEFAULT_SEED: Final = 1
FREE: Final = "free"
"""The candidate that goes on from the recording alone."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `demo` takes."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the results")
    parser.add_argument(
        "--seed", type=int, default=DEFAULT_SEED, help="another one, another music (%(default)s)"
    )
    add_server_arguments(parser)


def run(arguments: argparse.Namespace, load: Load | None = None) -> int:
    """Continue the example by four bars, write audio, report and picture; return 0.

    Raises:
        BridgeError: The folder, the seed or the server; nothing is written then.
    """
    out: Path = arguments.out
    _check_out(out)
    example = load_example()
    with progress_bar("continuing the example by 4 bars") as bar:
        bar.stage("loading the model")
        with client_of(arguments, load) as client:
            asked = _continuation(example, arguments.seed)
            result = client.render(asked, bar.show)
            bar.stage("once more, no notes told")
            free = client.render(replace(asked, conditions=Conditions()), bar.show)
            peak_mb = report.peak_rss_mb()
        bar.stage("measuring, drawing, writing")
        facts = _write(out, example, (result, free), peak_mb)
    say(_as_text(out, facts))
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """The packaged section: four bars of audio, and the notes of eight bars from their start on."""

    clip: AudioClip
    part: MidiPart
    tempo_map: TempoMap

    @property
    def splice_sample(self) -> int:
        """Return the sample at which the recording ends."""
        return self.clip.samples.shape[1]

    @property
    def expected_samples(self) -> int:
        """Return how long the continuation must be."""
        return self.tempo_map.num_samples_of_bars(BARS, self.splice_sample)

    @property
    def scene(self) -> report.Scene:
        """Return what the continuation has to fit."""
        return report.Scene(
            prime=self.clip.samples,
            sample_rate=self.clip.sample_rate,
            splice_sample=self.splice_sample,
            bar_samples=self.tempo_map.num_samples_of_bars(1, self.splice_sample),
            notes=self.part.notes,
        )


def load_example() -> Example:
    """Return the section that is packaged."""
    data = files("bridge") / "data"
    with as_file(data / "prime.flac") as prime, as_file(data / "section.mid") as midi:
        clip = read_audio(prime)
        return Example(
            clip=clip,
            part=read_midi(midi, clip.sample_rate),
            tempo_map=read_tempo_map(midi, clip.sample_rate),
        )


def _check_out(out: Path) -> None:
    """Refuse early what could not be written after minutes of work."""
    if out.exists() and not out.is_dir():
        raise InvalidRequestError(f"--out is {out}, which is no folder")
    folder = next(parent for parent in (out, *out.absolute().parents) if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise NotReadyError(f"--out is {out}, nothing can be written in {folder}")


def _continuation(example: Example, seed: int) -> Continuation:
    meter = example.tempo_map.meters[0]
    return Continuation(
        prime=example.clip.samples,
        sample_rate=example.clip.sample_rate,
        bars=BARS,
        tempo_bpm=float(example.tempo_map.tempos[0].bpm),
        meter=(meter.numerator, meter.denominator),
        conditions=Conditions(midi=example.part),
        plan=Plan(seed=seed),
        draw_seed=False,
    )


def _write(
    out: Path, example: Example, results: tuple[Result, Result], peak_mb: float
) -> dict[str, Any]:
    """Return the facts of the report after all files are written: notes told, and free."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotReadyError(f"--out is {out}, which cannot be made: {error.strerror}") from error
    scene, (result, free) = example.scene, results
    joined = _joined(scene, result)
    _write_audio(out / "prime.wav", scene.prime, 0, scene, result)
    _write_audio(out / "continuation.wav", result.audio, scene.splice_sample, scene, result)
    _write_audio(out / "joined.wav", joined, 0, scene, result)
    _write_audio(out / "free.wav", _joined(scene, free), 0, scene, free)
    candidates = {**report.with_toys(result.audio, scene), FREE: free.audio}
    table = report.compare(candidates, scene)
    write_picture(out / "report.png", joined, candidates, scene, table)
    facts: dict[str, Any] = {
        **report.facts(result.accepted, result.done),
        **_speed(result, scene.sample_rate),
        "sample_rate": scene.sample_rate,
        "prime_samples": scene.prime.shape[1],
        "continuation_samples": result.audio.shape[1],
        "expected_samples": example.expected_samples,
        "peak_rss_mb": peak_mb,
        "figures": table,
        "figures_of_the_prime": report.of_prime(scene),
        "meanings": report.meanings(),
    }
    report.write_json(out / "report.json", facts)
    return facts


def _speed(result: Result, sample_rate: int) -> dict[str, float]:
    """Return what the client measured, from the last request byte it sent on.

    RTF is seconds of audio per second until the last audio byte came.
    """
    seconds = result.audio.shape[1] / sample_rate
    return {
        "rtf": seconds / result.blocks[-1].seconds,
        "first_audio_ms": 1000 * result.blocks[0].seconds,
    }


def _joined(scene: report.Scene, result: Result) -> Audio:
    lead_in = result.done.lead_in
    if not lead_in.size:
        lead_in = np.zeros((result.audio.shape[0], 0), np.float32)
    fade_samples = round(splice.FADE_SECONDS * scene.sample_rate)
    return splice.joined(scene.prime, lead_in, result.audio, fade_samples)


def _write_audio(
    path: Path, audio: Audio, start_sample: int, scene: report.Scene, result: Result
) -> None:
    accepted, done = result.accepted, result.done
    provenance = Provenance(
        model=accepted.model,
        fingerprint=accepted.fingerprint,
        seed=accepted.seed,
        request_id=accepted.request_id,
        licence=done.licence,
        take_id=done.take_id,
    )
    clip = AudioClip(samples=audio, sample_rate=scene.sample_rate)
    write_audio(path, clip, start_sample, provenance, overwrite=True)


def _as_text(out: Path, facts: dict[str, Any]) -> str:
    seconds = facts["continuation_samples"] / facts["sample_rate"]
    advice = [facts["advice"]] if facts["advice"] else []
    return "\n".join(
        [
            f"{facts['continuation_samples']} samples ({seconds:.2f} s) after sample "
            f"{facts['prime_samples']}, seed {facts['seed']}, model {facts['model']}",
            f"RTF {facts['rtf']:.2f} (1 is real time, higher is faster), "
            f"first audio after {facts['first_audio_ms']:.0f} ms, "
            f"peak memory {facts['peak_rss_mb']:.0f} MiB",
            *advice,
            report.as_text(facts["figures"]),
            f"listen to {out / 'joined.wav'} (notes told) and {out / 'free.wav'} (none told), "
            f"look at {out / 'report.png'}",
        ]
    )
