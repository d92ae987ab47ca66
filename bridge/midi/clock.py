"""MIDI clock to tempo and beat: jitter is filtered, position follows the host.

24 ticks make a quarter note. A straight line is fitted through the last ticks
(up to four quarter notes): its slope is the tempo, its end the beat now. A lone tick far off
the line is left out; a run of them is a new tempo or a seek, and begins a new
line. Start, continue and song position say which beat the next tick is. Clock
carries no meter and no bar: those are the session's. Knows no port, no samples
and no clock of its own: every message brings its time.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from bridge.midi.message import Kind, MidiMessage

TICKS_PER_BEAT: Final = 24
TICKS_PER_SIXTEENTH: Final = 6
WINDOW_TICKS: Final = 96
LEAST_TICKS: Final = 12
"""Half a quarter note: before that no tempo is told."""
OUTLIER_INTERVALS: Final = 2.0
"""So many tick intervals off the line is no jitter: JACK alone may hold a tick back for one period,
21 ms of 48 kHz in blocks of 1024."""
DRIFT_SPREADS: Final = 1.8
DRIFT_SECONDS: Final = 0.001
"""The last `LEAST_TICKS` ticks lie beside the line on average by more than this, and by more than
so many times its spread: the tempo has changed, and only they count. Steps of one period, a
sawtooth, come to sqrt(3) spreads at most."""
NEW_LINE_OUTLIERS: Final = 4
LOST_INTERVALS: Final = 8.0
"""A pause of so many ticks ends the clock; the next tick begins anew."""
MIN_INTERVAL_SECONDS: Final = 60 / (999 * TICKS_PER_BEAT)
MAX_INTERVAL_SECONDS: Final = 60 / (10 * TICKS_PER_BEAT)
TEMPO_STEP_BPM: Final = Fraction(1, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirk:
    """How a host departs from the standard.

    Attributes:
        song_position_factor: Song positions are so many times too far.
    """

    song_position_factor: int = 1


QUIRKS: Final = {"none": Quirk(), "ardour7": Quirk(song_position_factor=6)}
"""By the name that the setting `midi.quirk` takes. Ardour 7 sends 24 for each quarter note
(libs/temporal/tempo.cc), where 4 are meant; mended in later versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Ticks against seconds: where the fit stands."""

    tick: float
    at_seconds: float
    interval_seconds: float
    spread_seconds: float

    def seconds_of(self, tick: float) -> float:
        """Return when a tick comes, or came."""
        return self.at_seconds + (tick - self.tick) * self.interval_seconds

    def tick_at(self, seconds: float) -> float:
        """Return the tick, with its fraction, at a time."""
        return self.tick + (seconds - self.at_seconds) / self.interval_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What is known of a host's clock; each message makes the next value.

    Attributes:
        quirk: How the host departs from the standard.
        ticks: Numbers and times of the ticks that the line is fitted to.
        line: The fit; None before `LEAST_TICKS`.
        count: Ticks heard; counts on while the transport stands.
        outliers: Ticks in a row that did not fit.
        rolling: Whether the host plays.
        beat_offset: Beat of tick 0 of the count, once the host told a position.
        waiting_beat: Beat that the next tick will be, after start, continue or a song position.
    """

    quirk: Quirk = field(default_factory=Quirk)
    ticks: tuple[tuple[int, float], ...] = ()
    line: Line | None = None
    count: int = 0
    outliers: tuple[tuple[int, float], ...] = ()
    rolling: bool = False
    beat_offset: Fraction | None = None
    waiting_beat: Fraction | None = None

    @property
    def tempo_bpm(self) -> Fraction | None:
        """Return the tempo to the nearest hundredth, or None while it is not known."""
        if self.line is None:
            return None
        bpm = Fraction(60 / (self.line.interval_seconds * TICKS_PER_BEAT))
        return round(bpm / TEMPO_STEP_BPM) * TEMPO_STEP_BPM

    def running_beat_at(self, seconds: float) -> Fraction | None:
        """Return quarter notes since the clock was first heard, or None while it was not.

        It counts on through seeks, loops and stops, as long as ticks come.
        """
        if not self.count:
            return None
        if self.line is None:
            return Fraction(self.count - 1, TICKS_PER_BEAT)
        return Fraction(self.line.tick_at(seconds)) / TICKS_PER_BEAT

    def beat_at(self, seconds: float) -> Fraction | None:
        """Return the beat of the session at a time, or None while it is not known.

        While the host stands still it is the beat where it will go on; before the tempo is
        known it is that of the last tick.
        """
        if not self.rolling or self.waiting_beat is not None:
            return self.waiting_beat
        if self.beat_offset is None:
            return None
        running = self.running_beat_at(seconds)
        return None if running is None else self.beat_offset + running


