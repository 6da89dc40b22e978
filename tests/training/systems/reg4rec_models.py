"""Tiny REG4Rec models over synthetic sequences, with semantic ids made by hand."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch

from training.data.sequences import SequenceData
from training.system import Wanted
from training.systems.reg4rec import Config, Reg4Rec, supervised
from training.tasks.next_item import NEXT_ITEM

CONFIG = Config(
    max_length=12,
    codebooks=3,
    words=6,
    dim=16,
    heads=2,
    encoder_layers=1,
    dropout=0.1,
    epochs=8,
    batch_size=16,
    ordered_share=0.2,
    category_weight=0.1,
    learning_rate=1e-2,
    preference_epochs=1,
    preference_batch_size=16,
    rollouts=8,
    beams=8,
)


@cache
def data() -> SequenceData:
    """60 items in 6 clusters of 10, three codes each: the cluster, the place within it, and one of both."""
    item = torch.arange(61)
    cluster, place = (item - 1) % 6, (item - 1) // 6
    codes = torch.stack((cluster, (place + cluster) % 6, (place // 2 + 2 * cluster) % 6), 1)
    codes[0] = 0
    given = {"codes": codes, "weights": torch.ones(61, 3)}
    return NEXT_ITEM.view(NEXT_ITEM.planted(), Wanted(frozenset(), CONFIG.max_length, given))


def untrained(*, seed: int = 0, given: bool = True, **changes: Any) -> tuple[Reg4Rec, SequenceData]:
    """With larger weights than at the start of training, so that paths differ; without the data's codes, where they do
    not fit, all items are the unknown one and only their places differ."""
    torch.manual_seed(seed)
    sequences = data()
    module = Reg4Rec(replace(CONFIG, **changes), sequences.schema)
    if given:
        module.prepare(sequences)
    else:
        module.generator.encoder.tokens_of.random_(module.config.shape.words)
    with torch.no_grad():
        for parameter in module.generator.parameters():
            parameter.mul_(2)
    return module.eval(), sequences


def stepped(module: Reg4Rec, loss: Any, steps: int, learning_rate: float) -> Reg4Rec:
    """After some steps of a stage's loss on the training part."""
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=learning_rate)
    module.train()
    random = np.random.default_rng(0)
    for step in range(steps):
        batch = data().train.batch(random.integers(len(data().train), size=32))
        value, _ = loss(module, batch, step / steps)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return module.eval()


@cache
def trained(steps: int = 100) -> Reg4Rec:
    """By the supervised stage; shared, so that a test that changes it must copy it."""
    torch.manual_seed(0)
    module = Reg4Rec(CONFIG, data().schema)
    module.prepare(data())
    return stepped(module, supervised.loss, steps, 1e-2)
