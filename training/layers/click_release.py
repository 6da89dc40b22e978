"""The plain served form of any module that speaks click prediction: user id and candidates -> click probabilities.

The module answers batches of samples; here a request becomes such samples inside the graph: each candidate with its
user's row. Where no history decides anything of that row, all is one graph `S` with the rows of users and items in it.
Where the module reads histories, `S` is an ensemble of `S_history`, which looks the user's row up, and `S_scorer`, the
graph; where fields of the user follow from histories, of `S_user` and `S_scorer`. A faster form may serve in its place,
and is held to this one.

Legend: B requests, C candidates packed over them, U users, I items; widths as in `training.data.columns`.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.click import HISTORY, WHO, ClickBatch, ClickData, now
from training.layers import ragged
from training.layers.click_context import context_of, context_specs, drawn_values
from training.layers.items import known
from training.layers.request_scenario import RequestScenario
from training.layers.requests import CANDIDATES, MAX_CANDIDATES, OFFSETS, SCORES, USER_ID, Requests, asked
from training.layers.users import follows, numbers, user_row, user_step
from training.servable import EnsembleServable, EnsembleStep, Packed, Signature, TensorSpec, servable

MAX_BATCH_SIZE = 64
HISTORY_BATCH = 4
"""Requests of a run where each candidate carries its user's whole history."""
HISTORY_ELEMENTS = 1 << 19
"""Candidates times events of a history in one request at most, so that a run stays within a gigabyte."""


class Scorer(nn.Module):
    """Packed candidates and their users' rows -> click probabilities."""

    def __init__(self, module: nn.Module, data: ClickData) -> None:
        super().__init__()
        self.module = module
        context = context_specs(data)
        self.names = (*user_row(data).arrays(), *(spec.name for spec in context))
        self.asked = [spec.name for spec in context if spec.dtype == "float32"]
        self.features, self.profile = data.features.layout, data.profile.layout
        self.scenario = RequestScenario(data)
        self.num_items = len(data.interactions.items)
        for name, array in zip(("item", "item_dense", "item_sets"), data.features.items, strict=True):
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, candidates: Int[Tensor, " C"], candidate_offsets: Int[Tensor, " B"], *rows: Tensor) -> Packed:
        """Probabilities [C]; NaN, never a plausible score, for a negative candidate, a length that cannot be and an
        infinite number of the event."""
        ids, request, named = self.spread_rows(candidates, candidate_offsets, *rows)
        infinite = [named[name][:, 0].isinf() for name in self.asked]
        batch = self.batch(known(ids, self.num_items), named)
        length = batch.history_length
        valid = (ids >= 0) & (length >= 0) & (length <= batch.history_items.shape[1])
        for one in infinite:
            valid = valid & ~one
        of_requests = dict(zip(self.names, rows, strict=True))
        return (torch.where(valid, torch.sigmoid(self.logits(batch, request, of_requests)), torch.nan)[:-1],)

    def logits(self, batch: ClickBatch, request: Int[Tensor, " C"], rows: dict[str, Tensor]) -> Float[Tensor, " C"]:
        """Of samples; a faster form may work out what all samples of a request share from its `rows`, [B, ...] each."""
        return self.module(batch)

    def spread_rows(
        self, candidates: Int[Tensor, " C"], candidate_offsets: Int[Tensor, " B"], *rows: Tensor
    ) -> tuple[Int[Tensor, " C+1"], Int[Tensor, " C+1"], dict[str, Tensor]]:
        """The candidates and one more, to be dropped at the end, as ORT divides by zero where a batch has none at all;
        each one's request, and the row of that by name."""
        ids = torch.cat([candidates, candidates.new_zeros(1)])
        request = ragged.requests(candidate_offsets, ids.shape[0])
        named = {name: row.index_select(0, request) for name, row in zip(self.names, rows, strict=True)}
        return ids, request, {name: row if name in self.asked else numbers(row) for name, row in named.items()}

    def samples_of_rows(self, *rows: Tensor) -> ClickBatch:
        """A sample of each request, about the unknown item."""
        named = {name: row if name in self.asked else numbers(row) for name, row in zip(self.names, rows, strict=True)}
        return self.batch(torch.zeros_like(rows[0][:, 0], dtype=torch.int64), named)

    def samples(self, candidates: Int[Tensor, " C"], candidate_offsets: Int[Tensor, " B"], *rows: Tensor) -> ClickBatch:
        """What `forward` gives the module: a sample for each candidate, and one more."""
        ids, _, named = self.spread_rows(candidates, candidate_offsets, *rows)
        return self.batch(known(ids, self.num_items), named)

    def batch(self, item: Int[Tensor, " C"], named: dict[str, Tensor]) -> ClickBatch:
        """The samples as the module was trained on them; the label, and the user where nobody reads it, are zeros."""
        items = [self.get_buffer(name).index_select(0, item) for name in ("item", "item_dense", "item_sets")]
        none, no_number = items[0][:, :0], items[1][:, :0]
        features, profile = (context_of(layout, named) for layout in (self.features, self.profile))
        zeros = torch.zeros_like(item)

        def joined(name: str, context: list[Tensor], last: Tensor) -> Tensor:
            """Side by side; parts without columns are left out, as the exporter cannot tell their rows."""
            parts = [part for part in (named.get(name, none), *context, last) if part.shape[1]]
            return torch.cat(parts, dim=1) if parts else last

        return ClickBatch(
            user=named[WHO][:, 0] if WHO in named else zeros,
            item=item,
            ids=joined("user", features.ids, items[0]),
            dense=joined("user_dense", features.dense, items[1]),
            sets=joined("user_sets", features.sets, items[2]),
            profile=joined("profile", profile.ids, none),
            profile_dense=joined("profile_dense", profile.dense, no_number),
            profile_sets=joined("profile_sets", profile.sets, none),
            history_items=named.get("history_items", zeros[:, None]),
            history_values=named.get("history_values", zeros[:, None]),
            history_ages=named.get("history_ages", zeros[:, None]),
            history_length=named["history_length"][:, 0] if "history_length" in named else zeros,
            label=zeros.to(items[1].dtype),
            scenario=self.scenario(item, named),
        )


