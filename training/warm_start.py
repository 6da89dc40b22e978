"""A run that starts from another one's weights: rows of tables are matched by raw id or value, whatever their numbers.

Layers whose parameters have a row for each id say so by `indexed`: name of the parameter -> what numbers its rows. All
other parameters must have the shape that they had. What is new, an item that came since, keeps its first weights.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
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

    def size(self, field: Field) -> int:
        """Rows of a field, and of ids below the first; a dense one is there or not, as is a multi-valued one."""
        has_two = field.kind == "dense" or (field.kind == "multi" and not self.of_values)
        return 2 if has_two else size_of(field)


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

    by_number: Axis


@runtime_checkable
class Referring(Protocol):
    """A layer whose weights belong to what its buffers say of each id, as those of tokens do to semantic ids."""

    @property
    def referred(self) -> Mapping[str, Axis]:
        """Of these buffers, by their names in it."""
        ...


class Known(NamedTuple):
    """A data set as a run knew it."""

    schema: Schema
    ids: Mapping[Role, IdMap]


class Both(NamedTuple):
    """The data set of the run to start from, and that of the run which starts."""

    before: Known
    now: Known


class Shared(NamedTuple):
    """Rows int64 [n] of the ids that both know, and how many rows there are in all."""

    now: np.ndarray
    before: np.ndarray
    unknown: np.ndarray
    """int64 [num_now]: of each row that there is now, the row that its field's unknown had; -1 where that has none."""
    num_now: int
    num_before: int


def warm_start(
    module: nn.Module, interactions: Interactions, folder: Path, config: object, *, new_as_unknown: bool = False
) -> int:
    """Takes over the weights of a finished run; returns how many rows of tables found theirs.

    With `new_as_unknown` ids that came since have the row of the unknown, as where that run is served; else they keep
    their first weights, from which they are trained.

    Raises ValueError for an unfinished run, for a parameter of another shape that no ids explain, and for weights that
    mean something else here: of other fields, of renumbered ids that were hashed, of other semantic ids.
    """
    run = checkpoint.load_run(folder)
    if run.weights is None:
        raise ValueError(f"{folder} has not finished, so there is nothing to start from")
    both = Both(Known(run.schema, checkpoint.load_ids(folder)), Known(interactions.schema, interactions.ids))
    try:
        _refuse_other_numbers(module, both)
        _refuse_other_references(module, run.weights, both)
        return _take(module, run.weights, both, new_as_unknown)
    except ValueError as error:
        differing = checkpoint.differing(config, run.config)
        hint = f"; its configuration has {', '.join(differing)}" if differing else ""
        raise ValueError(f"{folder} cannot start this run: {error}{hint}") from error


def _take(module: nn.Module, weights: Mapping[str, Tensor], both: Both, new_as_unknown: bool) -> int:
    """Copies all parameters."""
    if unread := sorted(weights.keys() - module.state_dict().keys()):
        raise ValueError(f"its parameter '{unread[0]}' has no place here; train it with the same fields and options")
    axes, found = dict(_declared(module, Indexed, "indexed")), 0
    for name, parameter in module.named_parameters():
        old = weights.get(name)
        axis = axes.get(name)
        if old is None or _fixed(old, axis) != _fixed(parameter, axis):
            shape = "missing" if old is None else list(old.shape)
            raise ValueError(
                f"its parameter '{name}' is {shape}, not {list(parameter.shape)}; train it with the same configuration"
            )
        if axis is None:
            parameter.data.copy_(old)
        else:
            rows = _rows(name, parameter, old, axis, both)
            if new_as_unknown:
                _copy(parameter, old, axis, np.flatnonzero(rows.unknown >= 0), rows.unknown[rows.unknown >= 0])
            _copy(parameter, old, axis, rows.now, rows.before)
            found += len(rows.now)
    return found


def _fixed(parameter: Tensor, axis: Axis | None) -> list[int]:
    """The sizes of a parameter that no ids explain."""
    return [size for dim, size in enumerate(parameter.shape) if axis is None or dim != axis.dim]


def _rows(name: str, parameter: nn.Parameter, old: Tensor, axis: Axis, both: Both) -> Shared:
    """The rows of ids that both know. Raises ValueError where the parameter has others."""
    rows = _shared(axis, both)
    if rows.num_now != parameter.shape[axis.dim] or rows.num_before != old.shape[axis.dim]:
        raise ValueError(f"its parameter '{name}' is of other fields; train it with the same fields")
    return rows


def _copy(parameter: nn.Parameter, old: Tensor, axis: Axis, now: np.ndarray, before: np.ndarray) -> None:
    target, source = torch.from_numpy(now), torch.from_numpy(before)
    parameter.data.index_copy_(axis.dim, target, old.index_select(axis.dim, source).to(parameter))


def _refuse_other_numbers(module: nn.Module, both: Both) -> None:
    """Raises ValueError where a layer belongs to numbers of ids that are others now."""
    for path, layer in module.named_modules():
        if not isinstance(layer, ByNumber):
            continue
        changed = [
            field.name
            for field in layer.by_number.fields
            if (np.diff(_numbers(field, layer.by_number, both), axis=0)).any()
        ]
        if changed:
            raise ValueError(f"'{path}' belongs to the numbers of {', '.join(changed)}, which have changed; train anew")


