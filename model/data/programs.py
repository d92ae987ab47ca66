"""General MIDI programs by role and ensemble, and the stem a program belongs to.

Programs count from 0; 128 stands for the drum channel.
"""

import numpy as np

from model.data.dataset import DRUM_PROGRAM
from model.data.score import Part

FAMILIES = {
    "piano": (0, 0, 0, 1, 2, 4, 5),
    "mallets": (11, 12, 13),
    "organ": (16, 17, 19, 19, 20),
    "guitar": (24, 25, 26, 27),
    "electric_guitar": (27, 28, 29, 30),
    "bass": (32, 33, 33, 34, 35, 36, 38, 39),
    "strings": (48, 49, 48, 50),
    "choir": (52, 53, 52, 54),
    "brass": (56, 57, 60, 61),
    "reeds": (64, 65, 66, 68, 70, 71),
    "flutes": (72, 73, 73, 75, 79),
    "lead": (80, 81, 82),
    "pad": (88, 89, 90, 91, 95),
    "plucked": (45, 46, 6, 104),
    "keyboard": (0, 0, 4, 6, 16, 19, 24, 46),
}
_BY_ROLE = {
    "bass": ("bass",),
    "melody": ("piano", "reeds", "flutes", "lead", "guitar", "brass", "solo_strings", "choir"),
    "chords": ("piano", "piano", "organ", "guitar", "electric_guitar", "strings"),
    "arpeggio": ("piano", "guitar", "plucked", "mallets", "lead"),
    "riff": ("electric_guitar", "lead", "brass", "piano", "organ"),
    "pad": ("strings", "pad", "choir", "organ"),
    "keyboard": ("keyboard",),
}
_BY_GENRE = {
    "chorale": ("choir", "choir", "strings", "organ", "brass", "solo_strings", "piano", "winds"),
    "madrigal": ("choir", "choir", "solo_strings", "winds", "organ"),
    "quartet": ("solo_strings", "solo_strings", "strings", "winds", "piano"),
    "piano": ("piano", "piano", "plucked", "organ"),
    "folk": ("solo_strings", "flutes", "guitar", "piano", "reeds", "plucked"),
    "song": ("piano", "choir", "flutes", "solo_strings", "reeds"),
    "orchestral": ("strings", "winds", "brass", "solo_strings"),
}
_BOWED = ((67.0, 40), (57.0, 41), (45.0, 42), (0.0, 43))
_WINDS = ((70.0, 73), (64.0, 68), (57.0, 71), (0.0, 70))
_BASS_PROGRAMS = frozenset((*range(32, 40), 43))
_VOICE_PROGRAMS = frozenset((52, 53, 54, 91))
_NEVER_BASS = frozenset((*range(16), *range(16, 24)))
_BASS_MEAN_PITCH = 50.0


def choose_program(rng: np.random.Generator, part: Part, genre: str, ensemble: int) -> int:
    """Return a program for a part; parts of a written score mostly share the ensemble's family."""
    if part.role == "drums":
        return DRUM_PROGRAM
    shared = np.random.default_rng(ensemble)
    if part.role in _BY_ROLE:
        families, source = _BY_ROLE[part.role], rng
    else:
        families = _BY_GENRE.get(genre, _BY_ROLE["melody"])
        source = shared if shared.random() < 0.75 else rng
    family = str(source.choice(families))
    if family in {"solo_strings", "winds"}:
        return _by_height(_BOWED if family == "solo_strings" else _WINDS, part.mean_pitch())
    return int(source.choice(FAMILIES[family]))


def stem_kind(program: int, *, is_lowest: bool, mean_pitch: float) -> str:
    """Return the stem kind a part belongs to."""
    if program == DRUM_PROGRAM:
        return "drums"
    if program in _VOICE_PROGRAMS:
        return "vocals"
    low = is_lowest and mean_pitch < _BASS_MEAN_PITCH and program not in _NEVER_BASS
    return "bass" if program in _BASS_PROGRAMS or low else "other"


def _by_height(table: tuple[tuple[float, int], ...], mean_pitch: float) -> int:
    return next(program for lowest, program in table if mean_pitch >= lowest)
