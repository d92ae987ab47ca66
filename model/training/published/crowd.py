"""Processes that train one model together, each on its rows of every batch.

With one process everything here is the identity. Several are started by
`torchrun`; what they share are sums, so that together they learn what one
process would learn from the whole batch.
"""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from model.errors import TrainingError
from model.quantizer import Tally

_ranks = cast(Any, dist.distributed_c10d)
# Torch types neither all of its parts nor their names.
KEEPS_A_GROUP = "torch.distributed.nn.functional"
"""Its functions have the group that is there at its import for a default, and so hold it for ever.
PyTorch imports it when an optimiser is made, if nothing did so before."""
BUCKET_NUMBERS = 8 * 2**20
"""Gradients that are summed in one message."""
Latents = Float[Tensor, "batch width frames"]
Rows = Float[Tensor, "rows width"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Which of how many processes this is."""

    rank: int = 0
    size: int = 1

    def rows(self, batch_clips: int) -> range:
        """Return which rows of a batch are this process's.

        Raises:
            TrainingError: The processes cannot share them evenly.
        """
        if batch_clips % self.size:
            raise TrainingError(
                f"data.batch_clips is {batch_clips}, {self.size} processes cannot share it evenly"
            )
        own = batch_clips // self.size
        return range(self.rank * own, (self.rank + 1) * own)

    def mean_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Put the mean over processes in place of each gradient."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        bucket: list[Tensor] = []
        for gradient in gradients:
            if bucket and sum(one.numel() for one in bucket) + gradient.numel() > BUCKET_NUMBERS:
                self._mean_bucket(bucket)
                bucket = []
            bucket.append(gradient)
        self._mean_bucket(bucket)

    def _mean_bucket(self, bucket: list[Tensor]) -> None:
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        self._sum(flat)
        first = 0
        for gradient in bucket:
            part = flat[first : first + gradient.numel()]
            gradient.copy_(part.view_as(gradient) / self.size)
            first += gradient.numel()

    def first(self, value: float) -> float:
        """Return the first process's value."""
        return value if self.size == 1 else self.total(value if self.rank == 0 else 0.0)

    def any(self, asked: bool) -> bool:
        """Return whether one process at least says so."""
        return self.total(float(asked)) > 0

    def wait(self) -> None:
        """Return once every process has come here."""
        self.total(0.0)

    def total(self, value: float) -> float:
        """Return the sum over processes."""
        if self.size == 1:
            return value
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        shared = torch.tensor([value], dtype=torch.float64, device=device)
        return float(self._sum(shared))

    def means(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Return figures averaged over processes, which all have the same."""
        return {name: self.total(value) / self.size for name, value in figures.items()}

    def tallied(self, used: Tally, latents: Latents, random: torch.Generator) -> Tally:
        """Return how all processes together used a codebook, with the same fresh rows for all."""
        return replace(
            used,
            counts=self._sum(used.counts.clone()),
            sums=self._sum(used.sums.clone()),
            fresh=self.chosen(latents, len(used.fresh), random),
        )

    def chosen(self, latents: Latents, count: int, random: torch.Generator) -> Rows:
        """Return randomly chosen latents of all processes; too few are tiled with a little noise.

        The choice is that of one process that holds them all: `random` is in the same state
        everywhere.
        """
        own = latents.float().movedim(1, -1).flatten(0, 1)
        every = len(own) * self.size
        copies = -(-count // every)
        places = torch.randperm(every * copies, generator=random)[:count].to(own.device) % every
        mine = places // len(own) == self.rank
        rows = own.new_zeros(count, own.shape[1])
        rows[mine] = own[places[mine] - self.rank * len(own)]
        self._sum(rows)
        if copies > 1:
            noise = torch.randn(rows.shape, generator=random) * (0.01 / rows.shape[1] ** 0.5)
            rows += noise.to(rows)
        return rows

    def _sum(self, shared: Tensor) -> Tensor:
        if self.size > 1:
            dist.all_reduce(shared)  # pyright: ignore[reportUnknownMemberType] - torch leaves it open
        return shared


def join_crowd(device: torch.device) -> Crowd:
    """Return the processes that `torchrun` started, this one alone if it started none."""
    if not dist.is_torchelastic_launched():
        return Crowd()
    if not dist.is_initialized():
        # Else leaving would not end the group's threads. One that lets go of a tensor while the
        # interpreter ends aborts the process.
        importlib.import_module(KEEPS_A_GROUP)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Crowd(rank=dist.get_rank(), size=dist.get_world_size())


def leave_crowd() -> None:
    """Let go of the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def own_device(kind: str) -> torch.device:
    """Return the device of this process: with `cuda`, the one of its number on this machine."""
    if kind != "cuda":
        return torch.device(kind)
    number = _ranks.get_node_local_rank(fallback_rank=0)
    torch.cuda.set_device(number)
    return torch.device("cuda", number)
