"""What moves a stage's parameters: AdamW over its groups, at the rate of its schedule."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from training.layers.row_wise import is_spread, local
from training.resuming import OptimizerState
from training.system import Stage

if TYPE_CHECKING:
    # See training/layers/row_wise.py.
    from torch.distributed.tensor import DTensor

_WARM_UP = 0.02
"""Share of a stage's steps over which a linear schedule rises, from a tenth of it on."""


def optimizer_of(
    module: nn.Module, stage: Stage, parameters: list[nn.Parameter], state: OptimizerState
) -> torch.optim.AdamW:
    """With the moments that it had."""
    optimizer = torch.optim.AdamW(_groups(module, stage, parameters), fused=True)
    ordered = [one for group in optimizer.param_groups for one in group["params"]]
    moments = {number: _moments(ordered[number], values) for number, values in state.items()}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return optimizer


def rate(stage: Stage, share_done: float) -> float:
    """What the stage's schedule makes of a learning rate, as a factor."""
    if stage.schedule == "constant":
        return 1.0
    return min(1.0, (share_done + _WARM_UP / 10) / _WARM_UP, (1.0 - share_done) / (1.0 - _WARM_UP))


@contextmanager
def only_trainable(module: nn.Module, stage: Stage) -> Iterator[list[nn.Parameter]]:
    """The stage's parameters that want a gradient; meanwhile no other parameter gets one."""
    wanted = {id(parameter) for parameter in stage.parameters(module)}
    frozen = [p for p in module.parameters() if p.requires_grad and id(p) not in wanted]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield [p for p in module.parameters() if p.requires_grad]
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _groups(module: nn.Module, stage: Stage, parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    """What AdamW takes: the stage's groups, then the rest of its parameters, and of each the spread tables, which are
    not moved together with others. Frozen parameters stay out."""
    left = {id(parameter): parameter for parameter in parameters}
    groups = []
    for group in stage.groups:
        own = [left.pop(id(parameter)) for parameter in group.parameters(module) if id(parameter) in left]
        groups.append({"params": own, "initial_lr": group.learning_rate, "weight_decay": group.weight_decay})
    rest = {"params": list(left.values()), "initial_lr": stage.learning_rate, "weight_decay": stage.weight_decay}
    return [part for group in (*groups, rest) for part in _apart(group)]


def _apart(group: dict[str, Any]) -> list[dict[str, Any]]:
    spread = [one for one in group["params"] if is_spread(one)]
    if not spread:
        return [group]
    return [
        {**group, "params": [one for one in group["params"] if not is_spread(one)]},
        {**group, "params": spread},
    ]


def _moments(parameter: nn.Parameter, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return _spread_moments(parameter, values) if is_spread(parameter) else values


def _spread_moments(parameter: "DTensor", values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Of the rows that this process has, spread as the table is."""
    from torch.distributed.tensor import DTensor

    rows = local(parameter).shape
    return {
        name: DTensor.from_local(
            value, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
        )
        if value.shape == rows
        else value
        for name, value in values.items()
    }
