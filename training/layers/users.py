"""The rows of users in a served release: baked into a graph, or behind a step that reads them when a request comes.

A step is needed where a history decides something of a row: the history itself, or fields that follow from it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from serving.steps.followed import Followed
from training.data.click import HISTORY, WHO, ClickData
from training.data.columns import Columns, Layout
from training.data.following import after
from training.schema import Field
from training.servable import Packed, StepServable, TensorSpec
from training.steps.user_rows import user_rows

USER = "user"
"""The ids of a user's features among the rows, int64 [Fu]."""


class Row(NamedTuple):
    """What is known of users, or of the moment of a request: one row each."""

    features: Columns
    profile: Columns
    history: Mapping[str, np.ndarray] = {}
    """See `ClickData.histories`."""
    who: Mapping[str, np.ndarray] = {}
    """The user's own id, int64 [U + 1, 1], where it is read."""

    def arrays(self) -> dict[str, np.ndarray]:
        """By name of the graph's input; those of width 0 are left out."""
        names = [f"{part}{kind}" for part in (USER, "profile") for kind in ("", "_dense", "_sets")]
        named = dict(zip(names, (*self.features, *self.profile), strict=True))
        return {name: array for name, array in {**named, **self.history, **self.who}.items() if array.shape[1]}


def user_row(data: ClickData) -> Row:
    """Of all users after all events, by dense id, that of the unknown first."""
    history = data.histories() if HISTORY in data.reads else {}
    who = {WHO: np.arange(len(data.interactions.users))[:, None]} if WHO in data.reads else {}
    return Row(data.features.users, data.profile.users, history, who)


def carried(row: Row) -> dict[str, np.ndarray]:
    """A row as one model gives it to another: infinite where a number is missing, as NaN would be no answer."""
    return {
        name: np.where(np.isnan(array), np.float32(np.inf), array) if array.dtype.kind == "f" else array
        for name, array in row.arrays().items()
    }


def numbers(row: Tensor) -> Tensor:
    """The inverse of `carried`."""
    return torch.where(row.isinf(), torch.nan, row) if row.is_floating_point() else row


def follows(features: Layout) -> bool:
    """Whether a user's features follow from the history, so that no graph can hold them."""
    return any(field.follows is not None for field in features.fields)


def user_step(
    name: str, data: ClickData, inputs: tuple[TensorSpec, ...], example: Callable[[int, int], Packed]
) -> StepServable:
    """The step whose outputs are `user_row`, and what the history decides of it when a request comes. Called
    `<name>_history` where it reads whole histories, else `<name>_user`.

    Raises ValueError where the users' table holds other values than those that follow from the histories.
    """
    rows = carried(user_row(data))
    return user_rows(
        f"{name}_history" if HISTORY in data.reads else f"{name}_user",
        user_ids=np.arange(len(data.interactions.users)),
        rows=rows,
        unknown={key: array[0] for key, array in rows.items()},
        inputs=inputs,
        example=example,
        follows=[
            _followed(data, place, field)
            for place, field in enumerate(data.features.layout.of("user").fields)
            if field.follows is not None
        ],
    )


def _followed(data: ClickData, place: int, field: Field) -> Followed:
    rule, interactions = field.follows, data.interactions
    assert rule is not None
    is_key = rule.field == data.schema.key("item").name
    size = len(interactions.items)
    of_items = np.arange(size) if is_key else interactions.items[rule.field].to_numpy().astype(np.int64)
    users = np.arange(1, len(interactions.users))
    expected = after(interactions.events, data.log, rule, of_items, users)
    if wrong := np.flatnonzero(data.features.users.ids[1:, place] != expected).tolist():
        user = 1 + wrong[0]
        said = (
            f"{data.features.users.ids[user, place]} of user {user}, and {expected[wrong[0]]} follows from the events"
        )
        raise ValueError(
            f"{data.schema.dataset}: the table of users has {field.name} {said}; let both say the same, or the schema "
            "not that it follows"
        )
    return Followed(output=USER, place=place, least=rule.least, none=rule.none, of_items=None if is_key else of_items)
