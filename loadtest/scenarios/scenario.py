"""What a load test needs to know of one served model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadtest.pool import Tensors
from serving.in_process import InProcessModel


class Direct:
    """The same question answered in this process: what is right, and the floor of every latency.

    The floor is what the server's own backends compute, without the server: all steps of an ensemble, one after the
    other. A state that a step keeps is at hand, in memory, as it is for a user whom the store knows.
    """

    def __init__(self, model: Path) -> None:
        """The newest version in a model's folder. Raises ValueError where it cannot run here."""
        self._model = InProcessModel.open(model)

    def prepare(self, inputs: Tensors) -> Tensors:
        """The request, of which what a server has at hand before it computes is at hand now: the user's state."""
        if self._model.keeps_states:
            self.run(inputs)
        return inputs

    def run(self, prepared: Tensors) -> Tensors:
        """The outputs of one request, alone. This is what the floor times."""
        return self._model.run([dict(prepared)])[0]


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

    def direct(self, repository: Path) -> Direct:
        """Its model, in this process. Raises ValueError for a repository that lacks it."""
        return Direct(repository / self.model)
