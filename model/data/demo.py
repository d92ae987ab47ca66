"""The demo section: eight original bars as audio and MIDI, outside all training data.

Its seed is its own, and nothing of it is drawn by the training pipeline.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import mido  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
import soundfile  # pyright: ignore[reportMissingTypeStubs]
from jaxtyping import Float32

from model.data.arrange import RENDER_GRID_SAMPLES, SoundingPart
from model.data.generate import STYLES, compose_style
from model.data.render import Renderer
from model.data.score import Part, Score

SAMPLE_RATE = 48_000
TEMPO_BPM, METER, NUM_BARS, PRIME_BARS = 100.0, "4/4", 8, 4
SEED = 20_240_229
TARGET_RMS, PEAK_LIMIT = 10 ** (-20 / 20), 0.95
_TICKS_PER_QUARTER = 480

# mido and soundfile have types only in part
_Midi = Any
_mido, _soundfile = cast(Any, mido), cast(Any, soundfile)

_PROGRESSION = "I V vi IV I V IV I"
_VOICES = {"melody": (0, 0.12), "arpeggio": (0, -0.12), "bass": (33, 0.0), "pad": (48, -0.2)}
_VOLUMES = {"melody": 110, "arpeggio": 78, "bass": 100, "pad": 58}
_VELOCITIES = {"melody": 88, "arpeggio": 62, "bass": 82, "pad": 60}


def make_demo(folder: Path, soundfont: Path) -> list[Path]:
    """Write prime.flac (bars 1-4), truth.flac (bars 1-8) and section.mid (bars 1-8).

    Audio is stereo, 48 kHz, 24 bits; every bar line falls on a whole sample.

    Raises:
        MissingToolError: The SoundFont or the synthesiser is missing.
    """
    score = demo_score()
    audio = _render(score, Renderer(soundfont, SAMPLE_RATE))
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("prime.flac", "truth.flac", "section.mid")]
    for path, num_bars in zip(paths, (PRIME_BARS, NUM_BARS), strict=False):
        samples = audio[:, : _sample(num_bars * 4.0)]
        _soundfile.write(path, samples.T, SAMPLE_RATE, subtype="PCM_24")
    _midi(score).save(str(paths[-1]))
    return paths


def demo_score() -> Score:
    """Return the eight bars: melody and arpeggio for piano, bass, strings behind them."""
    pop = next(style for style in STYLES if style.genre == "pop")
    style = replace(pop, progressions=(_PROGRESSION,), busy=0.55)
    for seed in range(SEED, SEED + 1000):
        rng = np.random.default_rng(seed)
        score = compose_style(rng, "demo", style, METER, (TEMPO_BPM, NUM_BARS))
        parts = {part.role: part for part in score.parts}
        if set(_VOICES) <= set(parts) and _in_c(parts["pad"]):
            return replace(score, parts=tuple(parts[role] for role in _VOICES))
    raise AssertionError("a thousand seeds hold a piece of these parts in C")


def _in_c(pad: Part) -> bool:
    return {note.pitch % 12 for note in pad.notes if note.onset_quarters == 0} == {0, 4, 7}


def _render(score: Score, renderer: Renderer) -> Float32[np.ndarray, "2 samples"]:
    num_samples = _sample(NUM_BARS * 4.0)
    audio = np.zeros((2, num_samples), np.float32)
    for part in score.parts:
        sides = np.array([[1 - _VOICES[part.role][1]], [1 + _VOICES[part.role][1]]], np.float32)
        audio += sides * renderer.render_stereo([_sounding(part, num_samples)], num_samples)
    rms, peak = float(np.sqrt(np.mean(audio**2))), float(np.abs(audio).max())
    gain = np.float32(min(TARGET_RMS / rms, PEAK_LIMIT / peak))
    return np.asarray(audio * gain, dtype=np.float32)


def _sounding(part: Part, num_samples: int) -> SoundingPart:
    rows = [
        (
            _on_grid(note.onset_quarters),
            min(_on_grid(note.onset_quarters + note.duration_quarters), num_samples),
            note.pitch,
            _velocity(part.role, note.onset_quarters),
        )
        for note in part.notes
    ]
    return SoundingPart(
        kind="bass" if part.role == "bass" else "other",
        program=_VOICES[part.role][0],
        volume=_VOLUMES[part.role],
        kit=0,
        notes=np.array(rows, dtype=np.int64),
    )


def _velocity(role: str, onset_quarters: float) -> int:
    return _VELOCITIES[role] + (8 if onset_quarters % 2 == 0 else 0)


def _midi(score: Score) -> _Midi:
    file = _mido.MidiFile(ticks_per_beat=_TICKS_PER_QUARTER)
    meta = _mido.MidiTrack()
    meta.append(_mido.MetaMessage("set_tempo", tempo=round(60e6 / TEMPO_BPM), time=0))
    meta.append(_mido.MetaMessage("time_signature", numerator=4, denominator=4, time=0))
    meta.append(_mido.MetaMessage("end_of_track", time=_tick(NUM_BARS * 4.0)))
    file.tracks.append(meta)
    for channel, part in enumerate(score.parts):
        file.tracks.append(_track(part, channel))
    return file


def _track(part: Part, channel: int) -> _Midi:
    events: list[tuple[int, bool, int, int]] = []
    for note in part.notes:
        velocity = _velocity(part.role, note.onset_quarters)
        events.append((_tick(note.onset_quarters), True, note.pitch, velocity))
        events.append((_tick(note.onset_quarters + note.duration_quarters), False, note.pitch, 0))
    track, now = _mido.MidiTrack(), 0
    program = _VOICES[part.role][0]
    track.append(_mido.MetaMessage("track_name", name=part.role, time=0))
    track.append(_mido.Message("program_change", channel=channel, program=program, time=0))
    track.append(
        _mido.Message(
            "control_change", channel=channel, control=7, value=_VOLUMES[part.role], time=0
        )
    )
    for tick, on, pitch, velocity in sorted(events):
        kind = "note_on" if on else "note_off"
        track.append(
            _mido.Message(kind, channel=channel, note=pitch, velocity=velocity, time=tick - now)
        )
        now = tick
    return track


def _tick(quarters: float) -> int:
    return round(quarters * _TICKS_PER_QUARTER)


def _sample(quarters: float) -> int:
    return round(quarters * 60 / TEMPO_BPM * SAMPLE_RATE)


def _on_grid(quarters: float) -> int:
    return round(_sample(quarters) / RENDER_GRID_SAMPLES) * RENDER_GRID_SAMPLES
