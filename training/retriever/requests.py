"""Requests to a retriever by user, and the step that reads what the user has met.

Legend: B requests, E ids packed over them, S events of a history.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from serving.histories.reading import ITEMS, LENGTH, VALUES
from training.interactions import Interactions, by_user
from training.layers.item_filters import filter_specs
from training.layers.requests import UNKNOWN_USERS, USER_ID
from training.servable import Packed, StepServable, TensorSpec
from training.steps.user_rows import user_rows

LEAST_EVENTS, MOST_EVENTS = 100, 2_000
"""Events of a history that a request reads: twice as many as the longest has, within these bounds."""
USER_FIELDS, KNOWN_USER = "user_fields", "known_user"
_POPULAR = 20
"""Items of which some requests exclude some."""


@dataclass(frozen=True)
class Requests:
    """(B, seed) -> requests by dense ids, the edge cases first: the users with the longest and the shortest history,
    strangers. Every third excludes popular items, some want a value of a field."""

    interactions: Interactions

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The user, and the filters."""
        user_id = TensorSpec(name=USER_ID.name, dtype="int64", shape=(1,), ids=self.interactions.ids.get("user"))
        return user_id, *filter_specs(self.interactions)

    def __call__(self, number: int, seed: int) -> Packed:
        random, events = np.random.default_rng([seed, 7]), self.interactions.events
        counts = np.bincount(events["user"].to_numpy(), minlength=len(self.interactions.users))
        first = 1 + int(counts[1:].argmax()), 1 + int(counts[1:].argmin()), *UNKNOWN_USERS
        users = random.choice(np.arange(1, len(counts)), number)
        users[: len(first)] = first[:number]
        popular = np.argsort(-np.bincount(events["item"].to_numpy()), kind="stable")[:_POPULAR]
        sizes = [int(random.integers(1, _POPULAR)) if row % 3 == 1 else 0 for row in range(number)]
        excluded = np.concatenate([random.permutation(popular)[:size] for size in sizes]).astype(np.int64)
        wanted = [_wanted(spec, random, number) for spec in self.inputs[3:]]
        tensors = users[:, None], excluded, np.cumsum(sizes).astype(np.int32), *wanted
        return tuple(map(torch.from_numpy, tensors))


def _wanted(spec: TensorSpec, random: np.random.Generator, number: int) -> np.ndarray:
    """int64 [number, 1]: any value for one request in five, else none."""
    assert isinstance(spec.maximum, int)
    values = random.integers(0, spec.maximum + 1, number)
    return np.where(random.random(number) < 0.2, values, -1)[:, None]


def history_step(name: str, interactions: Interactions, user_fields: np.ndarray) -> StepServable:
    """`user_id`, `excluded` -> what each user has met after all events of the data set, newest first: `history_items`
    and `history_values` [S], `history_length` [1]; and `user_fields` [F], where there are some, from an array int64
    [U + 1, F]; and `known_user` [1], the user's id where the release knows it, for rankers that read no history and so
    cannot tell the users of golden requests. `excluded` is only checked, so that a wrong request costs nothing."""
    requests, rows = Requests(interactions), _histories(interactions)
    rows |= {USER_FIELDS: user_fields} if user_fields.shape[1] else {}
    rows[KNOWN_USER] = np.arange(len(interactions.users))[:, None]
    user = interactions.ids.get("user")
    return user_rows(
        name,
        user_ids=np.arange(len(interactions.users)),
        rows=rows,
        unknown={key: array[0] for key, array in rows.items()},
        inputs=requests.inputs[:3],
        example=lambda number, seed: requests(number, seed)[:3],
        ids={} if user is None else {KNOWN_USER: user},
    )


def _histories(interactions: Interactions) -> dict[str, np.ndarray]:
    events = interactions.remembered
    events = events[by_user(events)]
    users = np.arange(len(interactions.users))
    user = events["user"].to_numpy()
    starts, ends = (np.searchsorted(user, users, side) for side in ("left", "right"))
    most = int(np.clip(2 * (ends - starts).max(initial=0), LEAST_EVENTS, MOST_EVENTS))
    length = np.minimum(ends - starts, most)
    held = np.arange(most) < length[:, None]
    places = np.where(held, ends[:, None] - 1 - np.arange(most), 0)
    values = events["value"].to_numpy() if "value" in events.columns else np.ones(len(events), np.int64)
    items = events["item"].to_numpy()
    rows = {
        name: np.where(held, column[places], 0).astype(np.int64) for name, column in ((ITEMS, items), (VALUES, values))
    }
    return {**rows, LENGTH: length[:, None]}


def rows_of(inputs: Sequence[TensorSpec], tensors: Packed, rows: Sequence[int]) -> Packed:
    """These requests of packed ones, in this order."""
    named = {spec.name: tensor for spec, tensor in zip(inputs, tensors, strict=True)}
    ends = {spec.of: named[spec.name] for spec in inputs if spec.of is not None}
    found: list[Tensor] = []
    for spec, tensor in zip(inputs, tensors, strict=True):
        if spec.ragged:
            parts = torch.tensor_split(tensor, ends[spec.name].long()[:-1])
            found.append(torch.cat([tensor[:0], *(parts[row] for row in rows)]))
        elif spec.of is not None:
            sizes = torch.diff(tensor, prepend=tensor.new_zeros(1))[list(rows)]
            found.append(sizes.cumsum(0).to(tensor.dtype))
        else:
            found.append(tensor[list(rows)])
    return tuple(found)
