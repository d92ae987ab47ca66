"""What somebody else's ear hears: the network of `basic-pitch` (Bittner et al. 2022), in ONNX.

Third-party, so that no model is judged by the ear it was trained with. Frames are 256 samples at
22 050 Hz; rows are the 88 keys of a piano.
"""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from jaxtyping import Float32

from bridge.errors import NotReadyError
from bridge.ports import Mono
from bridge.resample import to_model
from bridge.spectra import ANALYSIS_RATE

RATE: Final = 22_050
HOP_SAMPLES: Final = 256
FRAME_RATE: Final = RATE / HOP_SAMPLES
LOWEST_PITCH: Final = 21
NUM_PITCHES: Final = 88
WINDOW_SAMPLES: Final = 2 * RATE - HOP_SAMPLES
EDGE_FRAMES: Final = 15
"""Frames at each edge of a window that are heard worse and dropped."""
KEPT_FRAMES: Final = 141

_NETWORK: Final = "saved_models/icassp_2022/nmp.onnx"
_NOTES, _ONSETS = "StatefulPartitionedCall:1", "StatefulPartitionedCall:2"

Roll = Float32[np.ndarray, "frames keys"]
Run = Callable[[list[str], Mapping[str, Any]], list[Any]]


class Transcriber:
    """Hears which keys sound and which begin, each from 0 to 1.

    Raises:
        NotReadyError: `basic-pitch` or `onnxruntime` is not installed.
    """

    def __init__(self, run: Run | None = None) -> None:
        """Take what runs the network; the installed one if not given."""
        self._run = run or _network()

    def __call__(self, audio: Mono) -> tuple[Roll, Roll]:
        """Return how surely each key sounds, and begins, in each frame."""
        heard = to_model(audio[None], ANALYSIS_RATE, RATE)[0]
        kept = slice(EDGE_FRAMES, EDGE_FRAMES + KEPT_FRAMES)
        padded = np.pad(heard, (EDGE_FRAMES * HOP_SAMPLES, WINDOW_SAMPLES))
        notes: list[Roll] = []
        onsets: list[Roll] = []
        for start in range(0, max(1, heard.size), KEPT_FRAMES * HOP_SAMPLES):
            window = padded[start : start + WINDOW_SAMPLES]
            sounding, beginning = self._run(
                [_NOTES, _ONSETS], {"serving_default_input_2:0": window[None, :, None]}
            )
            notes.append(sounding[0, kept])
            onsets.append(beginning[0, kept])
        frames = -(-heard.size // HOP_SAMPLES)
        return np.concatenate(notes)[:frames], np.concatenate(onsets)[:frames]


def _network() -> Run:
    spec = importlib.util.find_spec("basic_pitch")
    if spec is None or spec.origin is None:
        raise NotReadyError(
            "measuring needs a transcriber: pip install onnxruntime, "
            "and then pip install --no-deps basic-pitch"
        )
    try:
        import onnxruntime  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise NotReadyError("measuring needs onnxruntime: pip install onnxruntime") from error
    runtime = cast(Any, onnxruntime)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(spec.origin).parent / _NETWORK
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return cast(Run, session.run)
