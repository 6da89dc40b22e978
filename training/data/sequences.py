"""Next-item prediction: each user's items in order of time, the last two held out.

Leave one out, as published for S3-Rec's sets: of a user's sequence the last item is the test target, the last but one
the validation target, the rest trains. A sample of a held-out item has all that came before as history, so that the
test history ends with the validation target. Item 0 is "unknown" and the filling.

Axes: N items, U users, B samples of a batch, L history, G width of the second modality, D behaviour width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from training.data.ids import table_rows
from training.schema import Field, Schema

Dataset = Literal["beauty", "sports", "ml-100k-sequences", "synthetic-sequences"]
"""The last one is planted (`training.data.synthetic_sequences`): nothing is downloaded, and training takes seconds."""
MAX_VALIDATION = 3_000
"""Users whose last but one item is measured after each epoch; the same ones in every run."""


class SequenceBatch(NamedTuple):
    """Histories, and the item that follows each of their places."""

    user: Int64[Tensor, " B"]
    items: Int64[Tensor, "B L"]
    """Oldest first, 0 beyond the length; L is the longest of the batch."""
    length: Int64[Tensor, " B"]
    """At least 1."""
    targets: Int64[Tensor, "B L"]
    """The item after each place, 0 where none is to be learnt or predicted. In validation and test only the newest
    place has one."""


class SequenceSplit:
    """Windows of the users' sequences. Implements `training.system.Split`."""

    def __init__(
        self, items: np.ndarray, users: np.ndarray, borders: np.ndarray, targets: Literal["all", "last"]
    ) -> None:
        """`items` int64 [E] are all users' sequences one after the other; row r is of user `users[r]`, its history and
        targets lie in the places `borders[r, 0]` to `borders[r, 1]`, the last of which is only a target."""
        self.user: np.ndarray = users
        """int64 [len]"""
        self.target: np.ndarray = items[borders[:, 1] - 1] if targets == "last" else np.zeros(len(users), np.int64)
        """int64 [len]: the held-out item, 0 in the training part."""
        self._items, self._start, self._length = items, borders[:, 0], borders[:, 1] - borders[:, 0] - 1
        self._targets = targets

    def __len__(self) -> int:
        return len(self.user)

    def cost(self) -> np.ndarray:
        """int64 [len]: the length of each history."""
        return self._length

    def batch(self, rows: np.ndarray) -> SequenceBatch:
        """The samples with these numbers, in this order; at least one."""
        lengths = self._length[rows]
        steps = np.arange(int(lengths.max()))
        places = self._start[rows, None] + steps
        inside = steps < lengths[:, None]
        wanted = inside if self._targets == "all" else steps == lengths[:, None] - 1
        items, targets = (
            np.where(mask, self._items[np.minimum(places + shift, len(self._items) - 1)], 0)
            for mask, shift in ((inside, 0), (wanted, 1))
        )
        return SequenceBatch(*map(torch.from_numpy, (self.user[rows], items, lengths, targets)))


class Content(NamedTuple):
    """What is known of the items beside who chose them. Row 0 is zeros."""

    text: Float32[np.ndarray, "N+1 384"]
    """Sentence vectors of titles or keywords, of norm 1."""
    graph: Float32[np.ndarray, "N+1 G"]
    """The second modality: attributes or a knowledge graph, TF-IDF reduced by a truncated SVD, of norm 1; zeros where
    an item has none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SequenceData:
    """Users' sequences and the catalogue of items. Implements `training.system.Data`."""

    schema: Schema
    train: SequenceSplit
    validation: SequenceSplit
    test: SequenceSplit
    user_ids: np.ndarray
    """int64 [U], ascending."""
    sequences: list[np.ndarray]
    """int64, of each user: everything, oldest first."""
    categories: np.ndarray
    """int64 [N + 1], 0 = unknown."""
    train_item_counts: np.ndarray
    """int64 [N + 1]: how often each item trains, the only statistic of choices that a model may use."""
    titles: dict[int, str]
    load_content: Callable[[], Content]
    given: dict[str, Tensor] = field(default_factory=dict)
    """What other systems' runs gave (`System.products`), by name."""

    @cached_property
    def content(self) -> Content:
        """Computed, or read from the cache, when first asked for."""
        return self.load_content()

    def sequence(self, user: int) -> np.ndarray:
        """int64, oldest first; empty for an unknown user."""
        row = int(np.searchsorted(self.user_ids, user))
        known = row < len(self.user_ids) and self.user_ids[row] == user
        return self.sequences[row] if known else np.zeros(0, np.int64)

    def seen(self, user: int) -> set[int]:
        """All items of the user."""
        return set(self.sequence(user).tolist())

    def liked(self, user: int, n: int) -> list[int]:
        """The user's newest n items, newest first."""
        return self.sequence(user)[::-1][:n].tolist()

    def with_given(self, given: dict[str, Tensor]) -> "SequenceData":
        """The same data with other systems' products."""
        return replace(self, given=given)


