"""Musical time to samples and back: the only place where beats and bars are converted.

A beat is a quarter note, as in MIDI and in every host's "ppq" position, so a
bar of 7/8 has 3.5 beats. Positions are exact `Fraction`s until the very end;
an instant becomes an integer sample by `nearest`, halves upwards, so that
rounding commutes with a shift by whole samples. Knows nothing of audio, models
or wires.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import TypeAlias

from bridge.errors import InvalidRequestError
from bridge.ports import PulsePoint

MIN_BPM = 10
MAX_BPM = 999
MAX_METER = 64
MAX_CHANGES = 4000
MAX_BARS = 10_000
MAX_NUMBER = 10**18
_LONGEST_DECIMAL = 64
_LONGEST_EXPONENT = 4

Exact: TypeAlias = int | str | float | Fraction
"""A number given from outside; a float means the decimal that it prints as."""


def exact(value: Exact) -> Fraction:
    """Return the number as a fraction: 97.3 is 973/10, not the binary float beside it.

    Raises:
        InvalidRequestError: Not a finite number, or over 10^18.
    """
    text = str(value)
    exponent = text.lower().partition("e")[2]
    if len(text) > _LONGEST_DECIMAL or len(exponent) > _LONGEST_EXPONENT:
        raise InvalidRequestError(
            f"{text[:40]!r} is no number of at most {_LONGEST_DECIMAL} characters"
        )
    try:
        number = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise InvalidRequestError(f"{text!r} is not a finite number") from error
    if abs(number) > MAX_NUMBER:
        raise InvalidRequestError(f"{text} is too large, the limit is {MAX_NUMBER}")
    return number


def nearest(value: Fraction) -> int:
    """Return the nearest integer, halves upwards."""
    return floor(value + Fraction(1, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """A tempo in quarter notes per minute from `beat` on.

    Raises:
        InvalidRequestError: Outside 10 to 999 bpm.
    """

    bpm: Fraction
    beat: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        """Refuse a tempo that no music has."""
        if not MIN_BPM <= self.bpm <= MAX_BPM:
            raise InvalidRequestError(
                f"the tempo is {float(self.bpm):g} bpm, allowed are {MIN_BPM} to {MAX_BPM} bpm"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """A meter from `beat` on, which is a bar line.

    Raises:
        InvalidRequestError: Not 1 to 64 over a power of two up to 64.
    """

    numerator: int = 4
    denominator: int = 4
    beat: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        """Refuse a meter that no music has."""
        if not 1 <= self.numerator <= MAX_METER:
            raise InvalidRequestError(
                f"the meter has {self.numerator} beats a bar, allowed are 1 to {MAX_METER} beats"
            )
        power_of_two = self.denominator > 0 and self.denominator & (self.denominator - 1) == 0
        if not power_of_two or self.denominator > MAX_METER:
            raise InvalidRequestError(
                f"the meter's unit is 1/{self.denominator} note, "
                f"allowed are powers of two from 1/1 to 1/{MAX_METER} note"
            )

    @property
    def beats_per_bar(self) -> Fraction:
        """Return the bar's length in quarter notes."""
        return Fraction(4 * self.numerator, self.denominator)


def parse_meter(text: str) -> Meter:
    """Return the meter written as `7/8`.

    Raises:
        InvalidRequestError: Not two whole numbers with a slash, or outside the limits.
    """
    numerator, slash, denominator = text.partition("/")
    if not (slash and _is_short_number(numerator) and _is_short_number(denominator)):
        raise InvalidRequestError(f"the meter is {text[:40]!r}, it is written like 4/4 or 7/8")
    return Meter(numerator=int(numerator), denominator=int(denominator))


