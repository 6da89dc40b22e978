"""Of every system each row of a table follows its raw id or value into a run that numbers them otherwise."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from serving.ids import IdMap
from tests.training.test_every_system import Ready, ready
from training import checkpoint
from training.interactions import Interactions
from training.layers.fields import FieldConfig
from training.registry import SYSTEMS
from training.schema import Field, Schema, size_of
from training.system import prepare
from training.warm_start import Axis, ByNumber, Indexed, warm_start


def named(field: Field, *new: str) -> Field:
    """With names for its ids, those of new ones before the others."""
    if field.cardinality is None or "label" in field.uses:
        return field
    values = ("unknown", *new, *(f"value {number}" for number in range(1, field.cardinality)))
    return replace(field, values=None if "key" in field.uses else values, cardinality=len(values))


def on(interactions: Interactions, schema: Schema, *new: str) -> Interactions:
    """The set with ids of text, those of new ones before the others."""
    fields = tuple(named(field, *new) for field in schema.fields)
    sizes = {field.role: size_of(field) - 1 - len(new) for field in fields if "key" in field.uses}
    ids = {
        role: IdMap(ids=np.array([*new, *(f"raw {number:05}" for number in range(size))], dtype=object))
        for role, size in sizes.items()
    }
    return replace(interactions, schema=replace(schema, fields=fields), ids=ids)


def built(one: Ready, schema: Schema, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    module = one.system.build(one.config, schema)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def saved(one: Ready, interactions: Interactions, module: nn.Module, folder: Path) -> Path:
    """A finished run with the weights of the module."""
    info = checkpoint.start_info(one.system, interactions, Started())
    run = checkpoint.Run(
        info=replace(info, status="finished"),
        config=checkpoint.config_to_json(one.config),
        schema=interactions.schema,
        weights=checkpoint.snapshot(module),
        metrics={},
        ids=dict(interactions.ids),
    )
    checkpoint.save_run(folder, run)
    return folder


class Started:
    """Options of a run."""

    seed, max_epochs, until, init_from = 0, None, None, None


def axes(module: nn.Module) -> Iterator[tuple[str, Axis]]:
    for path, layer in module.named_modules():
        if isinstance(layer, Indexed):
            yield from ((f"{path}.{name}".removeprefix("."), axis) for name, axis in layer.indexed.items())


def labels(axis: Axis, interactions: Interactions) -> list[tuple[int, str, str]]:
    """Of each row: which of the axis' fields, its name, and the raw id or value."""
    found = []
    for place, one in enumerate(axis.fields):
        known = [field for field in interactions.schema.fields if field.name == one.name]
        field = known[0] if known else one
        if "key" in field.uses:
            of_field = ["unknown", *interactions.ids[field.role].ids]
        elif axis.size(field) == size_of(field) if field.cardinality else False:
            of_field = list(field.values or ())
        else:
            of_field = ["missing", "there"]
        found += [(place, one.name, value) for value in of_field[axis.first :]]
    return found


STARTED = [name for name in SYSTEMS if name not in ("ease", "popularity", "sdiff")]
"""The others are a decomposition or a count of one set of items, which another set of them cannot go on from: a start
from such a run is refused."""


@pytest.mark.parametrize("name", STARTED)
def test_what_has_a_row_for_each_id_says_so(name: str) -> None:
    one = ready(name)
    schemas = [on(one.data.interactions, one.data.schema, *new).schema for new in ((), ("a", "b"))]
    small, large = (built(one, schema, 0) for schema in schemas)
    declared = dict(axes(large))
    for path, parameter in small.named_parameters():
        if parameter.shape != large.get_parameter(path).shape:
            assert path in declared, f"{path} grows with the ids of a field and does not say so by `indexed`"


@pytest.mark.parametrize("name", STARTED)
def test_each_row_follows_its_raw_id_or_value(name: str, tmp_path: Path) -> None:
    one = ready(name)
    before, now = (on(one.data.interactions, one.data.schema, *new) for new in ((), ("a new one",)))
    old, new = built(one, before.schema, 1), built(one, now.schema, 2)
    first = {path: parameter.detach().clone() for path, parameter in new.named_parameters()}
    folder = saved(one, before, old, tmp_path / "before")
    if any(isinstance(layer, ByNumber) for layer in new.modules()):
        with pytest.raises(ValueError, match=r"belongs to the numbers of .*, which have changed; train anew"):
            warm_start(new, now, folder, one.config)
        return
    warm_start(new, now, folder, one.config)
    declared = dict(axes(new))
    for path, parameter in new.named_parameters():
        source = old.get_parameter(path)
        if path not in declared:
            assert torch.equal(parameter, source), path
            continue
        axis = declared[path]
        rows, sources, own = (one.movedim(axis.dim, 0) for one in (parameter, source, first[path]))
        place = {label: row for row, label in enumerate(labels(axis, before))}
        assert len(place) == len(sources), path
        for row, label in enumerate(labels(axis, now)):
            assert torch.equal(rows[row], sources[place[label]] if label in place else own[row]), (path, label)


def changed(**change: object) -> Callable[[Schema], Schema]:
    """The gender is another."""

    def apply(schema: Schema) -> Schema:
        return replace(
            schema, fields=tuple(replace(one, **change) if one.name == "gender" else one for one in schema.fields)
        )

    return apply


