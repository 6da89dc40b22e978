"""What is around a step that asks for nothing."""

from collections.abc import Callable, Sequence

from serving.histories.histories import Histories
from serving.state.states import States
from serving.steps.step import Tensors
from serving.watch.families import Family


class Unhosted:
    """Fails where a step asks another model, counts, or keeps a state."""

    def ask(self, model: str, version: int, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        raise AssertionError(model)

    def counter(self, family: Family, model: str, outcomes: Sequence[str]) -> Callable[[str, int], None]:
        raise AssertionError(family.name)

    def total(self, family: Family, model: str) -> Callable[[float], None]:
        return lambda number: None

    def states(self, model: str) -> States:
        raise AssertionError(model)

    def histories(self) -> Histories | None:
        return None
