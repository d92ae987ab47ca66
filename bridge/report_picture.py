"""The picture of a report: what was recorded, what was made, and the toys beside it.

Above, the waveform and the spectrogram of the whole with the written notes over
it and the splice marked; below, the spectrograms of the result and of the toys
at one scale. Matplotlib is imported when something is drawn.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float64

from bridge import spectra
from bridge.audio_file import write_whole
from bridge.ports import Audio
from bridge.report import Scene, Table
from bridge.spectra import FRAME_RATE, Frames

SPLICE_COLOUR: Final = "#d62728"
NOTE_COLOUR: Final = "#40e0d0"
WORD_COLOUR: Final = "#2ca02c"
WORD_HEIGHTS: Final = (0.02, 0.10, 0.18)
"""Of the panel: neighbours do not cover each other."""
DRUM_HZ: Final = 60.0
DOTS_PER_INCH: Final = 110
INCHES: Final = (14.0, 10.0)

LOUDEST_DB: Final = -15.0
"""One scale for all panels, so that they can be compared."""

_RANGE_DB: Final = 65.0
_TITLE_FIGURES: Final = ("note_f1", "copy_score", "timbre_distance_db")


def write_picture(
    path: Path, joined: Audio, candidates: Mapping[str, Audio], scene: Scene, table: Table
) -> Path:
    """Return where the PNG now lies, replacing one of that name.

    Args:
        path: The file.
        joined: Prime and result in one piece, from the prime's start on.
        candidates: The result and the toys, from the splice on.
        scene: What they had to fit.
        table: Their figures.

    Raises:
        NotFoundError: The folder does not exist.
        NotReadyError: The folder cannot be written to.
    """
    return write_whole(path, (picture(joined, candidates, scene, table),), overwrite=True)


def picture(joined: Audio, candidates: Mapping[str, Audio], scene: Scene, table: Table) -> bytes:
    """Return the picture as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, max(1, len(candidates)), height_ratios=(1, 2.4, 1.6))
    top = figure.add_subplot(grid[0, :])
    _draw_waveform(top, joined, scene)
    middle = figure.add_subplot(grid[1, :], sharex=top)
    level_db = spectra.log_frequency_db(spectra.heard(joined, scene.sample_rate))
    _draw_levels(middle, level_db, spectra.log_frequencies_hz())
    _draw_notes(middle, joined.shape[1], scene)
    middle.axvline(_splice_seconds(scene), color=SPLICE_COLOUR, linewidth=1.5)
    middle.set_title("spectrogram, written notes, splice", loc="left")
    for column, (name, audio) in enumerate(candidates.items()):
        axes = figure.add_subplot(grid[2, column])
        mel = spectra.mel_db(spectra.heard(audio, scene.sample_rate))
        _draw_levels(axes, mel, spectra.mel_band_hz(), _splice_seconds(scene))
        axes.set_title(_title(name, table), fontsize=9)
    return _png(figure)


def _draw_waveform(axes: Any, joined: Audio, scene: Scene) -> None:  # noqa: ANN401 - untyped
    mid = spectra.heard(joined, scene.sample_rate)
    padded = np.pad(mid, (0, -mid.size % spectra.HOP_SAMPLES)).reshape(-1, spectra.HOP_SAMPLES)
    seconds = np.arange(len(padded)) / FRAME_RATE
    axes.fill_between(seconds, padded.min(axis=1), padded.max(axis=1), linewidth=0.3)
    _mark_splice(axes, scene)
    _draw_words(axes, scene)
    axes.set_xlim(0, joined.shape[1] / scene.sample_rate)
    axes.set_title("prime and continuation, joined", loc="left")
    axes.set_ylabel("amplitude")


def _draw_levels(
    axes: Any,  # noqa: ANN401 - untyped
    level_db: Frames,
    hz: Float64[np.ndarray, " bins"],
    start_seconds: float = 0.0,
) -> None:
    axes.pcolormesh(
        start_seconds + np.arange(len(level_db)) / FRAME_RATE,
        hz,
        level_db.T,
        shading="nearest",
        cmap="magma",
        vmin=LOUDEST_DB - _RANGE_DB,
        vmax=LOUDEST_DB,
        rasterized=True,
    )
    axes.set_yscale("log")
    axes.set_xlabel("seconds")
    axes.set_ylabel("Hz")


def _draw_notes(axes: Any, num_samples: int, scene: Scene) -> None:  # noqa: ANN401 - untyped
    start, end = scene.prime_start_sample, scene.prime_start_sample + num_samples
    for note in scene.notes:
        if note.end_sample > start and note.start_sample < end:
            hz = DRUM_HZ if note.is_drum else spectra.pitch_hz(note.pitch)
            axes.hlines(
                hz,
                (max(start, note.start_sample) - start) / scene.sample_rate,
                (min(end, note.end_sample) - start) / scene.sample_rate,
                colors=NOTE_COLOUR,
                linewidth=1.6,
                alpha=0.4 + 0.6 * note.velocity / 127,
            )


def _draw_words(axes: Any, scene: Scene) -> None:  # noqa: ANN401 - untyped
    """Write each word where it is sung, as tall as there is room; a line where it begins."""
    for number, word in enumerate(scene.words):
        seconds = (word.start_sample - scene.prime_start_sample) / scene.sample_rate
        axes.axvline(seconds, color=WORD_COLOUR, linewidth=0.5, alpha=0.6)
        axes.annotate(
            word.text,
            (seconds, WORD_HEIGHTS[number % len(WORD_HEIGHTS)]),
            xycoords=("data", "axes fraction"),
            color=WORD_COLOUR,
            fontsize=7,
            annotation_clip=True,
        )


def _mark_splice(axes: Any, scene: Scene) -> None:  # noqa: ANN401 - untyped
    axes.axvline(_splice_seconds(scene), color=SPLICE_COLOUR, linewidth=1.5)
    axes.annotate(
        f" splice, sample {scene.splice_sample}",
        (_splice_seconds(scene), 0.97),
        xycoords=("data", "axes fraction"),
        va="top",
        color=SPLICE_COLOUR,
        fontsize=9,
    )


def _splice_seconds(scene: Scene) -> float:
    """Return where the splice lies in the joined audio."""
    return scene.prime.shape[1] / scene.sample_rate


def _title(name: str, table: Table) -> str:
    values = [
        f"{figure} {value:.2f}"
        for figure in _TITLE_FIGURES
        if (value := table.get(name, {}).get(figure)) is not None
    ]
    return "\n".join([name.replace("_", " "), *values])


def _png(figure: Any) -> bytes:  # noqa: ANN401 - untyped
    drawn = BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    return drawn.getvalue()