class Ranker(nn.Module):
    """User ids and packed candidates -> click probabilities, with the users' rows in the graph."""

    def __init__(self, scorer: Scorer, rows: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.scorer, self.names = scorer, tuple(rows)
        self.num_users = len(next(iter(rows.values())))
        for name, array in rows.items():
            self.register_buffer(f"rows_{name}", torch.from_numpy(array))

    def forward(
        self,
        user_id: Int[Tensor, "B 1"],
        candidates: Int[Tensor, " C"],
        candidate_offsets: Int[Tensor, " B"],
        *context: Tensor,
    ) -> Packed:
        """Probabilities [C]; an id that no user has is the unknown user's."""
        user = known(user_id[:, 0], self.num_users)
        rows = [self.get_buffer(f"rows_{name}").index_select(0, user) for name in self.names]
        return self.scorer(candidates, candidate_offsets, *rows, *context)


def reference_of(module: nn.Module, data: ClickData) -> Callable[..., Packed]:
    """user_id, candidates, offsets, context -> probabilities: what a served request means, from the view's own batches
    of what is known now; no packing, no graph. In fp64."""
    exact = copy.deepcopy(module).double().eval()

    @torch.no_grad()
    def reference(user_id: Tensor, candidates: Tensor, ends: Tensor, *context: Tensor) -> Packed:
        scores = []
        for number, items in enumerate(torch.tensor_split(candidates, ends[:-1].long())):
            moment = tuple(values[number].numpy() for values in context)
            batch = now(data, int(user_id[number, 0]), items.numpy(), moment)
            doubled = (part.double() if part.is_floating_point() else part for part in batch)
            scores.append(torch.sigmoid(exact(ClickBatch(*doubled))))
        return (torch.cat(scores),)

    return reference


def plain_release(name: str, module: nn.Module, data: ClickData) -> tuple[Signature, ...]:
    """The models of a release, that which clients ask for last and called `name`."""
    module = module.eval()
    if HISTORY not in data.reads and not follows(data.features.layout):
        return _one_graph(name, module, data)
    return behind_rows(name, Scorer(module, data), Scorer(copy.deepcopy(module).double(), data), module, data)


def _one_graph(name: str, module: nn.Module, data: ClickData) -> tuple[Signature, ...]:
    rows = user_row(data).arrays()
    served, exact = (Ranker(Scorer(one, data), rows).eval() for one in (module, copy.deepcopy(module).double()))
    plain = servable(
        name=name,
        module=served,
        inputs=(*asked(data.interactions), *context_specs(data)),
        outputs=(SCORES,),
        example=requests(data, MAX_CANDIDATES),
    )
    return (replace(plain, reference=reference_of(module, data), eager64=torch.no_grad()(exact.double().forward)),)


def behind_rows(
    name: str, served: nn.Module, exact: nn.Module, module: nn.Module, data: ClickData, elements: int = HISTORY_ELEMENTS
) -> tuple[Signature, ...]:
    """The step that reads the users' rows, the graph behind it, and the ensemble `name` of the two.

    `served` and, in fp64, `exact` take candidates, their offsets, the rows of `user_row` and the context, as `Scorer`;
    both mean what `module` does. `elements` are candidates times events of one request at most.
    """
    most, size = most_candidates(data, elements), HISTORY_BATCH if HISTORY in data.reads else MAX_BATCH_SIZE
    example, wanted, context = requests(data, most), asked(data.interactions, most), context_specs(data)
    users = user_step(name, data, tuple(wanted), lambda number, seed: example(number, seed)[:3])
    served, exact = served.eval(), exact.eval()

    def rows_and_context(scorer: nn.Module) -> Callable[..., Packed]:
        @torch.no_grad()
        def ask(user_id: Tensor, ids: Tensor, ends: Tensor, *moment: Tensor) -> Packed:
            found = users.eager(user_id, ids, ends)
            dtype = next(scorer.parameters()).dtype
            return scorer(
                ids, ends, *(part.to(dtype) if part.is_floating_point() else part for part in (*found, *moment))
            )

        return ask

    def scorer_example(number: int, seed: int) -> Packed:
        user_id, ids, ends, *moment = example(number, seed)
        return ids, ends, *users.eager(user_id, ids, ends), *moment

    scorer = servable(
        name=f"{name}_scorer",
        module=served,
        inputs=(wanted.candidates, OFFSETS, *map(bounded, users.outputs), *context),
        outputs=(SCORES,),
        example=scorer_example,
        max_batch_size=size,
    )
    ensemble = EnsembleServable(
        name=name,
        inputs=(*wanted, *context),
        outputs=(SCORES,),
        example=example,
        eager=rows_and_context(served),
        eager64=rows_and_context(exact.double()),
        reference=reference_of(module, data),
        max_batch_size=size,
        steps=_steps(users, scorer, context),
        reads_histories=True,
    )
    return users, scorer, ensemble


def _steps(users: Signature, scorer: Signature, context: tuple[TensorSpec, ...]) -> tuple[EnsembleStep, ...]:
    rows, asked = _same(users.outputs), _same((CANDIDATES,))
    return (
        EnsembleStep(model=users.name, inputs=_same((USER_ID, CANDIDATES)), outputs=rows),
        EnsembleStep(model=scorer.name, inputs={**asked, **rows, **_same(context)}, outputs=_same((SCORES,))),
    )


def _same(specs: Iterable[TensorSpec]) -> dict[str, str]:
    return {spec.name: spec.name for spec in specs}


def most_candidates(data: ClickData, elements: int = HISTORY_ELEMENTS) -> int:
    """Of one request, with candidates times events of `elements` at most."""
    return max(1, min(MAX_CANDIDATES, elements // data.max_length)) if HISTORY in data.reads else MAX_CANDIDATES


def bounded(spec: TensorSpec) -> TensorSpec:
    """What a history can hold; fields take any id."""
    return replace(spec, minimum=0) if spec.name.startswith("history") else spec


def requests(data: ClickData, most: int, *, least: int = 0) -> Callable[[int, int], Packed]:
    """(B, seed) -> requests of users by the length of their history, with what the events' fields may be."""
    lengths = np.diff(np.stack(data.log.all_of(np.arange(1, len(data.interactions.users)))), axis=0)[0]
    by_length = 1 + np.argsort(lengths, kind="stable")
    drawn = Requests(
        user_ids=by_length,
        num_items=len(data.interactions.items) - 1,
        first=(int(by_length[-1]), int(by_length[0])),
        least=least,
        most=min(500, most),
    )

    def example(batch_size: int, seed: int) -> Packed:
        random = np.random.default_rng([seed, 1])
        return *drawn(batch_size, seed), *(drawn_values(data, field, batch_size, random) for field in data.context)

    return example