@dataclass(frozen=True, slots=True)
class _Knot:
    """A point of a rising piecewise linear map and the slope after it."""

    x: Fraction
    y: Fraction
    slope: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class TempoMap:
    """Tempo and meter of a session: beat 0 lies on `origin_sample` and begins bar 0.

    The first tempo and meter also hold before the origin. A tempo or meter
    changes at a beat; `tempos_at_samples` makes the list where a host gives samples.

    Raises:
        InvalidRequestError: No or too many changes, out of order, the first not
            at beat 0, or a meter that changes inside a bar.
    """

    sample_rate: int
    tempos: tuple[Tempo, ...]
    meters: tuple[Meter, ...] = (Meter(),)
    origin_sample: int = 0
    _samples: tuple[_Knot, ...] = field(init=False, repr=False, compare=False)
    _bars: tuple[_Knot, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the changes and lay out both maps once."""
        if self.sample_rate <= 0:
            raise InvalidRequestError(f"the rate is {self.sample_rate} Hz, the least is 1 Hz")
        _check_order("tempo", [tempo.beat for tempo in self.tempos])
        _check_order("meter", [meter.beat for meter in self.meters])
        slopes = [Fraction(60 * self.sample_rate) / tempo.bpm for tempo in self.tempos]
        beats = [tempo.beat for tempo in self.tempos]
        object.__setattr__(self, "_samples", _knots(beats, slopes, Fraction(self.origin_sample)))
        bars = _knots(
            [meter.beat for meter in self.meters],
            [1 / meter.beats_per_bar for meter in self.meters],
            Fraction(0),
        )
        for knot in bars:
            if knot.y.denominator != 1:
                raise InvalidRequestError(
                    f"the meter changes at beat {float(knot.x):g}, inside bar {floor(knot.y)}; "
                    "it may change on a bar line only"
                )
        object.__setattr__(self, "_bars", bars)

    def sample_of_beat(self, beat: Fraction) -> Fraction:
        """Return the exact session position, in samples, of a beat."""
        return _forward(self._samples, beat)

    def beat_of_sample(self, sample: Fraction | int) -> Fraction:
        """Return the beat at a session position in samples."""
        return _backward(self._samples, Fraction(sample))

    def bar_of_beat(self, beat: Fraction) -> Fraction:
        """Return the bar, counted from 0, as a whole number and the part of it that has passed."""
        return _forward(self._bars, beat)

    def beat_of_bar(self, bar: Fraction | int) -> Fraction:
        """Return the beat at which a bar, or a part of it, begins."""
        return _backward(self._bars, Fraction(bar))

    def sample_of_bar(self, bar: Fraction | int) -> Fraction:
        """Return the exact session position, in samples, of a bar line."""
        return self.sample_of_beat(self.beat_of_bar(bar))

    def bar_of_sample(self, sample: Fraction | int) -> Fraction:
        """Return the bar, counted from 0, at a session position in samples."""
        return self.bar_of_beat(self.beat_of_sample(sample))

    def num_samples_of_bars(self, bars: Exact, start_sample: int) -> int:
        """Return how many samples `bars` bars take from `start_sample` on.

        The rule is nearest(end) - nearest(start), with exact start and end. A
        start that is itself the rounding of a bar line means that bar line, so
        that one result after another keeps to the bars for ever.

        Raises:
            InvalidRequestError: Not more than 0, or more than 10000 bars.
        """
        count = exact(bars)
        if not 0 < count <= MAX_BARS:
            raise InvalidRequestError(
                f"{float(count):g} bars were asked for, allowed are more than 0 to {MAX_BARS} bars"
            )
        start = self._bar_meant_by(start_sample)
        return nearest(self.sample_of_bar(start + count)) - start_sample

    def bar_lines(self, start_sample: int, end_sample: int) -> tuple[int, ...]:
        """Return the samples of the bar lines in [start_sample, end_sample), rounded each.

        Raises:
            InvalidRequestError: More than 10000 bars.
        """
        first = floor(self.bar_of_sample(start_sample))
        last = ceil(self.bar_of_sample(end_sample))
        if last - first > MAX_BARS:
            raise InvalidRequestError(
                f"the stretch has {last - first} bars, the limit is {MAX_BARS} bars"
            )
        lines = (nearest(self.sample_of_bar(bar)) for bar in range(first, last + 1))
        return tuple(line for line in lines if start_sample <= line < end_sample)

    def _bar_meant_by(self, sample: int) -> Fraction:
        bar = self.bar_of_sample(sample)
        line = nearest(bar)
        return Fraction(line) if nearest(self.sample_of_bar(line)) == sample else bar


def steady(
    sample_rate: int, bpm: Exact, meter: Meter | None = None, origin_sample: int = 0
) -> TempoMap:
    """Return the map of one tempo and one meter.

    Raises:
        InvalidRequestError: A tempo or meter outside its limits.
    """
    return TempoMap(
        sample_rate=sample_rate,
        tempos=(Tempo(bpm=exact(bpm)),),
        meters=(meter or Meter(),),
        origin_sample=origin_sample,
    )


def pulse_of(tempo_map: TempoMap) -> tuple[PulsePoint, ...]:
    """Return the map as lines from tempo to tempo and from meter to meter."""
    tempos, meters = tempo_map.tempos, tempo_map.meters
    points: list[PulsePoint] = []
    for beat in sorted({change.beat for change in (*tempos, *meters)}):
        bpm = max((tempo for tempo in tempos if tempo.beat <= beat), key=lambda one: one.beat).bpm
        meter = max((meter for meter in meters if meter.beat <= beat), key=lambda one: one.beat)
        points.append(
            PulsePoint(
                sample=float(tempo_map.sample_of_beat(beat)),
                beat=float(beat),
                bar=float(tempo_map.bar_of_beat(beat)),
                samples_per_beat=float(Fraction(60 * tempo_map.sample_rate) / bpm),
                beats_per_bar=float(meter.beats_per_bar),
            )
        )
    return tuple(points)


def tempos_at_samples(
    sample_rate: int, changes: Sequence[tuple[int, Exact]], origin_sample: int = 0
) -> tuple[Tempo, ...]:
    """Return tempo changes given as (session sample, bpm) as changes at beats.

    Raises:
        InvalidRequestError: The samples do not rise, or a tempo outside its limits.
    """
    if len(changes) > MAX_CHANGES:
        raise InvalidRequestError(f"{len(changes)} tempo changes, the limit is {MAX_CHANGES}")
    tempos: list[Tempo] = []
    beat, before = Fraction(0), origin_sample
    for sample, bpm in changes:
        if tempos:
            beat += (sample - before) * tempos[-1].bpm / (60 * sample_rate)
        tempos.append(Tempo(bpm=exact(bpm), beat=beat))
        before = sample
    return tuple(tempos)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleMap:
    """Session samples to model samples: model sample 0 lies on the anchor.

    At 48 kHz a session sample is 147/160 of a model sample; the map is exact
    and the caller names the rounding: `first_model_sample` upwards for "from
    here on", `last...` downwards for "what had begun by then".

    Raises:
        InvalidRequestError: A rate that is not positive.
    """

    anchor_sample: int
    session_rate: int
    model_rate: int

    def __post_init__(self) -> None:
        """Refuse rates that make no ratio."""
        for rate in (self.session_rate, self.model_rate):
            if rate <= 0:
                raise InvalidRequestError(f"the rate is {rate} Hz, the least is 1 Hz")

    @property
    def ratio(self) -> Fraction:
        """Return model samples per session sample."""
        return Fraction(self.model_rate, self.session_rate)

    def to_model(self, session_sample: int) -> Fraction:
        """Return the exact model position of a session sample."""
        return (session_sample - self.anchor_sample) * self.ratio

    def to_session(self, model_sample: int) -> Fraction:
        """Return the exact session position of a model sample."""
        return self.anchor_sample + model_sample / self.ratio

    def floor_model(self, session_sample: int) -> int:
        """Return the last model sample at or before a session sample."""
        return floor(self.to_model(session_sample))

    def ceil_model(self, session_sample: int) -> int:
        """Return the first model sample at or after a session sample."""
        return ceil(self.to_model(session_sample))

    def nearest_model(self, session_sample: int) -> int:
        """Return the model sample nearest to a session sample, halves upwards."""
        return nearest(self.to_model(session_sample))

    def floor_session(self, model_sample: int) -> int:
        """Return the last session sample at or before a model sample."""
        return floor(self.to_session(model_sample))

    def ceil_session(self, model_sample: int) -> int:
        """Return the first session sample at or after a model sample."""
        return ceil(self.to_session(model_sample))

    def nearest_session(self, model_sample: int) -> int:
        """Return the session sample nearest to a model sample, halves upwards."""
        return nearest(self.to_session(model_sample))


def _is_short_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6


def _check_order(what: str, beats: list[Fraction]) -> None:
    if not 1 <= len(beats) <= MAX_CHANGES:
        raise InvalidRequestError(
            f"the map has {len(beats)} {what} entries, allowed are 1 to {MAX_CHANGES} entries"
        )
    if beats[0] != 0:
        raise InvalidRequestError(
            f"the first {what} begins at beat {float(beats[0]):g}, it must begin at beat 0"
        )
    for before, after in pairwise(beats):
        if after <= before:
            raise InvalidRequestError(
                f"the {what} at beat {float(after):g} follows the one at beat {float(before):g}; "
                "beats must rise"
            )


def _knots(xs: list[Fraction], slopes: list[Fraction], y: Fraction) -> tuple[_Knot, ...]:
    knots: list[_Knot] = []
    for x, slope in zip(xs, slopes, strict=True):
        if knots:
            y += (x - knots[-1].x) * knots[-1].slope
        knots.append(_Knot(x, y, slope))
    return tuple(knots)


def _forward(knots: tuple[_Knot, ...], x: Fraction) -> Fraction:
    knot = _knot_before(knots, x, lambda knot: knot.x)
    return knot.y + (x - knot.x) * knot.slope


def _backward(knots: tuple[_Knot, ...], y: Fraction) -> Fraction:
    knot = _knot_before(knots, y, lambda knot: knot.y)
    return knot.x + (y - knot.y) / knot.slope


def _knot_before(knots: tuple[_Knot, ...], at: Fraction, key: Callable[[_Knot], Fraction]) -> _Knot:
    return knots[max(0, bisect_right(knots, at, key=key) - 1)]