def same(schema: Schema) -> Schema:
    return schema


REFUSED = {
    "a new field": (same, changed(name="late"), "it knows no field 'late'; train it with the same fields"),
    "another order": (
        same,
        lambda schema: replace(schema, fields=schema.fields[::-1]),
        "its fields of users come in another order",
    ),
    "another kind": (same, changed(kind="dense"), "field 'gender' was id of users; train it with the same fields"),
    "values without names": (
        changed(values=None),
        changed(values=None, cardinality=5),
        "the values of 'gender' are others and have no names to match them by",
    ),
    "a field that is gone": (
        same,
        lambda schema: replace(schema, fields=tuple(one for one in schema.fields if one.name != "genres")),
        "its parameter 'tables.items.set_means.0.share' has no place here",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_weights_of_other_fields_are_refused(case: str, tmp_path: Path) -> None:
    one, (to_old, to_new, message) = ready("din"), REFUSED[case]
    whole = on(one.data.interactions, one.data.schema)
    before, now = (replace(whole, schema=change(whole.schema)) for change in (to_old, to_new))
    folder = saved(one, before, built(one, before.schema, 1), tmp_path / "before")
    with pytest.raises(ValueError, match=f"{folder} cannot start this run: .*{message}"):
        warm_start(built(one, now.schema, 2), now, folder, one.config)


def test_raw_ids_of_another_type_are_refused(tmp_path: Path) -> None:
    one = ready("sasrec")
    plain, named_ids = one.data.interactions, on(one.data.interactions, one.data.schema)
    folder = saved(one, plain, built(one, plain.schema, 1), tmp_path / "before")
    with pytest.raises(ValueError, match="its ids of 'item_id' are int64, not string"):
        warm_start(built(one, named_ids.schema, 2), named_ids, folder, one.config)


def test_ids_that_nothing_maps_are_their_numbers(tmp_path: Path) -> None:
    one = ready("sasrec")
    mapped = replace(one.data.interactions, ids={"item": IdMap(ids=np.arange(1, len(one.data.interactions.items)))})
    old, new = built(one, mapped.schema, 1), built(one, mapped.schema, 2)
    warm_start(new, one.data.interactions, saved(one, mapped, old, tmp_path / "before"), one.config)
    assert all(torch.equal(new.get_parameter(path), value) for path, value in old.named_parameters())


@pytest.mark.parametrize(("name", "end"), [("tiger", "tokens_of"), ("reg4rec", "tokens_of"), ("mmq2", "behaviour")])
def test_weights_are_refused_beside_other_semantic_ids_or_vectors(name: str, end: str, tmp_path: Path) -> None:
    one = ready(name)
    before = on(one.data.interactions, one.data.schema)
    old, new = (built(one, before.schema, seed) for seed in (1, 2))
    for module in (old, new):
        prepare(module, one.data)
    folder = saved(one, before, old, tmp_path / "before")
    warm_start(new, before, folder, one.config)
    said = next(buffer for path, buffer in new.named_buffers() if path.endswith(end))
    said[[3, 5], 1] += torch.where(said[[3, 5], 1] % 2 == 0, 1, -1)
    with pytest.raises(ValueError, match=rf"{end}' says something else of 2 of the \d+ item_id that both know"):
        warm_start(new, before, folder, one.config)


def test_a_width_that_equals_a_number_of_ids_means_nothing(tmp_path: Path) -> None:
    one = ready("deepfm")
    before, now = (on(one.data.interactions, one.data.schema, *new) for new in ((), ("a new one",)))
    config = FieldConfig(hidden=(size_of(now.schema.key("user")), 8))
    wide = one._replace(config=config)
    folder = saved(wide, before, built(wide, before.schema, 1), tmp_path / "before")
    assert warm_start(built(wide, now.schema, 2), now, folder, config)


def test_a_system_without_fields_of_users_starts(tmp_path: Path) -> None:
    one = ready("din")
    lean = on(one.data.interactions, one.data.schema)
    kept = tuple(one for one in lean.schema.fields if one.role != "user" or "key" in one.uses)
    lean = replace(lean, schema=replace(lean.schema, fields=kept))
    folder = saved(one, lean, built(one, lean.schema, 1), tmp_path / "before")
    assert warm_start(built(one, lean.schema, 2), lean, folder, one.config)


def test_a_refusal_names_the_settings_that_differ(tmp_path: Path) -> None:
    one = ready("deepfm")
    before = on(one.data.interactions, one.data.schema)
    folder = saved(one, before, built(one, before.schema, 1), tmp_path / "before")
    config = FieldConfig(dim=6, learning_rate=0.5)
    with pytest.raises(ValueError, match=r"configuration has dim = \d+, not 6, learning_rate = .*, not 0.5$"):
        warm_start(built(one._replace(config=config), before.schema, 2), before, folder, config)


def test_settings_are_compared_by_their_values() -> None:
    config = FieldConfig(learning_rate=1e-3, weight_decay=1.0, hidden=(64, 32))
    written = {"learning_rate": 0.001, "weight_decay": 1, "hidden": [64, 32]}
    assert checkpoint.differing(config, written) == [], "what is not written has its default"
    assert checkpoint.differing(config, {**written, "dim": 8}) == ["dim = 8, not 16"]
    assert checkpoint.differing(config, {"old": 3}) == ["old = 3, which is no setting any more"]