def hear(clock: Clock, message: MidiMessage, at_seconds: float) -> Clock:
    """Return the clock after a message; other kinds than the transport's change nothing."""
    match message.kind:
        case Kind.CLOCK:
            return _tick(clock, at_seconds)
        case Kind.START:
            return replace(clock, rolling=True, waiting_beat=Fraction(0))
        case Kind.CONTINUE:
            return replace(clock, rolling=True, waiting_beat=_standing_beat(clock))
        case Kind.STOP:
            return replace(clock, rolling=False, waiting_beat=_standing_beat(clock))
        case Kind.SONG_POSITION:
            sixteenths = Fraction(message.value, clock.quirk.song_position_factor)
            beat = sixteenths * TICKS_PER_SIXTEENTH / TICKS_PER_BEAT
            return replace(clock, waiting_beat=beat)
        case _:
            return clock


def _standing_beat(clock: Clock) -> Fraction | None:
    """Return where the host stands: what it told, or the last tick's beat while it rolled."""
    if clock.waiting_beat is not None or clock.beat_offset is None:
        return clock.waiting_beat
    return clock.beat_offset + Fraction(clock.count, TICKS_PER_BEAT)


def _tick(clock: Clock, at_seconds: float) -> Clock:
    tick = (clock.count, at_seconds)
    fitted = _fitted(clock, tick)
    offset = clock.beat_offset
    waiting = clock.waiting_beat
    if clock.rolling and waiting is not None:
        offset, waiting = waiting - Fraction(clock.count, TICKS_PER_BEAT), None
    return replace(fitted, count=clock.count + 1, beat_offset=offset, waiting_beat=waiting)


def _fitted(clock: Clock, tick: tuple[int, float]) -> Clock:
    """Return the clock with a tick taken into the line, kept as an outlier, or begun anew with."""
    last_seconds = max((at for _, at in (*clock.ticks[-1:], *clock.outliers)), default=tick[1])
    interval = MAX_INTERVAL_SECONDS if clock.line is None else clock.line.interval_seconds
    if tick[1] < last_seconds or tick[1] - last_seconds > LOST_INTERVALS * interval:
        return replace(clock, ticks=(tick,), line=None, outliers=())
    if clock.line is not None and _is_off(clock.line, tick):
        outliers = (*clock.outliers, tick)
        if len(outliers) < NEW_LINE_OUTLIERS:
            return replace(clock, outliers=outliers)
        return replace(clock, ticks=outliers, line=None, outliers=())
    ticks = (*clock.ticks, tick)[-WINDOW_TICKS:]
    line = _line_through(ticks) if len(ticks) >= LEAST_TICKS else None
    if line is not None and _has_drifted(line, ticks):
        ticks = ticks[-LEAST_TICKS:]
        line = _line_through(ticks)
    return replace(clock, ticks=ticks, line=line, outliers=())


def _has_drifted(line: Line, ticks: tuple[tuple[int, float], ...]) -> bool:
    last = ticks[-LEAST_TICKS:]
    off_seconds = abs(sum(at - line.seconds_of(number) for number, at in last) / len(last))
    return off_seconds > max(DRIFT_SECONDS, DRIFT_SPREADS * line.spread_seconds)


def _is_off(line: Line, tick: tuple[int, float]) -> bool:
    off_seconds = abs(tick[1] - line.seconds_of(tick[0]))
    return off_seconds > OUTLIER_INTERVALS * line.interval_seconds


def _line_through(ticks: tuple[tuple[int, float], ...]) -> Line | None:
    """Return the least-squares line, at the last tick; None if no host plays at its tempo."""
    size = len(ticks)
    mean_tick = sum(number for number, _ in ticks) / size
    mean_seconds = sum(at for _, at in ticks) / size
    products = sum((number - mean_tick) * (at - mean_seconds) for number, at in ticks)
    interval = products / sum((number - mean_tick) ** 2 for number, _ in ticks)
    if not MIN_INTERVAL_SECONDS <= interval <= MAX_INTERVAL_SECONDS:
        return None
    residuals = [at - mean_seconds - (number - mean_tick) * interval for number, at in ticks]
    last = ticks[-1][0]
    return Line(
        tick=last,
        at_seconds=mean_seconds + (last - mean_tick) * interval,
        interval_seconds=interval,
        spread_seconds=(sum(off * off for off in residuals) / size) ** 0.5,
    )
