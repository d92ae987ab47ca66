"""Pictures of an evaluation: figures with their intervals, and spectrograms of single clips.

Matplotlib is imported when something is drawn.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

import numpy as np

from bridge import spectra
from bridge.ports import Mono
from bridge.spectra import FRAME_RATE

DOTS_PER_INCH: Final = 80
INCHES: Final = (15.0, 2.2)
RANGE_DB: Final = 65.0
LOUDEST_DB: Final = -15.0
SPLICE_COLOUR: Final = "#d62728"
BAR_COLOUR: Final = "#1f77b4"
COLUMNS: Final = 4
DRAWN: Final = (
    "frame_f1",
    "chroma_of_prime",
    "timbre_of_truth_db",
    "note_novelty",
    "copy_score",
    "loudness_of_truth_lu",
    "seam_flux_db",
    "noisiness",
)
"""Figures of the overview."""


def clip_picture(title: str, rows: Mapping[str, Mono], splice_seconds: float) -> bytes:
    """Return a PNG with a spectrogram for each candidate's prime and result, at one scale."""
    figure = _figure(title, (INCHES[0], INCHES[1] * max(1, len(rows))))
    panels = np.atleast_1d(figure.subplots(max(1, len(rows)), 1, sharex=True))
    hz = spectra.log_frequencies_hz()
    for axes, (name, audio) in zip(panels, rows.items(), strict=False):
        level_db = spectra.log_frequency_db(audio)
        axes.pcolormesh(
            np.arange(len(level_db)) / FRAME_RATE,
            hz,
            level_db.T,
            shading="nearest",
            cmap="magma",
            vmin=LOUDEST_DB - RANGE_DB,
            vmax=LOUDEST_DB,
            rasterized=True,
        )
        axes.set_yscale("log")
        axes.axvline(splice_seconds, color=SPLICE_COLOUR, linewidth=1.2)
        axes.set_title(name.replace("_", " "), loc="left", fontsize=9)
    return _png(figure)


def overview_picture(title: str, figures: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return a PNG with a panel for each figure: candidates' means and 95 % intervals.

    `figures` is the table of a set: by candidate, by figure, `value`, `low` and `high`, or None.
    """
    names = list(figures)
    figure = _figure(title, (INCHES[0], 1 + 0.28 * len(names) * -(-len(DRAWN) // COLUMNS)))
    panels = figure.subplots(-(-len(DRAWN) // COLUMNS), COLUMNS, sharey=True)
    for place, drawn in enumerate(DRAWN):
        axes = panels[place // COLUMNS][place % COLUMNS]
        _draw_means(axes, drawn, {name: rows.get(drawn) for name, rows in figures.items()})
    return _png(figure)


def _draw_means(axes: Any, title: str, rows: Mapping[str, Any]) -> None:  # noqa: ANN401 - untyped
    axes.set_title(title.replace("_", " "), fontsize=9)
    axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    for place, row in enumerate(rows.values()):
        if row is not None:
            axes.plot([row["low"], row["high"]], [place, place], color=BAR_COLOUR)
            axes.plot(row["value"], place, "o", color=BAR_COLOUR, markersize=4)


def _figure(title: str, inches: tuple[float, float]) -> Any:  # noqa: ANN401 - untyped
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=inches, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    return figure


def _png(figure: Any) -> bytes:  # noqa: ANN401 - untyped
    drawn = BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    return drawn.getvalue()
