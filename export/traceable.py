"""Any module as the exporter takes it: tensors in order in, a tuple of the outputs in order out."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.export import Dim

from export.rewrites import Rewrites
from export.signature import BATCH, graph_axes
from training.answers import in_order
from training.servable import KernelServable, Packed, Servable

PREFIX = "module."
"""What `Traceable` puts before the names of a module's weights."""


class Traceable(nn.Module):
    """A servable's module, whatever the form of its forward's arguments and results."""

    def __init__(self, servable: Servable | KernelServable) -> None:
        super().__init__()
        self.module = _unwrapped(servable.module)
        self._names = [spec.name for spec in servable.outputs]
        self.train(servable.module.training)

    def forward(self, *tensors: Tensor) -> Packed:
        """The outputs in the signature's order."""
        with Rewrites():
            return in_order(self.module(*tensors), self._names)


def dynamic_shapes(servable: Servable) -> tuple[tuple[dict[int, Dim], ...]]:
    """Of each input of a `Traceable` the axes that stay open: the symbolic ones, the batch of at least 1."""
    names = {str(axis) for spec in servable.inputs for axis in graph_axes(spec) if isinstance(axis, str)}
    dims = {name: Dim(name, min=1 if name == BATCH else 0) for name in names}
    shapes = tuple(
        {number: dims[str(axis)] for number, axis in enumerate(graph_axes(spec)) if isinstance(axis, str)}
        for spec in servable.inputs
    )
    return (shapes,)


def as_written(module: nn.Module) -> AbstractContextManager[None]:
    """Within it, what torch.compile wrapped is traced as it was written; other modules may need the compiler (scan)."""
    if any(hasattr(inner, "_orig_mod") for inner in module.modules()):
        return torch.compiler.set_stance("force_eager")
    return nullcontext()


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module inside torch.compile and the wrappers of data parallelism, which compute the same."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _unwrapped(module.module)
    inner = getattr(module, "_orig_mod", None)
    return _unwrapped(inner) if isinstance(inner, nn.Module) else module
