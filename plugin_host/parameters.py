"""Parameters: their names, units and ranges, and the table of built-in effects.

A value is checked here before a plugin sees it. Effects are found by table,
never by looking a class up by its name. Knows neither files nor audio blocks.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pedalboard

from plugin_host.errors import ParameterError, UnknownParameterError

Setting = float | str | bool
"""What a chain file may hold as a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number within inclusive bounds.

    `below_nyquist` lowers the upper bound to half the sample rate.
    """

    name: str
    unit: str
    minimum: float
    maximum: float
    below_nyquist: bool = False

    def checked(self, plugin: str, value: object, sample_rate: int) -> float:
        """Return the value to hand to the plugin.

        Raises:
            ParameterError: Not a finite number, or out of range.
        """
        where = f"{plugin}.{self.name}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong_type(where, value, "a number", self.unit)
        maximum = min(self.maximum, sample_rate / 2) if self.below_nyquist else self.maximum
        if self.minimum <= value <= maximum:
            return float(value)
        limit = self.minimum if value < self.minimum else maximum
        bound = "at least" if value < self.minimum else "at most"
        if math.isnan(value):
            bound = "a finite number up to"
        message = f"{where} is {value} {self.unit}, must be {bound} {limit:g} {self.unit}"
        raise ParameterError(message, value=value, limit=limit, unit=self.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One text out of several; `options` maps each to what the plugin wants."""

    name: str
    options: Mapping[str, object]

    def checked(self, plugin: str, value: object, sample_rate: int) -> object:
        """Return what the plugin wants for this text.

        Raises:
            ParameterError: Not one of the texts.
        """
        del sample_rate
        if isinstance(value, str) and value in self.options:
            return self.options[value]
        limit = ", ".join(self.options)
        message = f"{plugin}.{self.name} is {value!r}, must be one of {limit}"
        raise ParameterError(message, value=value, limit=limit, unit="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """On or off."""

    name: str

    def checked(self, plugin: str, value: object, sample_rate: int) -> bool:
        """Return the value to hand to the plugin.

        Raises:
            ParameterError: Neither true nor false.
        """
        del sample_rate
        if isinstance(value, bool):
            return value
        raise _wrong_type(f"{plugin}.{self.name}", value, "true or false", "")


Parameter = Number | Choice | Flag


def check_settings(
    plugin: str,
    parameters: Iterable[Parameter],
    settings: Mapping[str, Setting],
    sample_rate: int,
) -> dict[str, object]:
    """Return the values to set on a plugin, by parameter name.

    Raises:
        UnknownParameterError: The plugin has no such parameter.
        ParameterError: A value has the wrong type or is out of range.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name in settings:
        if name not in known:
            limit = ", ".join(known) or "none"
            message = f"{plugin} has no parameter {name!r}; it has: {limit}"
            raise UnknownParameterError(message, value=name, limit=limit)
    return {
        name: known[name].checked(plugin, value, sample_rate) for name, value in settings.items()
    }


def _wrong_type(where: str, value: object, limit: str, unit: str) -> ParameterError:
    message = f"{where} is {value!r}, must be {limit}"
    return ParameterError(message, value=value, limit=limit, unit=unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A built-in effect: its class in pedalboard and what can be set on it."""

    kind: type[pedalboard.Plugin]
    parameters: tuple[Parameter, ...]


def _fraction(name: str, minimum: float = 0.0) -> Number:
    return Number(name=name, unit="fraction", minimum=minimum, maximum=1.0)


def _level_db(name: str, minimum: float = -100.0, maximum: float = 24.0) -> Number:
    return Number(name=name, unit="dB", minimum=minimum, maximum=maximum)


def _duration_ms(name: str, minimum: float = 0.0, maximum: float = 10_000.0) -> Number:
    return Number(name=name, unit="ms", minimum=minimum, maximum=maximum)


def _frequency_hz(name: str) -> Number:
    return Number(name=name, unit="Hz", minimum=1.0, maximum=96_000.0, below_nyquist=True)


_RATE_HZ = Number(name="rate_hz", unit="Hz", minimum=0.0, maximum=99.0)
_RATIO = Number(name="ratio", unit="ratio", minimum=1.0, maximum=1000.0)
_FEEDBACK = Number(name="feedback", unit="fraction", minimum=-0.95, maximum=0.95)
_DYNAMICS = (_level_db("threshold_db"), _RATIO, _duration_ms("attack_ms"))
_CUTOFF = _frequency_hz("cutoff_frequency_hz")
# At -100 dB the peak filter divides by zero, so the band filters stop well before.
_BAND = (
    _CUTOFF,
    _level_db("gain_db", -60.0, 60.0),
    Number(name="q", unit="ratio", minimum=0.01, maximum=100.0),
)
_LADDER_MODES = MappingProxyType[str, object](dict(pedalboard.LadderFilter.Mode.__members__))

EFFECTS: Mapping[str, Effect] = MappingProxyType(
    {
        "Bitcrush": Effect(
            kind=pedalboard.Bitcrush,
            parameters=(Number(name="bit_depth", unit="bits", minimum=1.0, maximum=32.0),),
        ),
        "BrickwallLimiter": Effect(
            kind=pedalboard.BrickwallLimiter,
            parameters=(
                _level_db("ceiling_db"),
                _duration_ms("release_ms", minimum=0.01),
                _duration_ms("lookahead_ms", minimum=0.01, maximum=100.0),
                Flag(name="true_peak"),
            ),
        ),
        "Chorus": Effect(
            kind=pedalboard.Chorus,
            parameters=(
                _RATE_HZ,
                _fraction("depth"),
                _duration_ms("centre_delay_ms", minimum=1.0, maximum=100.0),
                _FEEDBACK,
                _fraction("mix"),
            ),
        ),
        "Clipping": Effect(kind=pedalboard.Clipping, parameters=(_level_db("threshold_db"),)),
        "Compressor": Effect(
            kind=pedalboard.Compressor, parameters=(*_DYNAMICS, _duration_ms("release_ms"))
        ),
        "Delay": Effect(
            kind=pedalboard.Delay,
            parameters=(
                Number(name="delay_seconds", unit="s", minimum=0.0, maximum=30.0),
                _fraction("feedback"),
                _fraction("mix"),
            ),
        ),
        "Distortion": Effect(
            kind=pedalboard.Distortion, parameters=(_level_db("drive_db", -60.0, 100.0),)
        ),
        "Gain": Effect(kind=pedalboard.Gain, parameters=(_level_db("gain_db", -100.0, 60.0),)),
        "HighShelfFilter": Effect(kind=pedalboard.HighShelfFilter, parameters=_BAND),
        "HighpassFilter": Effect(kind=pedalboard.HighpassFilter, parameters=(_CUTOFF,)),
        "Invert": Effect(kind=pedalboard.Invert, parameters=()),
        "LadderFilter": Effect(
            kind=pedalboard.LadderFilter,
            parameters=(
                Choice(name="mode", options=_LADDER_MODES),
                _frequency_hz("cutoff_hz"),
                _fraction("resonance"),
                Number(name="drive", unit="ratio", minimum=1.0, maximum=100.0),
            ),
        ),
        "Limiter": Effect(
            kind=pedalboard.Limiter,
            parameters=(_level_db("threshold_db"), _duration_ms("release_ms")),
        ),
        "LowShelfFilter": Effect(kind=pedalboard.LowShelfFilter, parameters=_BAND),
        "LowpassFilter": Effect(kind=pedalboard.LowpassFilter, parameters=(_CUTOFF,)),
        "NoiseGate": Effect(
            kind=pedalboard.NoiseGate, parameters=(*_DYNAMICS, _duration_ms("release_ms"))
        ),
        "PeakFilter": Effect(kind=pedalboard.PeakFilter, parameters=_BAND),
        "Phaser": Effect(
            kind=pedalboard.Phaser,
            parameters=(
                _RATE_HZ,
                _fraction("depth"),
                _frequency_hz("centre_frequency_hz"),
                _FEEDBACK,
                _fraction("mix"),
            ),
        ),
        "Reverb": Effect(
            kind=pedalboard.Reverb,
            parameters=(
                _fraction("room_size"),
                _fraction("damping"),
                _fraction("wet_level"),
                _fraction("dry_level"),
                _fraction("width"),
                _fraction("freeze_mode"),
            ),
        ),
    }
)
"""The effects a chain may name."""

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "PitchShift": "it empties its delay line at every call, so blocks come out silent",
        "MP3Compressor": "its output depends on the block size",
        "GSMFullRateCompressor": "its output depends on the block size",
        "Resample": "its latency depends on the block size",
        "Convolution": "it needs an impulse response file, which a chain cannot carry yet",
    }
)
"""Effects that pedalboard has and a chain cannot hold, each with the reason."""
