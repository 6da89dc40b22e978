"""`retrieve_then_rank`: a user in, the best k items out: what a retriever finds, scored by a ranker, in one call.

    retrieve_then_rank_retriever   user_id, filters -> items, scores; and its parts, see `training.retriever`
    the ranker's own models        user_id, candidates -> scores
    retrieve_then_rank_top         both scores of each item, k -> the best k
    retrieve_then_rank             all of them, in this order

A client may ask the retriever and the ranker one after the other, which gives the same list. Our design.

Legend: B requests, N retrieved items, K listed ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from training.layers.best_of_list import BestOfList
from training.retriever.by_user import SCORES, TIMES, clear_rows, used
from training.retriever.requests import KNOWN_USER, rows_of
from training.schema import Role, Schema
from training.servable import (
    NO_SCORE,
    EnsembleServable,
    EnsembleStep,
    Packed,
    Servable,
    Signature,
    TensorSpec,
    of_origin,
    servable,
)

NAME = "retrieve_then_rank"
RETRIEVER = f"{NAME}_retriever"
ITEMS, USER_ID, CANDIDATES = "items", "user_id", "candidates"
RETRIEVER_SCORES = "retriever_scores"
TOP = 100
"""K, where as many are retrieved."""


class Ranker(NamedTuple):
    """A release whose last model answers `user_id`, `candidates` and a context with `scores`."""

    models: tuple[Signature, ...]

    @property
    def whole(self) -> Signature:
        return self.models[-1]

    @property
    def context(self) -> tuple[TensorSpec, ...]:
        """What it asks beside user and candidates."""
        return tuple(one for one in self.whole.inputs if one.of is None and one.name not in (USER_ID, CANDIDATES))


def retrieve_then_rank(retriever: Sequence[Signature], ranker: Sequence[Signature]) -> tuple[Signature, ...]:
    """The last two models of the release; `retriever` is `by_user(RETRIEVER, ...)`, `ranker` a release.

    Outputs: `items` [K], `scores` [K] of the ranker, by which they are ordered, and `retriever_scores` [K]. Beyond the
    k best, and where nothing is left, an item is 0 and its scores are -1e9. Raises ValueError where the two do not fit.
    """
    rank = Ranker(tuple(ranker))
    _check(rank, retriever[-1])
    joint = _Joint(retriever[-1], rank)
    top = joint.top()
    last = EnsembleStep(model=top.name, inputs=joint.of_top(), outputs={one.name: one.name for one in top.outputs})
    ensemble = EnsembleServable(
        name=NAME,
        inputs=(*joint.inputs, *rank.context),
        outputs=top.outputs,
        example=joint.example,
        eager=joint.eager,
        max_batch_size=min(one.max_batch_size for one in (*retriever, *ranker)),
        steps=used((*joint.retrieving(), *joint.ranking(), last), [one.name for one in top.outputs]),
        reads_histories=True,
    )
    return top, ensemble


def joined(retriever: Sequence[Signature], ranker: Sequence[Signature]) -> tuple[Signature, ...]:
    """The whole release: the ranker's models, the retriever's, then what joins them."""
    return *ranker, *of_origin((*retriever, *retrieve_then_rank(retriever, ranker)), retriever[-1].origin)


def refuse_other_ids(retriever: Schema, ranker: Schema) -> None:
    """Raises ValueError unless both data sets number the same users and items alike: as many, of the same names and raw
    ids. Those without either are told apart by their data set alone."""
    for role in ("item", "user"):
        _refuse(role, retriever, ranker)


def _refuse(role: Role, retriever: Schema, ranker: Schema) -> None:
    ours, theirs = retriever.key(role), ranker.key(role)
    told_apart = ours.values is not None or ours.ids is not None or retriever.dataset == ranker.dataset
    if told_apart and (ours.cardinality, ours.values, ours.ids) == (theirs.cardinality, theirs.values, theirs.ids):
        return
    counts = f"{ours.cardinality} ids of {retriever.dataset} are not the {theirs.cardinality} of {ranker.dataset}"
    raise ValueError(
        f"retriever and ranker know different {role}s: the {counts}; train both on one data set, with --dataset"
    )


def _check(ranker: Ranker, retriever: Signature) -> None:
    whole = ranker.whole
    asked = [spec.name for spec in whole.inputs if spec.of is None]
    if asked[:2] != [USER_ID, CANDIDATES] or [spec.name for spec in whole.outputs] != [SCORES]:
        answered = ", ".join(spec.name for spec in whole.outputs)
        raise ValueError(
            f"'{whole.name}' does not rank: it must answer {USER_ID}, {CANDIDATES} with {SCORES}, not "
            f"{', '.join(asked)} with {answered}"
        )
    if ragged := [spec.name for spec in ranker.context if spec.ragged]:
        raise ValueError(f"'{whole.name}' also asks {ragged[0]} of each candidate, which a retriever does not know")
    if twice := sorted({spec.name for spec in ranker.context} & {"k", *(one.name for one in retriever.inputs)}):
        raise ValueError(f"retriever and ranker both ask {twice[0]}; rename one of the fields")
    most = next(spec.max_elements for spec in whole.inputs if spec.name == CANDIDATES)
    retrieved = _number(retriever)
    if most is not None and retrieved > most:
        raise ValueError(f"'{whole.name}' ranks {most} candidates at most, {retrieved} are retrieved: give fewer")


def _number(retriever: Signature) -> int:
    (size,) = retriever.outputs[0].shape
    assert isinstance(size, int)
    return size


@dataclass(frozen=True)
class _Joint:
    """Retriever and ranker, and how their tensors are called in the ensemble."""

    retriever: Signature
    ranker: Ranker

    @property
    def k(self) -> TensorSpec:
        """Items that are listed, at most K."""
        most = min(TOP, _number(self.retriever))
        return TensorSpec(name="k", dtype="int64", shape=(1,), minimum=1, maximum=most, neutral=str(most))

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Of a request, without the ranker's context."""
        return *self.retriever.inputs, self.k

    def top(self) -> Servable:
        """The graph that orders and cuts."""
        items, _ = self.retriever.outputs
        assert isinstance(self.k.maximum, int)
        most, number = self.k.maximum, items.shape
        scores = TensorSpec(name="retrieved_scores", dtype="float32", shape=number)
        return servable(
            name=f"{NAME}_top",
            module=BestOfList(most),
            inputs=(replace(items, name="retrieved"), scores, replace(scores, name="ranker_scores"), self.k),
            outputs=(
                replace(items, shape=(most,)),
                *(TensorSpec(name=name, dtype="float32", shape=(most,)) for name in (SCORES, RETRIEVER_SCORES)),
            ),
            example=self._any_list,
        )

    def _any_list(self, number: int, seed: int) -> Packed:
        """Lists that nobody retrieved: some are not full, some ask for few, some scores are equal."""
        random = torch.Generator().manual_seed(seed)
        size = _number(self.retriever)
        items = torch.rand(number, size, generator=random).argsort(1) + 1
        there = torch.arange(size) < torch.randint(0, size + 1, (number, 1), generator=random).clamp(min=1)
        both = (torch.randint(0, 4 * size, (number, size), generator=random) / (4 * size) for _ in range(2))
        k = torch.randint(1, int(str(self.k.maximum)) + 1, (number, 1), generator=random)
        return torch.where(there, items, 0), *(torch.where(there, one, NO_SCORE) for one in both), k

    def of_top(self) -> dict[str, str]:
        """Inputs of the graph -> tensors of the ensemble."""
        return {
            "retrieved": "of_retriever_items",
            "retrieved_scores": "of_retriever_scores",
            "ranker_scores": "of_ranker_scores",
            "k": "k",
        }

    def retrieving(self) -> tuple[EnsembleStep, ...]:
        """The retriever's steps; what they give each other is told apart from the ranker's."""
        first, *others = self.retriever.steps
        whole = replace(first, outputs={**first.outputs, KNOWN_USER: KNOWN_USER})
        return _apart(replace(self.retriever, steps=(whole, *others)), "of_retriever_", {})

    def ranking(self) -> tuple[EnsembleStep, ...]:
        """The ranker's, about what was retrieved."""
        given = {CANDIDATES: "of_retriever_items"}
        if not self.ranker.whole.reads_histories:
            given[USER_ID] = f"of_retriever_{KNOWN_USER}"
        return _apart(self.ranker.whole, "of_ranker_", given)

    def eager(self, *request: Tensor) -> Packed:
        """Items, and both scores [B, K]."""
        known = self._answered(dict(zip(self._names(), request, strict=True)))
        top = BestOfList(int(str(self.k.maximum)))
        return top(*(known[source] for source in self.of_top().values()))

    def example(self, number: int, seed: int) -> Packed:
        """Requests of which rounding decides neither list; some ask for few items."""
        known = self._known(number, seed)
        return tuple(known[name] for name in self._names())

    def _specs(self) -> tuple[TensorSpec, ...]:
        return *self.inputs, *self.ranker.context

    def _names(self) -> list[str]:
        return [spec.name for spec in self._specs()]

    def _known(self, number: int, seed: int) -> dict[str, Tensor]:
        """Requests, and what both models say to them, by name."""
        drawn, clear = 0, []
        for times in TIMES:
            drawn = 4 + times * number
            request = self._drawn(drawn, seed)
            known = self._answered(request)
            listed = torch.where(known["of_retriever_items"] > 0, known["of_ranker_scores"], NO_SCORE)
            clear = clear_rows(listed.sort(dim=1, descending=True).values)[:number]
            if len(clear) == number:
                kept = rows_of(self._specs(), tuple(request[name] for name in self._names()), clear)
                made = {name: tensor[clear] for name, tensor in known.items() if name not in request}
                return {**dict(zip(self._names(), kept, strict=True)), **made}
        raise ValueError(
            f"only {len(clear)} of {drawn} requests have scores of '{self.ranker.whole.name}' that rounding does not "
            "order"
        )

    def _drawn(self, number: int, seed: int) -> dict[str, Tensor]:
        """Requests, by name."""
        random, whole = torch.Generator().manual_seed(seed), self.ranker.whole
        k = torch.randint(1, int(str(self.k.maximum)) + 1, (number, 1), generator=random)
        found = dict(zip((spec.name for spec in self.inputs), (*self.retriever.example(number, seed), k), strict=True))
        of_ranker = dict(zip((spec.name for spec in whole.inputs), whole.example(number, seed), strict=True))
        return found | {spec.name: of_ranker[spec.name] for spec in self.ranker.context}

    def _answered(self, request: Mapping[str, Tensor]) -> dict[str, Tensor]:
        items, scores = self.retriever.eager(*(request[spec.name] for spec in self.retriever.inputs))
        ends = torch.arange(1, items.shape[0] + 1, dtype=torch.int32) * items.shape[1]
        asked, whole = {**request, CANDIDATES: items.flatten()}, self.ranker.whole
        (ranked,) = whole.eager(*(ends if spec.of == CANDIDATES else asked[spec.name] for spec in whole.inputs))
        found = {"items": items, "scores": scores}
        return {
            **request,
            **{f"of_retriever_{name}": tensor for name, tensor in found.items()},
            "of_ranker_scores": ranked.reshape(items.shape),
        }


def _apart(model: Signature, prefix: str, given: Mapping[str, str]) -> tuple[EnsembleStep, ...]:
    """The steps of a model, or itself as one; tensors that are no input of a request get the prefix, or the name that
    is `given`, so that two models' own do not meet."""
    shared = {**_same(model.inputs), **given}
    alone = EnsembleStep(
        model=model.name, inputs=_same(model.inputs), outputs={one.name: one.name for one in model.outputs}
    )

    def renamed(names: Mapping[str, str]) -> dict[str, str]:
        return {name: shared.get(tensor, f"{prefix}{tensor}") for name, tensor in names.items()}

    steps = model.steps or (alone,)
    return tuple(
        EnsembleStep(model=one.model, inputs=renamed(one.inputs), outputs=renamed(one.outputs)) for one in steps
    )


def _same(inputs: Sequence[TensorSpec]) -> dict[str, str]:
    return {spec.name: spec.name for spec in inputs if spec.of is None}
