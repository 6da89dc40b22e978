"""A run whose tables by id are spread by rows over its processes, while the rest of the model is data-parallel.

Each process keeps its rows of every such table, with their gradients and moments, which are four tables' worth in all.
At the start and at the end each table passes through memory as a whole, without the other three.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.checkpoint import Weights
from training.layers.row_wise import is_spread, local
from training.warm_start import Indexed

if TYPE_CHECKING:
    # See training/layers/row_wise.py.
    from torch.distributed.tensor import DTensor

LEAST_ROWS = 1024
"""Smaller tables stay whole on each process: asking for their rows would cost more than they hold."""


def spread(module: nn.Module, name: str, device: torch.device) -> list[str]:
    """Spreads the tables by id over all processes; returns the names of those parameters.

    Their gradients are averages over the processes, as those of all others are. Raises ValueError where none is large
    enough; `name` is that of the system.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh, found = init_device_mesh(device.type, (dist.get_world_size(),)), []
    for path, table in _tables(module):
        weight = nn.Parameter(distribute_tensor(table.weight.detach(), mesh, [Shard(0)]))
        weight.register_post_accumulate_grad_hook(_average)
        table.weight = weight
        found.append(path)
    if not found:
        raise ValueError(
            f"{name} has no table by id of {LEAST_ROWS:,} rows or more, so none to spread; leave --tables out"
        )
    return found


def gather(module: nn.Module) -> None:
    """Makes the tables whole again on the first process; the others keep their rows."""
    for _, table in _tables(module):
        if is_spread(table.weight):
            whole = _gathered(table.weight)
            if whole is not None:
                table.weight = nn.Parameter(whole)


@torch.no_grad()
def put(module: nn.Module, weights: Weights) -> None:
    """The inverse of `checkpoint.snapshot`, also where tables are spread."""
    if not any(is_spread(value) for value in module.parameters()):
        module.load_state_dict(weights)
        return
    for name, value in module.state_dict().items():
        local(value).copy_(weights[name])


def refuse_whole(module: nn.Module, name: str, trials: Iterable[Callable[[nn.Module], object]]) -> None:
    """Raises ValueError where a trial reads a spread table other than by looking rows up; each gets a copy."""
    tried = copy.deepcopy(module)
    with whole_refused(name):
        for trial in trials:
            trial(tried)


@contextmanager
def whole_refused(name: str) -> Iterator[None]:
    """Says so by the name of the system where something reads a spread table as a whole."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        if "DTensor" not in str(error):
            raise
        raise ValueError(
            f"{name} reads a table as a whole, which no process has with --tables row-wise: leave it out, or train a "
            "system that only looks rows up (docs/operations.md, Tables too large for one process)"
        ) from error


def clip(parameters: Sequence[nn.Parameter], most: float) -> Tensor:
    """Scales the gradients so that their norm, over all processes, is at most that; returns what it was."""
    gradients = [one.grad for one in parameters if one.grad is not None]
    dense = [one for one in gradients if not is_spread(one)]
    square = sum((local(one).square().sum() for one in gradients if is_spread(one)), torch.zeros(()))
    assert isinstance(square, Tensor)
    dist.all_reduce(square)
    norm = (nn.utils.get_total_norm(dense).square() + square).sqrt()
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    for one in gradients:
        local(one).mul_(scale)
    return norm


def _tables(module: nn.Module) -> Iterator[tuple[str, nn.Embedding]]:
    """By the name of their parameter."""
    for path, layer in module.named_modules():
        indexed = layer.indexed if isinstance(layer, Indexed) else {}
        for name, axis in indexed.items():
            owner = module.get_submodule(f"{path}.{name}".lstrip(".").rpartition(".")[0])
            if isinstance(owner, nn.Embedding) and axis.dim == 0 and owner.weight.shape[0] >= LEAST_ROWS:
                yield f"{path}.{name}".lstrip("."), owner


def _average(parameter: Tensor) -> None:
    assert is_spread(parameter)
    if parameter.grad is not None:
        local(parameter.grad).div_(parameter.device_mesh.size())


def _gathered(weight: "DTensor") -> Tensor | None:
    """On the first process."""
    rank, own = dist.get_rank(), local(weight.detach()).contiguous()
    if rank > 0:
        if own.numel():
            dist.send(own, 0)
        return None
    whole = own.new_empty(weight.shape)
    chunks = whole.chunk(dist.get_world_size())
    chunks[0].copy_(own)
    for number, chunk in enumerate(chunks[1:], 1):
        dist.recv(chunk, number)
    return whole
