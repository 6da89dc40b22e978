"""Of every system: what training never saw is read as the unknown, never as weights that no training sample moved."""

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from tests.training.test_every_system import Ready, initial, quick, ready
from training.fit import predict
from training.interactions import Content, Interactions
from training.registry import SYSTEMS
from training.schema import Field, Role, Schema
from training.system import Split, Wanted
from training.warm_start import Indexed

_PASSES = 6
_AT_ONCE = 1024
_LATE = 0.95
"""Share of the events before what is new comes."""


def with_news(interactions: Interactions, *, is_user_new: bool) -> Interactions:
    """Users whose last event is late take an item that is new there, all of whose fields have new values; with
    `is_user_new` these events are a new user's, of whom the same holds."""
    clock = next(field.name for use in ("time", "order") for field in interactions.schema.of(use, "event"))
    late = interactions.events[clock] >= interactions.events[clock].quantile(_LATE, "nearest")
    last = interactions.events.select((pl.col(clock) == pl.col(clock).max().over("user")).alias("last"))["last"] & late
    new: dict[Role, int] = {"item": len(interactions.items)}
    new |= {"user": len(interactions.users)} if is_user_new else {}
    events = interactions.events.with_columns(
        pl.when(last).then(pl.lit(number)).otherwise(pl.col(role)).alias(role) for role, number in new.items()
    )
    fields = tuple(_with_one_more(field) if field.role in new else field for field in interactions.schema.fields)
    return Interactions(
        schema=Schema(dataset=interactions.name, fields=fields),
        events=events,
        users=_with_new_row(interactions.users, fields, "user") if is_user_new else interactions.users,
        items=_with_new_row(interactions.items, fields, "item"),
        licence=interactions.licence,
        load_content=lambda: Content(*(np.concatenate([table, table[-1:]]) for table in interactions.content)),
    )


def _with_one_more(field: Field) -> Field:
    if field.cardinality is None:
        return field
    values = None if field.values is None else (*field.values, "new")
    return Field(**{**vars(field), "cardinality": field.cardinality + 1, "values": values})


def _with_new_row(table: pl.DataFrame, fields: tuple[Field, ...], role: Role) -> pl.DataFrame:
    """The new one's row: of each field the greatest id, which is new."""
    row = table[-1:]
    for field in fields:
        if field.role == role and field.cardinality is not None and field.name in table.columns:
            value = [field.cardinality - 1]
            row = row.with_columns(pl.Series(field.name, [value] if field.kind == "multi" else value))
    return pl.concat([table, row], how="vertical_relaxed")


def with_new(name: str) -> Ready:
    one = ready(name)
    interactions = with_news(one.system.task.planted(), is_user_new=one.system.task.name == "click")
    wanted = Wanted(one.system.reads, getattr(one.config, "max_length", 12), {})
    return one._replace(data=one.system.view(one.system.task.view(interactions, wanted)))


def answers(one: Ready, module: nn.Module) -> list[np.ndarray]:
    """What the module says of the test part."""
    kept: list[np.ndarray] = []

    def recorded(asked: nn.Module, split: Split, batch_size: int = 4096) -> np.ndarray:
        kept.append(predict(asked, split, batch_size))
        return kept[-1]

    one.system.measure(module.eval(), recorded, one.data.test)
    return kept


def scaled(module: nn.Module) -> int:
    """Scales rows of tables that have no gradient; says how many of them there are."""
    count = 0
    for layer in module.modules():
        for name, axis in layer.indexed.items() if isinstance(layer, Indexed) else ():
            path, _, own = name.rpartition(".")
            parameter = layer.get_submodule(path).get_parameter(own)
            moved = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            by_row = moved.movedim(axis.dim, 0)
            still = ~by_row.reshape(len(by_row), -1).any(dim=1)
            parameter.data.movedim(axis.dim, 0)[still] *= -7
            count += int(still.sum())
    return count


BY_ID = [name for name, one in SYSTEMS.items() if one.task.name != "semantic_ids" and not one.upstream(quick(one))]
"""The others have tables of tokens, all of which tokenizers and catalogues know."""


@pytest.mark.parametrize("name", BY_ID)
def test_no_answer_depends_on_a_row_that_no_training_sample_moves(name: str) -> None:
    one = with_new(name)
    module, stages = initial(one), one.system.stages_of(one.config, one.data.schema)
    if not stages or not any(isinstance(layer, Indexed) for layer in module.modules()):
        pytest.skip(f"{name} has no table by id that steps move")
    torch.manual_seed(0)
    # Of ids that are unknown at random, all are known in one pass or another.
    passes = _PASSES if getattr(one.config, "unknown_rate", 0) else 1
    for stage in [*stages] * passes:
        samples = stage.samples(one.data)
        # Not all at once: some losses compare each sample with each other one.
        for rows in np.split(np.arange(len(samples)), range(_AT_ONCE, len(samples), _AT_ONCE)):
            stage.loss(module.train(), samples.batch(rows), 0.5)[0].backward()
    before = answers(one, module)
    assert scaled(module) or name == "sasrec", "only its penalty moves all rows"
    for old, new in zip(before, answers(one, module), strict=True):
        np.testing.assert_array_equal(new, old)
