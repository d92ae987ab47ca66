"""Rhythms and drum grooves of the generated music, in sixteenth-note steps of one bar."""

import numpy as np

from model.data.score import BAR_QUARTERS

SWING_STEP = 2 / 3
_KICK, _STICK, _SNARE, _CLAP, _CLOSED, _OPEN = 36, 37, 38, 39, 42, 46
_RIDE, _CRASH, _LOW_TOM, _MID_TOM, _HIGH_TOM = 51, 49, 45, 47, 50
_SHAKER, _CLAVE, _CONGA_HIGH, _CONGA_LOW, _COWBELL = 70, 75, 63, 64, 56
_BEATS = {"4/4": (0, 4, 8, 12), "3/4": (0, 4, 8), "6/8": (0, 6), "7/8": (0, 4, 8)}
_BACKBEATS = {"4/4": (4, 12), "3/4": (4, 8), "6/8": (6,), "7/8": (4, 12)}

Hit = tuple[int, int, int]


def steps_per_bar(meter: str) -> int:
    """Return the sixteenth notes in a bar."""
    return int(BAR_QUARTERS[meter] * 4)


def rhythm(rng: np.random.Generator, meter: str, density: float, grid: int = 2) -> tuple[int, ...]:
    """Return onset steps of a one-bar rhythm; strong places are likelier, step 0 is sure."""
    chosen = [0]
    for step in range(grid, steps_per_bar(meter), grid):
        weight = 1.4 if step in _BEATS[meter] else 0.9 if step % 2 == 0 else 0.4
        if rng.random() < density * weight:
            chosen.append(step)
    return tuple(chosen)


def drum_bar(groove: int, genre: str, meter: str, *, fill: bool) -> list[Hit]:
    """Return (step, General MIDI drum, velocity) hits; one `groove` number, one groove."""
    rng = np.random.default_rng(groove)
    hits = _kick(rng, genre, meter) + _backbeat(rng, genre, meter) + _cymbals(rng, genre, meter)
    if genre == "latin":
        hits += _percussion(rng, meter)
    return _filled(hits, meter) if fill else sorted(hits)


def _kick(rng: np.random.Generator, genre: str, meter: str) -> list[Hit]:
    if genre == "electronic" and rng.random() < 0.8:
        return [(step, _KICK, 110) for step in _BEATS[meter]]
    grid = 1 if genre == "funk" else 2
    steps = rhythm(rng, meter, 0.25, grid=grid)
    return [(step, _KICK, 105) for step in steps if step not in _BACKBEATS[meter]]


def _backbeat(rng: np.random.Generator, genre: str, meter: str) -> list[Hit]:
    sound = {"ballad": _STICK, "latin": _STICK, "electronic": _CLAP}.get(genre, _SNARE)
    hits = [(step, sound, 100) for step in _BACKBEATS[meter]]
    if genre in {"funk", "rock", "jazz"}:
        ghosts = rng.choice(steps_per_bar(meter), size=2, replace=False)
        hits += [(int(step), _SNARE, 45) for step in ghosts if step not in _BACKBEATS[meter]]
    return hits


def _cymbals(rng: np.random.Generator, genre: str, meter: str) -> list[Hit]:
    steps = range(0, steps_per_bar(meter), int(rng.choice([1, 2, 2, 2, 4])))
    sound = _RIDE if genre == "jazz" or rng.random() < 0.2 else _CLOSED
    hits = [(step, sound, 85 if step in _BEATS[meter] else 62) for step in steps]
    if sound == _CLOSED and rng.random() < 0.4:
        last = steps_per_bar(meter) - 2
        hits = [hit for hit in hits if hit[0] < last] + [(last, _OPEN, 80)]
    return hits


def _percussion(rng: np.random.Generator, meter: str) -> list[Hit]:
    high = rhythm(rng, meter, 0.4)
    low = rhythm(rng, meter, 0.2)
    bell = _COWBELL if rng.random() < 0.5 else _CLAVE
    hits = [(step, _CONGA_HIGH, 80) for step in high if step]
    hits += [(step, _CONGA_LOW, 85) for step in low if step]
    return hits + [(step, bell, 75) for step in rhythm(rng, meter, 0.3)]


def _filled(hits: list[Hit], meter: str) -> list[Hit]:
    total = steps_per_bar(meter)
    start = total - 4
    toms = (_HIGH_TOM, _MID_TOM, _MID_TOM, _LOW_TOM)
    kept = [hit for hit in hits if hit[0] < start]
    return sorted(kept + [(start + i, tom, 90 + 5 * i) for i, tom in enumerate(toms)])
