"""The event's fields that a request carries, such as a scenario: as a client sends them, and as the module reads them.

Legend: C candidates packed over the requests.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

from serving.ids import IdMap
from training.data.click import ClickData
from training.data.columns import Layout, columns
from training.schema import LARGEST, Field
from training.servable import TensorSpec

_LONGEST = len(str(2**63))


class Context(NamedTuple):
    """The event's fields that a request carries, as parts of a batch's features or profile."""

    ids: list[Tensor]
    dense: list[Tensor]
    sets: list[Tensor]


def context_of(layout: Layout, named: dict[str, Tensor]) -> Context:
    """Of packed candidates: each field's id or whether it is there [C, 1], its number [C, 1], its set [C, w]."""
    context = Context([], [], [])
    for field in layout.of("event").fields:
        value = named[field.name]
        if field.kind == "id":
            context.ids.append(value)
        elif field.kind == "dense":
            context.ids.append((~torch.isnan(value)).long())
            context.dense.append(value)
        else:
            context.ids.append((value > 0).any(1, keepdim=True).long())
            context.sets.append(value)
    return context


def context_specs(data: ClickData) -> tuple[TensorSpec, ...]:
    """Inputs of a request for the event's fields that features or profile hold; named categories by their names."""
    return tuple(
        TensorSpec(
            name=field.name,
            dtype="float32" if field.kind == "dense" else "int64",
            shape=(field.width if field.kind == "multi" and field.width else 1,),
            ids=map_of(field),
            minimum=-LARGEST if field.kind == "dense" else None,
            maximum=LARGEST if field.kind == "dense" else None,
            missing=field.kind == "dense",
        )
        for field in data.context
    )


def map_of(field: Field) -> IdMap | None:
    """What a client calls the ids of a category, or of several: whole numbers where all names are, else text.

    None for numbers, and where the names do not ascend: then a client sends the ids.
    """
    names = (field.values or ())[1:]
    if field.kind == "dense" or not names:
        return None
    numbers = _whole(names)
    if numbers is not None and _ascend(numbers):
        return IdMap(ids=np.array(numbers, np.int64))
    return IdMap(ids=np.array(names, dtype=object)) if names[0] and _ascend(names) else None


def nothing(field: Field) -> float | int | str:
    """What a client sends of a field that is missing."""
    if field.kind == "dense":
        return np.nan
    ids = map_of(field)
    return 0 if ids is None else ids.filling


def _whole(names: Sequence[str]) -> list[int] | None:
    """The numbers that all names are, or None."""
    try:
        numbers = [int(name) for name in names if len(name) <= _LONGEST]
    except ValueError:
        return None
    is_written_so = [str(number) for number in numbers] == list(names)
    return numbers if is_written_so and all(-(2**63) <= number < 2**63 for number in numbers) else None


def _ascend(values: Sequence[int] | Sequence[str]) -> bool:
    return all(one < other for one, other in pairwise(values))  # pyright: ignore[reportOperatorIssue]


def drawn_values(data: ClickData, field: Field, batch_size: int, random: np.random.Generator) -> Tensor:
    """Values of an event's field out of the log; the first request's is missing."""
    places = random.integers(0, len(data.log), batch_size)
    layout = Layout((field,))
    taken = columns(data.interactions.events[places.tolist()], layout)
    values = {"id": taken.ids, "dense": taken.dense, "multi": taken.sets}[field.kind]
    values[0] = np.nan if field.kind == "dense" else 0
    return torch.from_numpy(values)


def moments(field: Field, values: pl.Series) -> np.ndarray:
    """[N, w]: a field of N events, as a client sends it."""
    if field.kind == "dense":
        return values.to_numpy().astype(np.float32)[:, None]
    if field.kind == "multi":
        width = field.width or 1
        dense = np.array([[*one, *[0] * width][:width] for one in values.to_list()], np.int64)
    else:
        dense = values.to_numpy().astype(np.int64)[:, None]
    ids = map_of(field)
    return dense if ids is None else ids.raw(dense)
