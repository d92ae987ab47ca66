"""A VST3 instrument plays notes, in a process of its own: a MIDI part as a guide stem.

Knows neither beats nor MIDI files: notes are given in samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final, Protocol, cast

import numpy as np
import pedalboard

from plugin_host.chain import check_format
from plugin_host.errors import ParameterError, PluginCrashError, PluginHostError, PluginLoadError
from plugin_host.loader import PluginSpec, Samples, load_plugin

MAX_SECONDS: Final = 600
PATIENCE_SECONDS: Final = 120.0
BUFFER_SAMPLES: Final = 512
NOTE_OFF: Final = 0x80
NOTE_ON: Final = 0x90
_SPAWN: Final = get_context("spawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuideNote:
    """One note.

    Raises:
        ParameterError: It ends before it begins, or a number is none of MIDI's.
    """

    start_sample: int
    end_sample: int
    pitch: int
    velocity: int

    def __post_init__(self) -> None:
        """Refuse what is no note."""
        if not 0 <= self.start_sample < self.end_sample:
            message = f"a note from sample {self.start_sample} to {self.end_sample}"
            raise ParameterError(
                message, value=self.start_sample, limit="0 <= start < end", unit="samples"
            )
        for name, value, least in (("pitch", self.pitch, 0), ("velocity", self.velocity, 1)):
            if not least <= value <= 127:
                message = f"a note's {name} is {value}, must be {least} to 127"
                raise ParameterError(message, value=value, limit=f"{least} to 127")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where and how long an instrument plays.

    Attributes:
        sample_rate: In Hz.
        num_channels: Of the result.
        num_samples: Of the result; what rings after it is cut off.
    """

    sample_rate: int
    num_channels: int
    num_samples: int


class _Instrument(Protocol):
    """What pedalboard's stubs leave out of a `VST3Plugin` that plays."""

    def process(
        self,
        midi_messages: list[tuple[bytes, float]],
        duration: float,
        sample_rate: float,
        num_channels: int,
        buffer_size: int,
        reset: bool,
    ) -> Samples:
        """Return what the messages, with times in seconds, sound like."""
        ...


def play_notes(spec: PluginSpec, notes: Sequence[GuideNote], stage: Stage) -> Samples:
    """Return what an instrument makes of notes.

    Raises:
        PluginLoadError: It cannot be opened, or is no instrument.
        ParameterError: One of its parameters.
        PluginCrashError: It crashed or hung.
        AudioFormatError: A rate or channel count that nothing takes.
    """
    check_format(stage.sample_rate, stage.num_channels)
    if not 0 < stage.num_samples <= MAX_SECONDS * stage.sample_rate:
        limit = MAX_SECONDS * stage.sample_rate
        message = f"{stage.num_samples} samples, must be 1 to {limit} samples"
        raise ParameterError(message, value=stage.num_samples, limit=limit, unit="samples")
    ours, theirs = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_play, args=(theirs, spec, tuple(notes), stage), daemon=True)
    process.start()
    theirs.close()
    try:
        answer = ours.recv() if ours.poll(PATIENCE_SECONDS) else None
    except EOFError as error:
        message = f"{spec.plugin} crashed while it played {len(notes)} notes"
        raise PluginCrashError(message, value=spec.plugin, limit="a plugin that lives") from error
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()
    if answer is None:
        message = f"{spec.plugin} did not end within {PATIENCE_SECONDS:g} s"
        raise PluginCrashError(message, value=spec.plugin, limit=PATIENCE_SECONDS, unit="s")
    if isinstance(answer, PluginHostError):
        raise answer
    return answer


def _play(pipe: Connection, spec: PluginSpec, notes: Sequence[GuideNote], stage: Stage) -> None:
    """Do the work: the main function of the process."""
    try:
        pipe.send(_played(spec, notes, stage))
    except PluginHostError as error:
        pipe.send(error)


def _played(spec: PluginSpec, notes: Sequence[GuideNote], stage: Stage) -> Samples:
    plugin: object = load_plugin(spec, sample_rate=stage.sample_rate).plugin
    if not (isinstance(plugin, pedalboard.VST3Plugin) and plugin.is_instrument):
        message = f"{spec.plugin} is no instrument"
        raise PluginLoadError(message, value=spec.plugin, limit="a VST3 instrument")
    played = cast("_Instrument", plugin).process(
        _messages(notes, stage.sample_rate),
        # A little longer, for pedalboard rounds to samples in its own way.
        (stage.num_samples + 1) / stage.sample_rate,
        stage.sample_rate,
        stage.num_channels,
        BUFFER_SAMPLES,
        True,
    )
    return np.ascontiguousarray(played[:, : stage.num_samples])


def _messages(notes: Sequence[GuideNote], sample_rate: int) -> list[tuple[bytes, float]]:
    """Return the notes as MIDI messages and their times in seconds; ends before beginnings."""
    events = [(note.end_sample, NOTE_OFF, note) for note in notes]
    events += [(note.start_sample, NOTE_ON, note) for note in notes]
    events.sort(key=lambda event: event[:2])
    return [
        (bytes((status, note.pitch, note.velocity)), sample / sample_rate)
        for sample, status, note in events
    ]
