"""A further model of a release: of one user and one item what else a module says of the row that it scores.

It is asked for reasons, one row at a time, and computes in fp64, so that the order of what it lists is the same
everywhere. The models that answer clients stay as they are.

Legend: B requests, F fields.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from training.asking import Infer, Tensors
from training.data.click import ClickData
from training.data.columns import feature_layout
from training.interactions import Interactions
from training.layers.click_context import context_specs
from training.layers.click_release import Scorer, requests
from training.layers.items import known
from training.layers.requests import CANDIDATES, USER_ID, asked
from training.layers.users import follows, numbers, user_row, user_step
from training.schema import Field
from training.servable import Packed, Servable, TensorSpec, servable

ITEM_ID = TensorSpec(name="item_id", dtype="int64", shape=(1,))
ROW = "row"
"""The ids of the row's fields as the module knows them, int64 [F]."""


class RowModel(nn.Module):
    """(who, item, context) -> the row's ids, then what `told` says of the batch."""

    def __init__(self, told: nn.Module, scorer: Scorer, rows: dict[str, np.ndarray]) -> None:
        """`rows` are those of all users by name; empty where a request brings them."""
        super().__init__()
        self.told, self.scorer, self.own = told, scorer, tuple(rows)
        self.num_users = len(next(iter(rows.values()))) if rows else 0
        for name, array in rows.items():
            self.register_buffer(f"rows_{name}", torch.from_numpy(array))

    def forward(self, item_id: Int[Tensor, "B 1"], *given: Tensor) -> Packed:
        """`given`: the user id, or the user's rows; then the event's fields."""
        if self.own:
            user = known(given[0][:, 0], self.num_users)
            given = *(self.get_buffer(f"rows_{name}").index_select(0, user) for name in self.own), *given[1:]
        exact = (part.double() if part.is_floating_point() else part for part in given)
        named = dict(zip(self.scorer.names, exact, strict=True))
        asked_for = self.scorer.asked
        named = {name: row if name in asked_for else numbers(row) for name, row in named.items()}
        batch = self.scorer.batch(known(item_id[:, 0], self.scorer.num_items), named)
        return tuple(part.float() if part.is_floating_point() else part for part in (batch.ids, *self.told(batch)))


def row_model(
    name: str, told: nn.Module, module: nn.Module, outputs: Sequence[TensorSpec], data: ClickData
) -> Servable:
    """The model called `name`; `told` takes a batch and gives `outputs`, and `module` is what a release serves, which
    `told` has its weights from."""
    scorer = Scorer(module, data).double()
    at_request = follows(data.features.layout)
    inner = RowModel(told.double(), scorer, {} if at_request else user_row(data).arrays())
    ask, wanted = requests(data, 1, least=1), asked(data.interactions)
    users = user_step(name, data, tuple(wanted), ask) if at_request else None

    def example(batch_size: int, seed: int) -> Packed:
        random = np.random.default_rng([seed, 2])
        user_id, _, _, *moment = ask(batch_size, seed)
        item = torch.from_numpy(random.integers(0, len(data.interactions.items), (batch_size, 1)))
        who = (user_id,) if users is None else users.eager(user_id, item[:, 0], torch.arange(1, batch_size + 1))
        return item, *who, *moment

    return servable(
        name=name,
        module=inner,
        inputs=(
            replace(ITEM_ID, ids=data.interactions.ids.get("item")),
            *((wanted.user_id,) if users is None else users.outputs),
            *context_specs(data),
        ),
        outputs=(TensorSpec(name=ROW, dtype="int64", shape=(len(data.features.layout.fields),)), *outputs),
        example=example,
    )


def told_of(infer: Infer, model: str, part: str, interactions: Interactions, request: Tensors, place: int) -> Tensors:
    """What the further model `<model>_<part>` says of one candidate of a request."""
    item = request[CANDIDATES.name][:, [place]]
    rest = {name: value for name, value in request.items() if name not in (CANDIDATES.name, USER_ID.name)}
    who = {USER_ID.name: request[USER_ID.name]}
    if follows(feature_layout(interactions.schema)):
        who = infer(f"{model}_user", {**who, CANDIDATES.name: item})
    return infer(f"{model}_{part}", {ITEM_ID.name: item, **who, **rest})


def said(interactions: Interactions, field: Field, value: int) -> str:
    """A field's value for people."""
    if field.kind != "id":
        return "there" if value else "missing"
    if not value:
        return "unknown"
    if "key" in field.uses and field.role != "event":
        raw = str(interactions.raws(field.role, np.array([value]))[0])
        return f"{interactions.titles[value]} ({raw})" if field.role == "item" else raw
    return field.values[value] if field.values else str(value)