def leave_one_out(  # noqa: PLR0913 - what a published set consists of
    *,
    dataset: str,
    user_ids: np.ndarray,
    sequences: Sequence[np.ndarray],
    categories: np.ndarray,
    titles: dict[int, str],
    max_length: int,
    load_content: Callable[[], Content],
) -> SequenceData:
    """Splits sequences as the module's docstring says; longer training sequences become several windows.

    `user_ids` int64 [U] ascending; `categories` int64 [N + 1]. Raises ValueError for `max_length` < 1 and for a user
    with fewer than 3 items.
    """
    if max_length < 1:
        raise ValueError(f"max_length is {max_length}; it must be at least 1")
    counts = np.array([len(sequence) for sequence in sequences])
    if counts.min() < 3:
        raise ValueError(f"{dataset}: user {user_ids[counts.argmin()]} has {counts.min()} items; 3 are needed")
    items = table_rows(f"{dataset}: item", np.concatenate(sequences).astype(np.int64), len(categories))
    ends = np.cumsum(counts)
    starts = ends - counts
    rows, borders = _training_windows(starts, ends - 2, max_length)
    chosen = np.sort(np.random.default_rng(0).permutation(len(user_ids))[:MAX_VALIDATION])
    held_out = [np.stack([np.maximum(starts, end - max_length - 1), end], axis=1) for end in (ends - 1, ends)]
    trained = np.concatenate([np.arange(start, end - 2) for start, end in zip(starts, ends, strict=True)])
    return SequenceData(
        schema=_schema(dataset, categories, titles, max_length),
        train=SequenceSplit(items, user_ids[rows], borders, "all"),
        validation=SequenceSplit(items, user_ids[chosen], held_out[0][chosen], "last"),
        test=SequenceSplit(items, user_ids, held_out[1], "last"),
        user_ids=user_ids,
        sequences=list(sequences),
        categories=categories,
        train_item_counts=np.bincount(items[trained], minlength=len(categories)),
        titles=titles,
        load_content=load_content,
    )


def _training_windows(starts: np.ndarray, ends: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Users' rows [R] and borders [R, 2] of windows that share out the targets, at most `max_length` each.

    A window's first item is the target of the window before; a user with a single item trains nothing.
    """
    windows = [
        (row, max(int(start), last - max_length - 1), last)
        for row, (start, end) in enumerate(zip(starts, ends, strict=True))
        for last in range(int(end), int(start) + 1, -max_length)
    ]
    rows, first, last = np.array(windows, np.int64).reshape(-1, 3).T
    return rows, np.stack([first, last], axis=1)


def _schema(dataset: str, categories: np.ndarray, titles: dict[int, str], max_length: int) -> Schema:
    num_items = len(categories)
    return Schema(
        dataset=dataset,
        fields=(
            Field(
                name="item_id",
                kind="id",
                cardinality=num_items,
                values=tuple(titles.get(item, "unknown") for item in range(num_items)),
            ),
            Field(name="history", kind="sequence", cardinality=num_items, width=max_length),
            Field(name="category", kind="id", cardinality=int(categories.max()) + 1),
        ),
    )
