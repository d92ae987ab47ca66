"""Spectrograms of clips, one candidate over the other, from the prime's start on, at one scale.

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


def clip_picture(title: str, rows: Mapping[str, Mono], splice_seconds: float) -> bytes:
    """Return a PNG with a spectrogram for each candidate's prime and result."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = (INCHES[0], INCHES[1] * max(1, len(rows)))
    figure: Any = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
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
    drawn = BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    return drawn.getvalue()
