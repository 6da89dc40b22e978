"""What a load test needs to know of one served model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loadtest.pool import Tensors


class Direct(Protocol):
    """The same question answered in this process: what is right, and the floor of every latency."""

    def prepare(self, inputs: Tensors) -> Tensors:
        """What a server has at hand before it computes: for a ranker the user's state."""
        ...

    def run(self, prepared: Tensors) -> Tensors:
        """The outputs of one request, alone. This is what the floor times."""
        ...


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The traffic of one served model."""

    name: str
    model: str
    """The model that requests go to."""
    distribution: str
    """What the requests are drawn from, in words: printed in the report."""
    requests: Callable[[Path, int], list[Tensors]]
    """(repository, seed) -> distinct requests, drawn with the skew of real traffic."""
    direct: Callable[[Path], Direct]
    """Of a repository."""
