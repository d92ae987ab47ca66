"""Chords and scales of the generated music, in semitones."""

from dataclasses import dataclass

_MAJOR, _MINOR, _SEVENTH = (0, 4, 7), (0, 3, 7), (0, 4, 7, 10)
_MINOR_SEVENTH, _MAJOR_SEVENTH = (0, 3, 7, 10), (0, 4, 7, 11)
_ROOTS = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_MAJOR_SCALE, _MINOR_SCALE = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord above a tonic: its root's distance and its intervals, in semitones."""

    root: int
    intervals: tuple[int, ...]

    def pitches(self, tonic: int) -> tuple[int, ...]:
        """Return every MIDI pitch of the chord when the key's pitch class is `tonic`."""
        classes = {(tonic + self.root + interval) % 12 for interval in self.intervals}
        return tuple(pitch for pitch in range(24, 104) if pitch % 12 in classes)

    def voicing(self, tonic: int, centre: int) -> list[int]:
        """Return one pitch of each class, as near above `centre` - 6 as can be."""
        return sorted(
            centre - 6 + (tonic + self.root + interval - centre + 6) % 12
            for interval in self.intervals
        )


def chords_of(progression: str) -> list[Chord]:
    """Return the chords of a line of Roman numerals such as `I vi7 bVII V7`."""
    return [_chord(numeral) for numeral in progression.split()]


def scale_of(tonic: int, *, minor: bool) -> tuple[int, ...]:
    """Return the MIDI pitches of a key."""
    steps = _MINOR_SCALE if minor else _MAJOR_SCALE
    classes = {(tonic + step) % 12 for step in steps}
    return tuple(pitch for pitch in range(24, 104) if pitch % 12 in classes)


def nearest_in_scale(pitch: int, scale: tuple[int, ...]) -> int:
    """Return the pitch of `scale` that is nearest."""
    return min(scale, key=lambda other: abs(other - pitch))


def _chord(numeral: str) -> Chord:
    flat = numeral.startswith("b")
    name = numeral.removeprefix("b")
    quality = name[len(name.rstrip("maj7")) :] if "7" in name else ""
    degree = name.removesuffix(quality) if quality else name
    minor = degree.islower()
    intervals = _MINOR if minor else _MAJOR
    if quality == "maj7":
        intervals = _MAJOR_SEVENTH
    elif quality == "7":
        intervals = _MINOR_SEVENTH if minor else _SEVENTH
    return Chord(_ROOTS[degree.lower()] - flat, intervals)
