"""Notes to audio through FluidSynth, one stem at a time, without reverb or chorus.

FluidSynth starts a voice at the next multiple of 64 samples; note times that lie on that grid
(`arrange.RENDER_GRID_SAMPLES`) are therefore exact.
"""

import ctypes
import ctypes.util
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from model.data.arrange import RENDER_GRID_SAMPLES, SoundingPart
from model.data.dataset import DRUM_PROGRAM, SAMPLE_RATE
from model.data.errors import DataError, MissingToolError

DEFAULT_SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
_DRUM_CHANNEL, _DRUM_BANK = 9, 128
_MELODIC_CHANNELS = tuple(channel for channel in range(16) if channel != _DRUM_CHANNEL)
_VOLUME, _PAN = 7, 10
_SETTINGS_INT = {
    "synth.reverb.active": 0,
    "synth.chorus.active": 0,
    "synth.polyphony": 256,
    "synth.cpu-cores": 1,
    "synth.lock-memory": 0,
    "synth.dynamic-sample-loading": 1,
}


class Renderer:
    """Renders with one SoundFont; every signal comes from a fresh synthesiser.

    A FluidSynth that has played before starts its next notes differently, even after a reset;
    a fresh one costs little, since samples are loaded as programs ask for them.

    Raises:
        MissingToolError: The library or the SoundFont is not there.
    """

    def __init__(self, soundfont: Path, sample_rate: int = SAMPLE_RATE) -> None:
        self._library = _library()
        if not soundfont.is_file():
            raise MissingToolError(
                f"no SoundFont at {soundfont}: install fluid-soundfont-gm or pass --soundfont"
            )
        self._soundfont = soundfont
        self._sample_rate = sample_rate
        with self._synth():
            pass

    def render(self, parts: list[SoundingPart], num_samples: int) -> Float32[np.ndarray, "samples"]:
        """Return the parts together as one mono signal, at the synthesiser's own level.

        Raises:
            DataError: There are more melodic parts than MIDI channels.
        """
        stereo = self.render_stereo(parts, num_samples)
        return ((stereo[0] + stereo[1]) * np.float32(0.5)).astype(np.float32)

    def render_stereo(
        self, parts: list[SoundingPart], num_samples: int
    ) -> Float32[np.ndarray, "2 samples"]:
        """Return the parts together in stereo, at the synthesiser's own level.

        Raises:
            DataError: There are more melodic parts than MIDI channels.
        """
        num_blocks = -(-num_samples // RENDER_GRID_SAMPLES)
        stereo = np.zeros((2, num_blocks * RENDER_GRID_SAMPLES), np.float32)
        with self._synth() as (synth, font):
            events = _events(self._start_channels(synth, font, parts))
            done = 0
            for sample, on, channel, pitch, velocity in events:
                self._write(synth, stereo[:, done:sample])
                done = sample
                if on:
                    self._library.fluid_synth_noteon(synth, channel, pitch, velocity)
                else:
                    self._library.fluid_synth_noteoff(synth, channel, pitch)
            self._write(synth, stereo[:, done:])
        return stereo[:, :num_samples]

    @contextmanager
    def _synth(self) -> Generator[tuple[int, int]]:
        settings = self._library.new_fluid_settings()
        for name, value in _SETTINGS_INT.items():
            self._library.fluid_settings_setint(settings, name.encode(), value)
        self._library.fluid_settings_setnum(settings, b"synth.sample-rate", self._sample_rate)
        self._library.fluid_settings_setnum(settings, b"synth.gain", 0.4)
        synth = self._library.new_fluid_synth(settings)
        try:
            font = self._library.fluid_synth_sfload(synth, str(self._soundfont).encode(), 1)
            if font < 0:
                raise MissingToolError(f"FluidSynth cannot load the SoundFont {self._soundfont}")
            yield synth, font
        finally:
            self._library.delete_fluid_synth(synth)
            self._library.delete_fluid_settings(settings)

    def _start_channels(
        self, synth: int, font: int, parts: list[SoundingPart]
    ) -> list[tuple[int, SoundingPart]]:
        melodic = iter(_MELODIC_CHANNELS)
        assigned: list[tuple[int, SoundingPart]] = []
        for part in parts:
            drums = part.program == DRUM_PROGRAM
            channel = _DRUM_CHANNEL if drums else next(melodic, None)
            if channel is None:
                raise DataError(f"{len(parts)} parts, at most {len(_MELODIC_CHANNELS)} channels")
            bank, preset = (_DRUM_BANK, part.kit) if drums else (0, part.program)
            self._library.fluid_synth_program_select(synth, channel, font, bank, preset)
            self._library.fluid_synth_cc(synth, channel, _VOLUME, part.volume)
            self._library.fluid_synth_cc(synth, channel, _PAN, 64)
            assigned.append((channel, part))
        return assigned

    def _write(self, synth: int, stereo: Float32[np.ndarray, "2 samples"]) -> None:
        count = stereo.shape[1]
        if count:
            left, right = stereo[0].ctypes.data, stereo[1].ctypes.data
            self._library.fluid_synth_write_float(synth, count, left, 0, 1, right, 0, 1)


def _events(assigned: list[tuple[int, SoundingPart]]) -> list[tuple[int, bool, int, int, int]]:
    """Return (sample, is_on, channel, pitch, velocity), offs before ons at one sample."""
    events: list[tuple[int, bool, int, int, int]] = []
    for channel, part in assigned:
        for start, end, pitch, velocity in part.notes.tolist():
            events.append((start, True, channel, pitch, velocity))
            events.append((end, False, channel, pitch, 0))
    return sorted(events)


def _library() -> ctypes.CDLL:
    found = ctypes.util.find_library("fluidsynth")
    if found is None:
        raise MissingToolError("rendering needs the library libfluidsynth (Debian: libfluidsynth3)")
    library = ctypes.CDLL(found)
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, arguments in (
        ("new_fluid_settings", pointer, []),
        ("fluid_settings_setint", number, [pointer, text, number]),
        ("fluid_settings_setnum", number, [pointer, text, ctypes.c_double]),
        ("new_fluid_synth", pointer, [pointer]),
        ("fluid_synth_sfload", number, [pointer, text, number]),
        ("fluid_synth_program_select", number, [pointer, number, number, number, number]),
        ("fluid_synth_cc", number, [pointer, number, number, number]),
        ("fluid_synth_noteon", number, [pointer, number, number, number]),
        ("fluid_synth_noteoff", number, [pointer, number, number]),
        (
            "fluid_synth_write_float",
            number,
            [pointer, number, pointer, number, number, pointer, number, number],
        ),
        ("delete_fluid_synth", None, [pointer]),
        ("delete_fluid_settings", None, [pointer]),
    ):
        function = library[name]
        function.restype, function.argtypes = result, arguments
        setattr(library, name, function)
    return library