def _refuse_other_references(module: nn.Module, weights: Mapping[str, Tensor], both: Both) -> None:
    """Raises ValueError where a buffer that weights belong to says something else of ids that both know."""
    for name, axis in _declared(module, Referring, "referred"):
        old, rows = weights.get(name), _shared(axis, both)
        if old is None or old.shape[1:] != module.get_buffer(name).shape[1:]:
            continue  # The weights have other shapes too, or other names.
        here, there = module.get_buffer(name)[rows.now].cpu(), old[rows.before]
        if other := int((here != there).flatten(1).any(dim=1).sum()):
            named = ", ".join(field.name for field in axis.fields)
            raise ValueError(
                f"'{name}' says something else of {other} of the {len(rows.now)} {named} that both know, so that its "
                "weights mean nothing here; build on the same run as it did, or train anew"
            )


def _declared(module: nn.Module, kind: type, attribute: str) -> Iterator[tuple[str, Axis]]:
    for path, layer in module.named_modules():
        if isinstance(layer, kind):
            for name, axis in getattr(layer, attribute).items():
                yield f"{path}.{name}" if path else name, axis


def _shared(axis: Axis, both: Both) -> Shared:
    """The rows of an axis. Raises ValueError where its fields are not those of the run to start from."""
    _refuse_other_fields(axis, both)
    now, before, num_now, num_before = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0, 0
    unknown = [np.zeros(0, np.int64)]
    for field in axis.fields:
        numbers = _numbers(field, axis, both)
        numbers = numbers[:, (numbers >= axis.first).all(axis=0)] - axis.first
        now.append(numbers[0] + num_now)
        before.append(numbers[1] + num_before)
        unknown.append(np.full(axis.size(field) - axis.first, -1 if axis.first else num_before))
        num_now += axis.size(field) - axis.first
        num_before += axis.size(_earlier(field, both)) - axis.first
    return Shared(np.concatenate(now), np.concatenate(before), np.concatenate(unknown), num_now, num_before)


def _refuse_other_fields(axis: Axis, both: Both) -> None:
    earlier = [_earlier(field, both) for field in axis.fields]
    for field, old in zip(axis.fields, earlier, strict=True):
        if (old.role, old.kind) != (field.role, field.kind):
            raise ValueError(f"field '{field.name}' was {old.kind} of {old.role}s; train it with the same fields")
    places = [both.before.schema.fields.index(one) for one in earlier if one in both.before.schema.fields]
    roles = [one.role for one in earlier if one in both.before.schema.fields]
    for (one, two), (role, other) in zip(pairwise(places), pairwise(roles), strict=True):
        if role == other and one > two:
            raise ValueError(f"its fields of {role}s come in another order; put them in that order")


def _earlier(field: Field, both: Both) -> Field:
    """A field as the run to start from knew it; one that no schema names, as it stands for none, as it is."""
    found = _of_name(both.before.schema, field.name)
    if found is None and _of_name(both.now.schema, field.name) is not None:
        raise ValueError(f"it knows no field '{field.name}'; train it with the same fields")
    return found or field


def _of_name(schema: Schema, name: str) -> Field | None:
    return next((field for field in schema.fields if field.name == name), None)


def _numbers(field: Field, axis: Axis, both: Both) -> np.ndarray:
    """int64 [2, n]: numbers of the ids that both know, now and before; 0, the unknown, is known to both."""
    earlier = _earlier(field, both)
    if "key" in field.uses:
        return _of_keys(_raw_ids(field, both.now), _raw_ids(earlier, both.before), field)
    if axis.size(field) == 2 == axis.size(earlier) and field.kind != "id" and not axis.of_values:
        return np.array([[0, 1], [0, 1]])
    if field.values and earlier.values:
        place = {value: number for number, value in enumerate(earlier.values) if number}
        both_know = [(number, place[value]) for number, value in enumerate(field.values) if number and value in place]
        return np.array([(0, 0), *both_know], np.int64).T
    datasets = both.now.schema.dataset, both.before.schema.dataset
    if datasets[0] != datasets[1] or (field.cardinality, field.values) != (earlier.cardinality, earlier.values):
        raise ValueError(f"the values of '{field.name}' are others and have no names to match them by; train anew")
    return np.tile(np.arange(size_of(field)), (2, 1))


def _raw_ids(key: Field, known: Known) -> IdMap:
    """Those of a key; the ids themselves where nothing maps them."""
    return known.ids.get(key.role) or IdMap(ids=np.arange(1, size_of(key)))


def _of_keys(now: IdMap, before: IdMap, key: Field) -> np.ndarray:
    if now.kind != before.kind:
        raise ValueError(f"its ids of '{key.name}' are {before.kind}, not {now.kind}; give them the same type")
    then = before.dense(now.ids)
    known = np.flatnonzero(then > 0)
    return np.stack([np.append(0, known + 1), np.append(0, then[known])])
