"""A planted set whose fields say the same thing three times over, and generators trained on it in seconds."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from tests.training.click_views import view
from training.data.click import FEATURES, ClickData
from training.fit import FitOptions, fit
from training.interactions import Interactions
from training.layers.columns import Features
from training.layers.field_generator import FieldGenerator, GeneratorConfig
from training.schema import Field, Schema
from training.system import prepare
from training.systems.dgenctr import SYSTEM

NUM_USERS, NUM_ITEMS, NUM_EVENTS = 300, 200, 4000
GROUPS, CLASSES, COPIES = 3, 4, 3
_NOISE = 0.05
SMALL = GeneratorConfig(
    dim=8,
    layers=1,
    dropout=0.0,
    epochs=4,
    batch_size=256,
    learning_rate=0.01,
    weight_decay=0.0,
    pretraining_epochs=12,
    pretraining_rate=0.01,
    pretraining_decay=0.0,
)


@cache
def redundant() -> Interactions:
    """A user's group and an item's class decide the label, 5 % of the events against the rule. Three fields of each
    side have it, each under numbers of its own; users and items are met too seldom to be learnt by their ids."""
    random = np.random.default_rng(0)
    sides = {"user": (NUM_USERS, GROUPS), "item": (NUM_ITEMS, CLASSES)}
    of, frames, fields = {}, {}, []
    for role, (size, kinds) in sides.items():
        of[role] = np.append(0, random.integers(1, kinds + 1, size))
        codes = [np.append(0, 1 + random.permutation(kinds)) for _ in range(COPIES)]
        frames[role] = pl.DataFrame({f"{role}_{n}": code[of[role]] for n, code in enumerate(codes)})
        fields.append(Field(name=f"{role}_id", role=role, kind="id", uses=("key",), cardinality=size + 1))
        fields += [Field(name=f"{role}_{n}", role=role, kind="id", cardinality=kinds + 1) for n in range(COPIES)]
    liked = np.array([[0, 1, 0, 1], [1, 0, 1, 0], [1, 1, 0, 0]], bool)
    user, item = random.integers(1, NUM_USERS + 1, NUM_EVENTS), random.integers(1, NUM_ITEMS + 1, NUM_EVENTS)
    label = liked[of["user"][user] - 1, of["item"][item] - 1] != (random.random(NUM_EVENTS) < _NOISE)
    fields += [
        Field(name="time", role="event", kind="dense", uses=("time",)),
        Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
    ]
    return Interactions(
        schema=Schema(dataset="redundant", fields=tuple(fields)),
        events=pl.DataFrame(
            {"user": user, "item": item, "time": np.arange(NUM_EVENTS), "label": label.astype(np.float32)}
        ),
        users=frames["user"],
        items=frames["item"].with_columns(title=pl.Series(["unknown", *(f"Item {n + 1}" for n in range(NUM_ITEMS))])),
        licence="made up by recserve",
    )


@cache
def data() -> ClickData:
    return view(redundant(), frozenset({FEATURES}))


def features(count: int | None = None) -> Features:
    """Of the first samples of the test part, or of all."""
    split = data().test
    return Features(*map(torch.from_numpy, split.features(np.arange(count or len(split)))))


def untrained(**changes: Any) -> FieldGenerator:
    """With weights far from zero."""
    torch.manual_seed(0)
    module = SYSTEM.build(replace(SMALL, **changes), data().schema)
    assert isinstance(module, FieldGenerator)
    prepare(module, data())
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module.eval()


@cache
def trained(seed: int = 0, **changes: Any) -> FieldGenerator:
    """Through its stages."""
    with tempfile.TemporaryDirectory() as folder:
        options = FitOptions(run=Path(folder) / "run", seed=seed, quiet=True)
        module = fit(SYSTEM, replace(SMALL, **changes), data(), options).module
    assert isinstance(module, FieldGenerator)
    return module
