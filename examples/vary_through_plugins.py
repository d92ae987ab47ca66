"""Makes variations of a section and sends each through a chain of plugins, a VST3 among them.

jukebox-bridge serve &
python examples/vary_through_plugins.py section.wav 120 chain.json out --variations 4

The plugins live in a process of their own: one that crashes is named and bypassed.
"""

import argparse
from pathlib import Path

import plugin_host
from bridge.audio_file import AudioClip, Provenance, read_audio, write_audio
from bridge.client import DEFAULT_ADDRESS, Client, Continuation, Result
from bridge.ports import Audio, Plan


def main(arguments: list[str] | None = None) -> None:
    """Make the batch as the arguments say."""
    parser = argparse.ArgumentParser(description="Batch variations through a chain of plugins.")
    parser.add_argument("section", type=Path, help="WAV, AIFF or FLAC that ends where to go on")
    parser.add_argument("tempo_bpm", type=float, help="quarter notes a minute")
    parser.add_argument("chain", type=Path, help="chain file: JSON, see docs/chains.md")
    parser.add_argument("out", type=Path, help="folder to write the variations into")
    parser.add_argument("--variations", type=int, default=4)
    parser.add_argument("--tail-seconds", type=float, default=4.0, help="of what rings after it")
    parser.add_argument("--server", default=DEFAULT_ADDRESS)
    options = parser.parse_args(arguments)

    section = read_audio(options.section)
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        Client(options.server) as client,
        plugin_host.IsolatedChain(
            plugin_host.read_chain_file(options.chain),
            sample_rate=section.sample_rate,
            num_channels=section.samples.shape[0],
        ) as chain,
    ):
        for variation in range(options.variations):
            continuation = Continuation(
                prime=section.samples,
                sample_rate=section.sample_rate,
                bars=4,
                tempo_bpm=options.tempo_bpm,
                plan=Plan(seed=1, variation=variation),
                draw_seed=False,
            )
            result = client.render(continuation)
            wet = chain.render(result.audio, tail_seconds=options.tail_seconds)
            path = options.out / f"variation-{variation}.wav"
            print(write(path, result, wet, section.sample_rate))
            for report in chain.reports:
                print(f"  {report.plugin} (number {report.position}): {report.reason}")


def write(path: Path, result: Result, wet: Audio, sample_rate: int) -> Path:
    """Return where a variation was written, with the place where it belongs."""
    accepted = result.accepted
    provenance = Provenance(
        model=accepted.model,
        fingerprint=accepted.fingerprint,
        seed=accepted.seed,
        request_id=accepted.request_id,
        licence=result.done.licence,
    )
    clip = AudioClip(samples=wet, sample_rate=sample_rate)
    return write_audio(path, clip, accepted.splice_sample, provenance)


if __name__ == "__main__":
    main()
