"""A planted set whose fields say the same thing five times over, and generators trained on it in seconds."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import torch

from tests.training.click_views import view
from training.data.click import FEATURES, ClickData
from training.interactions import Interactions
from training.layers.columns import Features
from training.layers.field_diffusion import generative_loss
from training.layers.field_generator import FieldGenerator, GeneratorConfig
from training.schema import Field, Role, Schema
from training.system import prepare
from training.systems.dgenctr import SYSTEM

NUM_USERS, NUM_ITEMS, NUM_EVENTS = 300, 200, 4000
GROUPS, CLASSES, COPIES = 3, 4, 5
_NOISE = 0.05
SMALL = GeneratorConfig(
    layers=2,
    temperature=0.2,
    dropout=0.0,
    batch_size=256,
    learning_rate=0.01,
    weight_decay=0.0,
    pretraining_rate=0.02,
    pretraining_decay=0.0,
)


@cache
def redundant(synonyms: int = 1) -> Interactions:
    """A user's group and an item's class decide the label, 5 % of the events against the rule. Five fields of each
    side have it, each under numbers of its own, so many that mean the same; users and items are met too seldom to be
    learnt by their ids."""
    random = np.random.default_rng(0)
    sides: dict[Role, tuple[int, int]] = {"user": (NUM_USERS, GROUPS), "item": (NUM_ITEMS, CLASSES)}
    of, frames, fields = {}, {}, []
    for role, (size, kinds) in sides.items():
        of[role] = np.append(0, random.integers(1, kinds + 1, size))
        codes = [np.append(0, 1 + random.permutation(kinds)) for _ in range(COPIES)]
        frames[role] = pl.DataFrame(
            {f"{role}_{n}": _drawn(code[of[role]], synonyms, n) for n, code in enumerate(codes)}
        )
        fields.append(Field(name=f"{role}_id", role=role, kind="id", uses=("key",), cardinality=size + 1))
        fields += [
            Field(name=f"{role}_{n}", role=role, kind="id", cardinality=kinds * synonyms + 1) for n in range(COPIES)
        ]
    liked = np.array([[0, 1, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0]], bool)
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


def _drawn(values: np.ndarray, synonyms: int, seed: int) -> np.ndarray:
    """One of the values that mean the same in place of each; that of the unknown stays."""
    drawn = np.random.default_rng([seed, len(values)]).integers(1, synonyms + 1, len(values))
    return np.where(values > 0, (values - 1) * synonyms + drawn, 0)


@cache
def data(synonyms: int = 1) -> ClickData:
    return view(redundant(synonyms), frozenset({FEATURES}))


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
def pretrained(*, shuffle_labels: bool = False, shuffled: bool = False) -> FieldGenerator:
    """After some steps of the generative stage."""
    torch.manual_seed(0)
    module = SYSTEM.build(SMALL, data().schema)
    assert isinstance(module, FieldGenerator)
    prepare(module, data())

    def step(numbers: np.ndarray) -> torch.Tensor:
        batch = data().train.batch(numbers)
        if shuffle_labels:
            batch = batch._replace(label=batch.label[torch.randperm(len(numbers))])
        return generative_loss(module, batch, replace(SMALL, shuffled=shuffled))[0]

    return moved(module, step, (600, SMALL.pretraining_rate))


@cache
def tuned(*, shuffled: bool = False) -> FieldGenerator:
    """The same after some steps of the click stage."""
    module = copy.deepcopy(pretrained(shuffled=shuffled)).train()

    def step(numbers: np.ndarray) -> torch.Tensor:
        batch = data().train.batch(numbers)
        return torch.nn.functional.binary_cross_entropy_with_logits(module(batch), batch.label)

    return moved(module, step, (60, SMALL.learning_rate * SMALL.fine_tuning))


@torch.enable_grad()
def moved(
    module: FieldGenerator, step: Callable[[np.ndarray], torch.Tensor], stage: tuple[int, float]
) -> FieldGenerator:
    """After so many steps of Adam at a rate, each of 256 rows of the training part."""
    steps, rate = stage
    optimiser = torch.optim.Adam(module.parameters(), lr=rate)
    random = np.random.default_rng(0)
    for _ in range(steps):
        loss = step(random.integers(0, len(data().train), 256))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return module.eval()
