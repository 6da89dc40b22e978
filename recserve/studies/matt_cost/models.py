"""What is timed: each base as the task serves it, which is one forward per candidate, and MATT as it is served."""

from collections.abc import Sequence

import torch

from training.data.click import ClickData
from training.servable import Signature
from training.system import prepare
from training.systems.matt import MattConfig, build
from training.systems.matt.servables import servables
from training.tasks.click import CLICK


def base_name(base: str) -> str:
    return f"{base}_base"


def matt_name(base: str, paths: int) -> str:
    return f"matt_{base}_{paths}"


def models(base: str, paths: Sequence[int], data: ClickData) -> tuple[Signature, ...]:
    """The base and MATT around it at each number of paths, untrained: no time depends on the weights."""
    signatures: list[Signature] = []
    state = None
    for count in paths:
        config = MattConfig(base=base, paths=count)
        torch.manual_seed(0)
        matt = build(config, data.schema).eval()
        if state is None:
            prepare(matt, data)
            state = matt.state_dict()
            signatures += CLICK.release(base_name(base), matt.base, data)
        matt.load_state_dict(state)
        signatures += servables(matt_name(base, count), matt, config, data)
    return tuple(signatures)
