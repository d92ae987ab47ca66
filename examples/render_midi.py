"""Plays a MIDI file in the timbre of a recording, through a running server.

jukebox-bridge serve &
python examples/render_midi.py part.mid recording.wav rendered.wav
"""

import argparse
from pathlib import Path

import numpy as np

from bridge.audio_file import AudioClip, Provenance, read_audio, write_audio
from bridge.client import DEFAULT_ADDRESS, Client, Continuation
from bridge.midi_file import read_midi
from bridge.ports import Conditions
from bridge.request_messages import Verb


def main(arguments: list[str] | None = None) -> None:
    """Render the part as the arguments say."""
    parser = argparse.ArgumentParser(description="Play a MIDI file in the timbre of a recording.")
    parser.add_argument("part", type=Path, help="MIDI file")
    parser.add_argument("recording", type=Path, help="WAV, AIFF or FLAC with the sound wanted")
    parser.add_argument("out", type=Path, help="WAV to write")
    parser.add_argument("--server", default=DEFAULT_ADDRESS)
    options = parser.parse_args(arguments)

    recording = read_audio(options.recording)
    part = read_midi(options.part, recording.sample_rate)
    continuation = Continuation(
        prime=np.ascontiguousarray(recording.samples),
        sample_rate=recording.sample_rate,
        conditions=Conditions(midi=part),
        verb=Verb.RENDER_MIDI,
    )
    with Client(options.server) as client:
        result = client.render(continuation)

    accepted, done = result.accepted, result.done
    path = write_audio(
        options.out,
        AudioClip(samples=result.audio, sample_rate=recording.sample_rate),
        accepted.splice_sample,
        Provenance(
            model=accepted.model,
            fingerprint=accepted.fingerprint,
            seed=accepted.seed,
            request_id=accepted.request_id,
            licence=done.licence,
        ),
    )
    print(f"{path}: {len(part.notes)} notes, {done.num_samples} samples, seed {accepted.seed}")


if __name__ == "__main__":
    main()
