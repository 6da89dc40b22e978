"""What a step that is no graph is: requests in, answers or refusals out, and what it finds around it."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np

from serving.histories.histories import Histories
from serving.state.states import States
from serving.watch.families import Family

Tensors = dict[str, np.ndarray]
"""Of one request, by name, each [1, ...]."""


class Refusal(NamedTuple):
    """Why a request gets no answer."""

    reason: str
    status: Literal["INVALID_ARG", "UNAVAILABLE", "INTERNAL"]
    """The request is wrong; the same request may succeed later; the models do not fit together."""


Answer = Tensors | Refusal


class Step(Protocol):
    """The computation, free of tritonserver's requests and responses."""

    def answer(self, requests: Sequence[Tensors]) -> Sequence[Answer]:
        """One answer per request of a dynamic batch, in order; a request that is wrong is refused alone."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


class NotAnsweredError(RuntimeError):
    """Another model, which a step asked, did not answer."""

    def __init__(self, reason: str, *, is_busy: bool = False) -> None:
        super().__init__(reason)
        self.is_busy = is_busy
        """It has no room or is not loaded: the same request may succeed later."""


class Host(Protocol):
    """What is around a step: a process of tritonserver's Python backend, or this one."""

    def ask(self, model: str, version: int, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """The answer [k, ...] of another model of the repository. Raises NotAnsweredError."""
        ...

    def counter(self, family: Family, model: str, outcomes: Sequence[str]) -> Callable[[str, int], None]:
        """A family of counters with a series per outcome, there from the start at zero: (outcome, how many more)."""
        ...

    def total(self, family: Family, model: str) -> Callable[[float], None]:
        """A counter, there from the start at zero: (how many more)."""
        ...

    def states(self, model: str) -> States:
        """Where a model's states are kept."""
        ...

    def histories(self) -> Histories | None:
        """Where the users' histories are kept, one for all steps; None where nobody says."""
        ...
