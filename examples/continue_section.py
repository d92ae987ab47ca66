"""Continues a recorded section by four bars, through a running server.

jukebox-bridge serve &
python examples/continue_section.py section.wav 120 continued.wav
"""

import argparse
from pathlib import Path

from bridge.audio_file import AudioClip, Provenance, read_audio, write_audio
from bridge.client import DEFAULT_ADDRESS, Client, Continuation
from bridge.request import Progress


def main(arguments: list[str] | None = None) -> None:
    """Continue the file as the arguments say."""
    parser = argparse.ArgumentParser(description="Continue a recorded section by four bars.")
    parser.add_argument("section", type=Path, help="WAV, AIFF or FLAC that ends where to go on")
    parser.add_argument("tempo_bpm", type=float, help="quarter notes a minute")
    parser.add_argument("out", type=Path, help="WAV to write: the four bars after the section")
    parser.add_argument("--server", default=DEFAULT_ADDRESS)
    options = parser.parse_args(arguments)

    section = read_audio(options.section)
    continuation = Continuation(
        prime=section.samples,
        sample_rate=section.sample_rate,
        bars=4,
        tempo_bpm=options.tempo_bpm,
    )
    with Client(options.server) as client:
        result = client.render(continuation, on_progress=show)

    accepted, done = result.accepted, result.done
    path = write_audio(
        options.out,
        AudioClip(samples=result.audio, sample_rate=section.sample_rate),
        accepted.splice_sample,  # where the DAW should put it
        Provenance(
            model=accepted.model,
            fingerprint=accepted.fingerprint,
            seed=accepted.seed,
            request_id=accepted.request_id,
            licence=done.licence,
        ),
    )
    print(f"\n{path}: {done.num_samples} samples, seed {accepted.seed}, {done.rtf:.2f}x real time")


def show(progress: Progress) -> None:
    """Print how far the work is, on one line."""
    left = f"{progress.eta_seconds:.1f} s left"
    print(f"\r{progress.phase} {progress.step}/{progress.total_steps}, {left}   ", end="")


if __name__ == "__main__":
    main()
