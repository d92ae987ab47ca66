"""Audio to codes in canonical chunks: the same codes however the audio arrives.

Each chunk is encoded from one fixed-length window around it, so whole files,
streams and stems agree bit for bit. Knows frames and samples, no sessions.
"""

import numpy as np
import torch
from jaxtyping import Float32, Int16

from model.codec import Level

Mono = Float32[np.ndarray, " samples"]
Codes = Int16[np.ndarray, " frames"]


class Hearing:
    """One level's encoder over a grid of chunks of `chunk_samples`."""

    def __init__(self, level: Level, chunk_samples: int, reach: tuple[int, int]) -> None:
        """Take an encoder and its reach: frames before, samples after a frame that it sees."""
        self.level = level
        self.chunk_samples = chunk_samples
        self.hop = level.hop
        self.before_samples = reach[0] * level.hop
        self.after_samples = reach[1]
        self._padded_after = -(-reach[1] // level.hop) * level.hop

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
        start = max(0, chunk * self.chunk_samples - self.before_samples)
        end = (chunk + 1) * self.chunk_samples + self._padded_after
        window = np.zeros(end - start, np.float32)
        first, last = max(start, audio_start), min(end, audio_start + len(audio))
        if first < last:
            window[first - start : last - start] = audio[first - audio_start : last - audio_start]
        latents = self.level.latents(torch.as_tensor(window)[None])
        first = (chunk * self.chunk_samples - start) // self.hop
        codes = self.level.quantizer.encode(latents[:, :, first : first + ready])
        return codes[0].numpy().astype(np.int16)
