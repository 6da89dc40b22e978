"""A planted set of which few rows have a label, and DGenCTR's ways to learn from the others too."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import polars as pl
import torch

from tests.training.click_views import view
from tests.training.systems.generator_models import moved
from training.data.click import FEATURES, ClickData
from training.interactions import Interactions
from training.layers.field_generator import FieldGenerator, GeneratorConfig
from training.schema import Field, Schema
from training.system import Split, Stage, prepare
from training.systems.dgenctr import SYSTEM
from training.systems.dgenctr.stages import stages

NUM_USERS, NUM_ITEMS, NUM_EVENTS = 2400, 4, 3000
CLUSTERS, SYNONYMS, FIELDS = 8, 5, 6
_SLIPS = 0.3
SHARE = 0.02
"""Of the training rows that have a label."""
SETTINGS = GeneratorConfig(
    layers=1,
    temperature=0.2,
    dropout=0.0,
    batch_size=256,
    learning_rate=0.01,
    weight_decay=0.0,
    pretraining_rate=0.01,
    pretraining_decay=0.0,
    labels=SHARE,
)
WAYS = {
    "scratch": replace(SETTINGS, pretraining="none"),
    "all": SETTINGS,
}
STEPS = {"generate": 1500, "click": 80}


@cache
def clustered() -> Interactions:
    """A user's cluster decides the label. Six fields have it, under one of five values that mean the same, but for
    three of ten users, of whom they have any; most users are met once."""
    random = np.random.default_rng(0)
    cluster = random.integers(0, CLUSTERS, NUM_USERS + 1)
    frame = {}
    for number in range(FIELDS):
        meant = np.where(random.random(NUM_USERS + 1) < _SLIPS, random.integers(0, CLUSTERS, NUM_USERS + 1), cluster)
        frame[f"user_{number}"] = 1 + meant * SYNONYMS + random.integers(0, SYNONYMS, NUM_USERS + 1)
        frame[f"user_{number}"][0] = 0
    user, item = random.integers(1, NUM_USERS + 1, NUM_EVENTS), random.integers(1, NUM_ITEMS + 1, NUM_EVENTS)
    fields = (
        Field(name="user_id", role="user", kind="id", uses=("key",), cardinality=NUM_USERS + 1),
        *(Field(name=name, role="user", kind="id", cardinality=CLUSTERS * SYNONYMS + 1) for name in frame),
        Field(name="item_id", role="item", kind="id", uses=("key",), cardinality=NUM_ITEMS + 1),
        Field(name="time", role="event", kind="dense", uses=("time",)),
        Field(name="label", role="event", kind="id", uses=("label",), cardinality=2),
    )
    label = (cluster[user] % 2).astype(np.float32)
    return Interactions(
        schema=Schema(dataset="clustered", fields=fields),
        events=pl.DataFrame({"user": user, "item": item, "time": np.arange(NUM_EVENTS), "label": label}),
        users=pl.DataFrame(frame),
        items=pl.DataFrame({"title": ["unknown", *(f"Item {n + 1}" for n in range(NUM_ITEMS))]}),
        licence="made up by recserve",
    )


@cache
def data() -> ClickData:
    return view(clustered(), frozenset({FEATURES}))


def _loss(stage: Stage, module: FieldGenerator, samples: Split, numbers: np.ndarray) -> torch.Tensor:
    return stage.loss(module, samples.batch(numbers % len(samples)), 0.0)[0]


@cache
def trained(way: str, seed: int = 0) -> FieldGenerator:
    """By the system's own stages: what they read, their losses and rates."""
    config = WAYS[way]
    torch.manual_seed(seed)
    module = SYSTEM.build(config, data().schema)
    assert isinstance(module, FieldGenerator)
    prepare(module, data())
    for stage in stages(config):
        samples = stage.samples(data())
        moved(module.train(), partial(_loss, stage, module, samples), (STEPS[stage.name], stage.learning_rate))
    return module.eval()
