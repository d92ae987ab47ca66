"""Networks of fixed shapes as one call, during which other threads of Python may run.

Called layer by layer a network waits for the interpreter's lock after each layer: beside a
thread of plain Python, 5 ms each time (`sys.getswitchinterval`), 370 ms instead of 11 for the
encoder of a chunk. A traced graph runs the same kernels in the same order, so the bytes are the
same. Knows no model.
"""

import threading
import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.jit._trace import TracerWarning

Network = Callable[[Tensor], Tensor]
_TRACING = threading.Lock()
"""One graph is traced at a time, since which warnings are shown is said for all threads at once."""


class Traced:
    """A function of one tensor, kept as a graph for each shape that it was called with.

    It must do the same whatever the tensor holds, and what else it uses must neither change nor
    ask for gradients.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._graphs: dict[torch.Size, Network] = {}

    def __call__(self, given: Tensor) -> Tensor:
        """Return what the function makes of a tensor; the first of a shape is traced."""
        graph = self._graphs.get(given.shape)
        if graph is None:
            with _TRACING, torch.no_grad():
                graph = self._graphs.get(given.shape) or self._trace(given)
                self._graphs[given.shape] = graph
        return graph(given)

    def _trace(self, given: Tensor) -> Network:
        def network(one: Tensor) -> Tensor:
            return self.network(one)

        with warnings.catch_warnings():
            # What is fixed in a graph follows from the shape, and there is one for each.
            warnings.simplefilter("ignore", TracerWarning)
            # The successors named in this one need a compiler where the program runs.
            warnings.simplefilter("ignore", DeprecationWarning)
            graph = torch.jit.trace(network, (given,), check_trace=False)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - torch types no tracing
            return cast(Network, graph)
