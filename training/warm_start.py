"""A run that starts from another one's weights: rows of tables are matched by raw id, whatever their numbers.

Layers whose tables have a row for each id say so by `indexed`: name of the parameter -> what numbers its rows. All
other parameters must have the shape that they had. What is new, an item that came since, keeps its first weights.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from serving.ids import IdMap
from training import checkpoint
from training.interactions import Interactions
from training.schema import Field, Role, Schema, size_of


class Axis(NamedTuple):
    """What numbers an axis of a parameter: the ids of these fields, one after the other."""

    fields: tuple[Field, ...]
    dim: int = 0
    first: int = 0
    """Ids below it have no row."""
    of_values: bool = False
    """Whether a multi-valued field has a row for each of its values, and not two: there, or not."""


@runtime_checkable
class Indexed(Protocol):
    """A layer with tables by id."""

    @property
    def indexed(self) -> Mapping[str, Axis]:
        """Of its own parameters, by their names in it."""
        ...


@runtime_checkable
class ByNumber(Protocol):
    """A layer whose weights belong to the numbers of ids, as hashes of them do, and cannot follow other numbers."""

    by_number: bool


class Known(NamedTuple):
    """A data set as a run knew it."""

    schema: Schema
    ids: Mapping[Role, IdMap]


def warm_start(module: nn.Module, interactions: Interactions, folder: Path) -> int:
    """Takes over the weights of a finished run; returns how many rows of tables found theirs.

    Raises ValueError for an unfinished run, and for a parameter of another shape that no ids explain.
    """
    run = checkpoint.load_run(folder)
    if run.weights is None:
        raise ValueError(f"{folder} has not finished, so there is nothing to start from")
    before = Known(run.schema, checkpoint.load_ids(folder))
    now = Known(interactions.schema, interactions.ids)
    if renumbered := _renumbered(before, now):
        _refuse_tables_by_number(module, renumbered)
    axes, found = dict(_axes(module)), 0
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            old = run.weights.get(name)
            if name in axes and old is not None:
                found += _take_rows(parameter, old, axes[name], before, now)
            elif old is not None and old.shape == parameter.shape:
                parameter.copy_(old)
            else:
                shape = "missing" if old is None else list(old.shape)
                raise ValueError(
                    f"{folder} cannot start this run: its parameter '{name}' is {shape}, not {list(parameter.shape)}; "
                    "train it with the same configuration"
                )
    return found


def _renumbered(before: Known, now: Known) -> list[Field]:
    """The keys whose ids have other numbers than before, or are more."""
    keys = [field for field in now.schema.of("key") if _field(before.schema, field.name) is not None]
    return [field for field in keys if field != _field(before.schema, field.name)]


def _refuse_tables_by_number(module: nn.Module, keys: list[Field]) -> None:
    """Raises ValueError for a layer that belongs to numbers, and for a table that looks like one by id and says
    nothing of it."""
    named, axes = ", ".join(field.name for field in keys), dict(_axes(module))
    for path, layer in module.named_modules():
        if isinstance(layer, ByNumber) and layer.by_number:
            raise ValueError(f"'{path}' belongs to the numbers of {named}, which have changed; train anew")
    sizes = {size for field in keys for size in (size_of(field), size_of(field) - 1)}
    for name, parameter in module.named_parameters():
        if name not in axes and sizes & {*parameter.shape}:
            raise ValueError(
                f"parameter '{name}' has a row for each of {named}, which have changed, and no way to match"
            )


def _axes(module: nn.Module) -> Iterator[tuple[str, Axis]]:
    for path, layer in module.named_modules():
        if isinstance(layer, Indexed):
            for name, axis in layer.indexed.items():
                yield f"{path}.{name}" if path else name, axis


def _take_rows(parameter: Tensor, old: Tensor, axis: Axis, before: Known, now: Known) -> int:
    """Copies the rows of ids that both know."""
    new_rows, old_rows, start_new, start_old = [], [], 0, 0
    for field in axis.fields:
        earlier = _field(before.schema, field.name)
        known = np.zeros((2, 0), np.int64)
        numbers = _numbers(field, earlier, before, now, axis) if earlier is not None else known
        numbers = numbers[:, (numbers >= axis.first).all(axis=0)] - axis.first
        new_rows.append(numbers[0] + start_new)
        old_rows.append(numbers[1] + start_old)
        start_new += _size(field, axis) - axis.first
        start_old += 0 if earlier is None else _size(earlier, axis) - axis.first
    if start_new != parameter.shape[axis.dim] or start_old != old.shape[axis.dim]:
        raise ValueError("a table has other fields than in the run to start from; train with the same fields")
    target, source = (torch.from_numpy(np.concatenate(rows)) for rows in (new_rows, old_rows))
    parameter.index_copy_(axis.dim, target, old.index_select(axis.dim, source).to(parameter))
    return len(target)


def _field(schema: Schema, name: str) -> Field | None:
    return next((field for field in schema.fields if field.name == name), None)


def _size(field: Field, axis: Axis) -> int:
    """Rows of a field in a table; a dense one is there or not, as is a multi-valued one beside its values."""
    is_there_or_not = field.kind == "dense" or (field.kind == "multi" and not axis.of_values)
    return 2 if is_there_or_not else size_of(field)


def _numbers(now_field: Field, earlier: Field, before: Known, now: Known, axis: Axis) -> np.ndarray:
    """int64 [2, n]: numbers of the ids that both know, now and before; 0, the unknown, is known to both."""
    if "key" in now_field.uses:
        maps = now.ids.get(now_field.role), before.ids.get(earlier.role)
        if all(maps):
            raw = maps[0].ids if maps[0] else np.zeros(0)
            then = maps[1].dense(raw) if maps[1] else np.zeros(0, np.int64)
            known = np.flatnonzero(then > 0)
            return np.stack([np.append(0, known + 1), np.append(0, then[known])])
        if any(maps):
            raise ValueError(f"ids of '{now_field.name}' are mapped in one of the two runs and not in the other")
    elif now_field.values and earlier.values and (now_field.kind == "id" or axis.of_values):
        place = {value: number for number, value in enumerate(earlier.values)}
        both = [(number, place[value]) for number, value in enumerate(now_field.values) if value in place]
        return np.array(both, np.int64).reshape(-1, 2).T
    same = np.arange(min(_size(now_field, axis), _size(earlier, axis)))
    return np.stack([same, same])
