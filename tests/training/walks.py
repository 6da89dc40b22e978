"""Data sets made by hand of what each user chose, in order."""

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from training.data.sequences import SequenceData, sequences
from training.interactions import Content, Interactions
from training.schema import Field, Schema
from training.system import Wanted


def wanted(max_length: int = 50) -> Wanted:
    return Wanted(frozenset(), max_length, {})


def interactions(walks: Sequence[Sequence[int]], *more: Field, content: Content | None = None) -> Interactions:
    """Users from 1; items 1 to the largest there is; fields of events `more`, whose columns the caller adds."""
    key = Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=len(walks) + 1)
    item = Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=max(map(max, walks)) + 1)
    order = Field(name="order", role="event", kind="dense", uses=("order",))
    events = [(user, one, place) for user, walk in enumerate(walks, 1) for place, one in enumerate(walk)]
    return Interactions(
        schema=Schema(dataset="hand-made", fields=(key, item, order, *more)),
        events=pl.DataFrame(events, schema=dict.fromkeys(("user", "item", "order"), pl.Int64), orient="row"),
        users=pl.DataFrame(),
        items=pl.DataFrame({"title": [f"Item {number}" for number in range(item.cardinality or 0)]}),
        licence="",
        load_content=None if content is None else lambda: content,
    )


def data_of(walks: Sequence[Sequence[int]], max_length: int = 50) -> SequenceData:
    """The view of the task `next_item`."""
    return sequences(interactions(walks), wanted(max_length))


def digest_of(data: SequenceData) -> dict[str, str]:
    """Of everything that a model sees: 16 hex digits each of the parts' samples, and of what belongs to the items."""

    def of(*arrays: np.ndarray) -> str:
        found = hashlib.sha256()
        for array in map(np.ascontiguousarray, arrays):
            found.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
        return found.hexdigest()[:16]

    digests = {
        "sequences": of(data.user_ids, *data.sequences),
        "categories": of(data.categories),
        "counts": of(data.train_item_counts),
    }
    for name in ("train", "validation", "test"):
        split = getattr(data, name)
        parts = np.array_split(np.arange(len(split)), max(1, len(split) // 512))
        batches = [column.numpy() for rows in parts for column in split.batch(rows)]
        digests[name] = of(split.user, split.target, split.cost(), *batches)
    return digests
