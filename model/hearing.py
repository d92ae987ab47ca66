"""Audio to codes in canonical chunks: the same codes however the audio arrives.

Each chunk is encoded from one window around it, as long as the encoder reaches, so
whole files, streams and stems agree bit for bit. Knows frames and samples, no sessions.
"""

from functools import partial

import numpy as np
import torch
from jaxtyping import Float32, Int16

from model.chunked import encoder_layers, in_window, reach_of
from model.codec import Level
from model.memo import Memo, digest
from model.traced import Traced

Mono = Float32[np.ndarray, " samples"]
Codes = Int16[np.ndarray, " frames"]
CODES_BYTES = 4 * 2**20


class Hearing:
    """One level's encoder over a grid of chunks of `chunk_samples`."""

    def __init__(self, level: Level, chunk_samples: int, reach: tuple[int, int]) -> None:
        """Take an encoder and its reach: frames before, samples after a frame that it sees.

        Raises:
            ValueError: The encoder reaches further.
        """
        self.level = level
        self.chunk_samples = chunk_samples
        self.hop = level.hop
        self.after_samples = reach[1]
        layers = encoder_layers(level)
        self._first = Traced(partial(in_window, layers, begins=True, ends=False))
        self._later = Traced(partial(in_window, layers, begins=False, ends=False))
        self.codes: Memo[Codes] = Memo(CODES_BYTES, lambda codes: codes.nbytes)
        """Codes by the sound that they were made of: of primes and stems heard before."""
        behind, ahead = (int(samples) for samples in reach_of(layers))
        self.before_samples = behind
        if behind > reach[0] * level.hop or ahead > reach[1]:
            raise ValueError(
                f"the encoder reaches {behind} samples before and {ahead} after a frame, "
                f"allowed are {reach[0] * level.hop} and {reach[1]}"
            )

    def frames_ready(self, chunk: int, heard_sample: int) -> int:
        """Return how many frames of a chunk are settled once audio up to a sample is there."""
        available = (heard_sample - self.after_samples) // self.hop
        per_chunk = self.chunk_samples // self.hop
        return max(0, min(per_chunk, available - chunk * per_chunk))

    @torch.no_grad()
    def encode(self, audio: Mono, audio_start: int, chunk: int) -> Codes:
        """Return the settled codes of one chunk.

        `audio` starts at `audio_start`, which may lie before the grid or after
        the chunk; where there is none, silence is heard.
        """
        ready = self.frames_ready(chunk, audio_start + len(audio))
        begin = chunk * self.chunk_samples
        start = max(0, begin - self.before_samples)
        end = begin + self.chunk_samples + self.after_samples
        window = np.zeros(end - start, np.float32)
        first, last = max(start, audio_start), min(end, audio_start + len(audio))
        if first < last:
            window[first - start : last - start] = audio[first - audio_start : last - audio_start]
        skipped = begin // self.hop if begin < self.before_samples else None
        key = digest(window, np.array([-1 if skipped is None else skipped, ready]))
        return self.codes.of(key, lambda: self._encoded(window, skipped, ready))

    def _encoded(self, window: Mono, skipped: int | None, ready: int) -> Codes:
        """Return the codes of a window; `skipped` frames come first where the sound begins."""
        piece = torch.as_tensor(window).to(self.level.dtype)[None, None, None]
        latents = (self._later if skipped is None else self._first)(piece)[:, :, 0]
        first = skipped or 0
        codes = self.level.quantizer.encode(latents[:, :, first : first + ready])
        return codes[0].numpy().astype(np.int16)
