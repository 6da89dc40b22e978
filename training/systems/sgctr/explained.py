"""What SGCTR redefined of a row and by how much: a further model of a release, and its answer for people.

Legend: B rows, F fields, S rounds, K values of each field.
"""

import copy

import torch
from torch import nn

from training.asking import Infer, Shown, Tensors, ordered
from training.data.click import ClickBatch, ClickData
from training.data.columns import feature_layout
from training.interactions import Interactions
from training.layers.click_release import plain_release
from training.layers.columns import Features
from training.layers.likeliest import MOST, Likeliest
from training.layers.requests import CANDIDATES
from training.layers.row_model import ROW, row_model, said, told_of
from training.servable import Packed, Signature, TensorSpec
from training.systems.sgctr.model import Sgctr, SgctrConfig

BEST = 3
"""Candidates that are explained."""
PART = "rounds"
_LEAST = 1e-3
"""Share from which on it is shown."""


class Redefined(nn.Module):
    """Of each field how much of it gives way in each round, and its likeliest values; how far the answer goes from the
    row as it is towards the redefined one, and the click probabilities of the row as it is, redefined, and answered."""

    def __init__(self, module: Sgctr) -> None:
        super().__init__()
        self.module, self.likeliest = module, Likeliest(module.base)

    def forward(self, batch: ClickBatch) -> Packed:
        module, x = self.module, Features(batch.ids, batch.dense, batch.sets)
        first = module.base.embedding(x)
        states = module.base.denoiser.states(first)
        before = module.base.denoiser.logit(states)
        mended = module.mend(first, states)
        doubt = module.doubt(module.consistency(states, first)) if mended.rounds else torch.zeros_like(before)
        given_up = [one.given_up for one in mended.rounds] or [torch.zeros_like(first[..., 0])]
        after = before + doubt * (mended.logit - before)
        return (
            torch.stack(given_up, dim=1),
            doubt[:, None],
            torch.sigmoid(torch.stack([before, mended.logit, after], dim=1)),
            *self.likeliest(batch)[:2],
        )


def served(name: str, module: Sgctr, config: SgctrConfig, data: ClickData) -> tuple[Signature, ...]:
    """The plain release, and beside it the model that `explained` asks."""
    count = module.base.num_fields
    outputs = (
        TensorSpec(name="given_up", dtype="float32", shape=(max(1, config.rounds), count)),
        TensorSpec(name="doubt", dtype="float32", shape=(1,)),
        TensorSpec(name="scores", dtype="float32", shape=(3,)),
        TensorSpec(name="values", dtype="int64", shape=(count, MOST)),
        TensorSpec(name="shares", dtype="float32", shape=(count, MOST)),
    )
    exact = copy.deepcopy(module).double().eval()
    return (row_model(f"{name}_{PART}", Redefined(exact), exact, outputs, data), *plain_release(name, module, data))


def explained(infer: Infer, model: str, interactions: Interactions, request: Tensors, answer: Tensors) -> list[Shown]:
    """A table for each of the best candidates: each field's value, how much of it gives way in each round, and the
    value that is likeliest in its place; above it, how far the answer follows. Of a row without doubt nothing does."""
    fields = feature_layout(interactions.schema).fields
    tables = []
    for place in ordered(answer["scores"][0])[:BEST].tolist():
        told = {key: value[0] for key, value in told_of(infer, model, PART, interactions, request, place).items()}
        item = request[CANDIDATES.name][0, place]
        rounds = range(len(told["given_up"]))
        rows: list[list[object]] = []
        for number, field in enumerate(fields):
            value, share = int(told["values"][number][0]), float(told["shares"][number][0])
            likely = f"{said(interactions, field, value)} {share:.2f}" if share else ""
            parts = [float(told["given_up"][one][number]) if told["doubt"][0] else 0.0 for one in rounds]
            own = said(interactions, field, int(told[ROW][number]))
            rows.append([field.name, own, *(f"{part:.1%}" if part >= _LEAST else "" for part in parts), likely])
        title = (
            f"what was redefined of {interactions.titles[interactions.dense('item', item)]} (item {item}): "
            f"{_outcome(float(told['doubt'][0]), *told['scores'].tolist())}"
        )
        columns = ("field", "value", *(f"of its vector gave way, round {one + 1}" for one in rounds), "likeliest value")
        tables.append(Shown((), title, columns, rows))
    return tables


def _outcome(doubt: float, before: float, redefined: float, answered: float) -> str:
    if not doubt:
        return f"nothing, as every field fits the others; score {before:.4f}"
    return (
        f"score {before:.4f} as it is and {redefined:.4f} redefined; answered {answered:.4f}, "
        f"{doubt:.0%} of the way between their logits"
    )
