"""Which notes sound in a recording: spectra of steps in, likely pitches and hits out.

A small network over a log-frequency axis whose channels are the harmonics of
one place (Bittner et al. 2022 stack them so), so that a pitch is told from its
partials wherever it lies. Causal: a step knows itself and the steps before it.
Drums take the lowest rows, where no music plays. Knows nothing of sessions.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from model.conditioning.roll import HIT_KINDS
from model.config import ListenerConfig
from model.listening import (
    BINS_A_PITCH,
    FEATURES,
    FINE_BINS,
    FIRST_PITCH,
    PITCH_BINS,
)

PITCHES = 128
HITS = len(HIT_KINDS) + 1
SOUNDING, STRUCK = 0, 1
STATES = 2
HARMONICS = (-36, 0, 36, 57, 72, 84, 93, 101, 108)
"""Fine bins from a fundamental to its half, itself, and its harmonics 2 to 8."""
KERNEL_STEPS = 5
KERNEL_PITCHES = 5
SILENCE = -1.2
"""What a bin holds where there is nothing, beyond the axis and before the first step."""
_UNHEARD = -12.0

Steps = Float[Tensor, "batch steps features"]
Field = Float[Tensor, "batch channels _ pitches"]
"""Steps by pitches, of which a unit may skip some steps."""


class Unit(nn.Module):
    """A causal depthwise convolution over steps and pitches, and two maps, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, (KERNEL_STEPS, KERNEL_PITCHES), groups=width)
        self.enter = nn.Conv2d(width, 2 * width, 1)
        self.leave = nn.Conv2d(2 * width, width, 1)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Field, skipped: int = 0) -> Field:
        """Return the refined steps; of the first ones `skipped`, which are only looked at."""
        reach = KERNEL_PITCHES // 2
        mixed = self.depthwise(F.pad(x, (reach, reach, KERNEL_STEPS - 1 - skipped, 0)))
        return x[:, :, skipped:] + self.leave(F.gelu(self.enter(mixed)))


class Listener(nn.Module):
    """Log spectra to a logit for each step, row and state: sounding, and struck."""

    def __init__(self, config: ListenerConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.partials = nn.Conv2d(len(HARMONICS) + 1, width // 2, (1, 5), padding=(0, 2))
        self.fold = nn.Conv2d(width // 2, width, (1, BINS_A_PITCH), stride=(1, BINS_A_PITCH))
        self.colour = nn.Linear(2 * FEATURES, width)
        self.units = nn.Sequential(*(Unit(width) for _ in range(config.depth)))
        self.leave = nn.Conv2d(width, STATES, 1)
        self.hits = nn.Sequential(
            nn.Linear(2 * FEATURES + width, 2 * width), nn.GELU(), nn.Linear(2 * width, HITS)
        )
        assert self.leave.bias is not None
        nn.init.constant_(self.leave.bias, -3.0)

    @property
    def before_steps(self) -> int:
        """Return how many steps before its own an answer depends on."""
        return 1 + self.config.depth * (KERNEL_STEPS - 1)

    def forward(
        self, spectra: Steps, wanted: int | None = None
    ) -> Float[Tensor, "batch wanted rows states"]:
        """Return logits of the last `wanted` steps, or of all; before the first there was silence.

        Steps before those are refined only as far as the wanted ones depend on them.
        """
        spare = 0 if wanted is None else spectra.shape[1] - wanted
        past = F.pad(spectra[:, :-1], (0, 0, 1, 0), value=SILENCE)
        both = torch.cat([spectra, spectra - past], dim=-1)
        fine = spectra[..., :FINE_BINS]
        change = (fine - past[..., :FINE_BINS]).unsqueeze(1)
        x = F.gelu(self.partials(torch.cat([_harmonics(fine), change], dim=1)))
        colour = self.colour(both)
        x = F.gelu(self.fold(x) + colour.transpose(1, 2).unsqueeze(-1))
        x = self._refined(x, spare)
        pitches = self.leave(x).permute(0, 2, 3, 1)
        hits = self.hits(torch.cat([both[:, spare:], x.mean(-1).transpose(1, 2)], dim=-1))
        hits = hits.unsqueeze(-1).expand(-1, -1, -1, STATES)
        between = FIRST_PITCH - HITS
        above = PITCHES - FIRST_PITCH - PITCH_BINS
        return torch.cat(
            [
                hits,
                F.pad(pitches, (0, 0, between, above), value=_UNHEARD),
            ],
            dim=2,
        )

    def _refined(self, x: Field, spare: int) -> Field:
        """Return what the units make of the field, without its first `spare` steps."""
        needed = min(spare, len(self.units) * (KERNEL_STEPS - 1))
        # Channels last, which is how the processor's convolutions are fastest.
        x = x[:, :, spare - needed :].contiguous(memory_format=torch.channels_last)
        for unit in self.units:
            skipped = min(needed, KERNEL_STEPS - 1)
            needed -= skipped
            x = unit(x, skipped)
        return x


def _harmonics(fine: Float[Tensor, "batch steps fine"]) -> Float[Tensor, "batch h steps fine"]:
    """Return a channel for each harmonic: at every bin what its harmonic's bin holds."""
    low, high = -min(HARMONICS), max(HARMONICS)
    wide = F.pad(fine, (low, high), value=SILENCE)
    return torch.stack([wide[..., low + at : low + at + FINE_BINS] for at in HARMONICS], dim=1)
