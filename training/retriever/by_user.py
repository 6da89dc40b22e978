"""A retriever that is asked by user: the history is read where the server keeps it, and a list comes out.

    <name>_history   user_id, excluded -> history_items, history_values, history_length
    parts            -> items, scores; a task's own, such as <name>_vector and <name>_index
    <name>           user_id, excluded, only_<field>, ... -> items, scores

Our design. A task says how its modules list (`Lists`). What the user has met, what the request excludes and what lacks
a wanted value is never listed.

Legend: B requests, N items, K listed items.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.interactions import Interactions
from training.retriever.requests import Requests, history_step, rows_of
from training.servable import NO_SCORE, EnsembleServable, EnsembleStep, Packed, Signature, StepServable, TensorSpec

ITEMS, SCORES = "items", "scores"
_CLEAR = 2e-6
"""Two scores that differ by a smaller share of the largest are a toss-up between one library's sums and another's."""
TIMES = (1, 6)
"""Requests drawn for each one needed: at first, and where too few of them are clear."""


class Further(NamedTuple):
    """An input of a request beside user and filters."""

    spec: TensorSpec
    drawn: Callable[[int, int], Tensor]
    """(B, seed) -> values."""


class Lists(NamedTuple):
    """How a module lists. Inputs of the parts are named as what gives them: a request's own, the rows of the history,
    or an earlier part's outputs."""

    parts: tuple[Signature, ...]
    """What follows the user's rows, in order; the last gives `items` and `scores` [K]."""
    wider: Signature
    """The last, with one place more, so that no toss-up decides who is the last in the list."""
    further: tuple[Further, ...] = ()


def chain(parts: Sequence[Signature], named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors by name, those that were given and those that models give one after the other, as in an ensemble."""
    known = dict(named)
    with torch.no_grad():
        for part in parts:
            answers = part.eager(*(known[spec.name] for spec in part.inputs))
            known |= zip((spec.name for spec in part.outputs), answers, strict=True)
    return known


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Requests of which rounding does not decide the list."""

    requests: Requests
    further: tuple[Further, ...]
    parts: tuple[Signature, ...]
    """That answer them, with a last one that lists one place more."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Of a request."""
        return *self.requests.inputs, *(one.spec for one in self.further)

    def __call__(self, number: int, seed: int) -> Packed:
        """Raises ValueError where too few are clear."""
        drawn, clear = 0, []
        for times in TIMES:
            drawn = 8 + times * number
            pool = *self.requests(drawn, seed), *(one.drawn(drawn, seed) for one in self.further)
            scores = chain(self.parts, dict(zip((spec.name for spec in self.inputs), pool, strict=True)))[SCORES]
            clear = clear_rows(scores)[:number]
            if len(clear) == number:
                return rows_of(self.inputs, pool, clear)
        raise ValueError(
            f"only {len(clear)} of {drawn} requests have lists that rounding does not decide; train the model before "
            "it is exported"
        )


def clear_rows(scores: Tensor) -> list[int]:
    """Rows of scores [B, K], best first, in which no two differ by no more than a rounding error."""
    listed = scores[:, 1:] > NO_SCORE
    largest = torch.where(scores > NO_SCORE, scores.abs(), 0.0).amax(dim=1, keepdim=True)
    gaps = scores[:, :-1] - scores[:, 1:]
    toss_up = listed & (gaps < _CLEAR * largest)
    return [int(row) for row in torch.nonzero(~toss_up.any(dim=1))[:, 0]]


def by_user(
    name: str, lists: Callable[["Before"], Lists], interactions: Interactions, user_fields: np.ndarray
) -> tuple[Signature, ...]:
    """The models, the ensemble `name` last. `lists` makes its parts, whose examples ask the parts before; `user_fields`
    int64 [U + 1, F] are what they read of users."""
    requests = Requests(interactions)
    step = history_step(f"{name}_history", interactions, user_fields)
    made = lists(Before(step, requests))
    asked = Asked(requests=requests, further=made.further, parts=(step, *made.parts[:-1], made.wider))
    whole = (step, *made.parts)

    def eager(*tensors: Tensor) -> Packed:
        known = chain(whole, dict(zip((spec.name for spec in asked.inputs), tensors, strict=True)))
        return known[ITEMS], known[SCORES]

    ensemble = EnsembleServable(
        name=name,
        inputs=asked.inputs,
        outputs=made.parts[-1].outputs[:2],
        example=asked,
        eager=eager,
        max_batch_size=min(one.max_batch_size for one in whole),
        steps=used(tuple(_step(one) for one in whole), (ITEMS, SCORES)),
        reads_histories=True,
    )
    return *whole, ensemble


def used(steps: Sequence[EnsembleStep], outputs: Sequence[str]) -> tuple[EnsembleStep, ...]:
    """The steps of an ensemble without outputs that nobody reads, with which tritonserver loads none."""
    read = {*outputs, *(tensor for step in steps for tensor in step.inputs.values())}
    return tuple(
        replace(step, outputs={name: tensor for name, tensor in step.outputs.items() if tensor in read})
        for step in steps
    )


def _step(model: Signature) -> EnsembleStep:
    inputs = {spec.name: spec.name for spec in model.inputs if spec.of is None}
    return EnsembleStep(model=model.name, inputs=inputs, outputs={spec.name: spec.name for spec in model.outputs})


@dataclass(frozen=True)
class Before:
    """What a part is asked behind: the step that reads histories, and requests to it."""

    step: StepServable
    requests: Requests

    def example(
        self,
        names: Sequence[str],
        parts: Sequence[Signature] = (),
        further: Sequence[Further] = (),
    ) -> Callable[[int, int], Packed]:
        """(B, seed) -> the tensors of these names, once the step and the parts before have answered."""

        def drawn(number: int, seed: int) -> Packed:
            named = dict(zip((spec.name for spec in self.requests.inputs), self.requests(number, seed), strict=True))
            named |= {one.spec.name: one.drawn(number, seed) for one in further}
            known = chain((self.step, *parts), named)
            return tuple(known[name] for name in names)

        return drawn

    @property
    def rows(self) -> tuple[TensorSpec, ...]:
        """The history's items, values and length, as an input that another model gives."""
        return self.step.outputs
