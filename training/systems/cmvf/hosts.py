"""The methods of knowledge tracing that CMVF wraps.

Legend: B students, T answers, C concepts, E width of what is said of a student, D any axes.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from jaxtyping import Float, Int
from torch import Tensor, nn

from training.baselines import dkt, pfa
from training.data.tracing import TracingBatch
from training.layers.tracer import State, Tracer
from training.schema import Schema, size_of

BaseName = Literal["dkt", "pfa"]


class Host(Tracer[State], Protocol[State]):
    """A tracer whose states before all answers can be had at once."""

    def before(self, batch: TracingBatch, /) -> State:
        """The states before each answer, parts [B, T, *D]."""
        ...

    def ask(self, state: State, question: Int[Tensor, "*B"], /) -> Float[Tensor, "*B"]:
        """As `Tracer.ask`, of states with any axes."""
        ...

    def of_concepts(self, state: State, /) -> Float[Tensor, "B C"]:
        """The logits of `mastery`."""
        ...


class Base(NamedTuple):
    """An untrained host, and how to read its state."""

    module: nn.Module
    kind: Callable[..., tuple[Tensor, ...]]
    """Its state's type."""
    names: tuple[str, ...]
    """Of the parts of its state."""
    described: Callable[..., Float[Tensor, "*B E"]]
    """(parts of a state) -> what it says of a student's answers so far."""
    width: int
    """E."""


def based_on(base: BaseName, dim: int, hidden: int, schema: Schema) -> Base:
    """DKT with these sizes, or the factor model, which has none."""
    if base == "dkt":
        recurrent = dkt.DKT(dkt.Config(dim=dim, hidden=hidden), schema)
        return Base(recurrent, dkt.DKTState, dkt.DKTState._fields, lambda hidden: hidden, hidden)
    factors = pfa.PFA(pfa.Config(), schema)
    width = size_of(schema.only("concept", "item"))
    return Base(factors, pfa.PFAState, pfa.PFAState._fields, _counted, width)


def _counted(wins: Float[Tensor, "*B C+1"], fails: Float[Tensor, "*B C+1"]) -> Float[Tensor, "*B E"]:
    return wins.log1p() - fails.log1p()
