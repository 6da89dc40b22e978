"""DMAE's answer and its decoder's loss, written out event by event for single samples."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.systems.dmae_models import SMALL, batch, data, model
from training.data.click import ClickBatch
from training.systems.dmae import DMAE
from training.systems.dmae.model import dmae_loss
from training.systems.dmae.units import FINENESS, LEVELS, CrossAttention, Encoding

NAMES = ("text", "graph")


def similarity(item: int, other: int, name: str) -> float | None:
    """r of eq. (1), from the data set's own vectors of norm 1 on the grid; None where one is missing."""
    table = getattr(data().interactions.content, name).astype(np.float64)
    first, second = (np.round(table[one] * FINENESS) / FINENESS for one in (item, other))
    if not first.any() or not second.any():
        return None
    return round((first @ second + 1) / 2 * LEVELS) / LEVELS


def encoded(built: DMAE, number: int, r: float, age: int, value: int) -> Tensor:
    """h of eq. (4)."""
    unit = built.encodings[number]
    assert isinstance(unit, Encoding)
    rhat = (unit.scale * r + unit.offset).clamp(0, 1)
    bucket = unit.buckets.weight[int(rhat * (SMALL.buckets - 1))]
    similar = unit.of_similarity(torch.cat([rhat * bucket, rhat * unit.continuous]))
    age_row = built.ages.rows.weight[0 if age == 0 else 1 + int(math.log2(age))]
    return similar + unit.of_age(age_row) + unit.of_value(built.tables.behaviours.rating.table()[value])


def interests(built: DMAE, one: ClickBatch) -> tuple[list[list[Tensor | None]], list[list[float | None]]]:
    """f of eq. (5) and r of each modality and event; None where it does not count."""
    item, events = int(one.item), range(int(one.history_length))
    ids, ages, values = (getattr(one, f"history_{name}")[0].tolist() for name in ("items", "ages", "values"))
    found = [[None if ids[j] == item else similarity(item, ids[j], name) for j in events] for name in NAMES]
    hidden = [
        [None if r is None else encoded(built, m, r, ages[j], values[j]) for j, r in enumerate(of)]
        for m, of in enumerate(found)
    ]
    fused: list[list[Tensor | None]] = []
    for m, fusion in enumerate(built.fusions):
        assert isinstance(fusion, CrossAttention)
        others = [one for one in hidden[1 - m] if one is not None]
        fused.append([])
        for own in hidden[m]:
            if own is None:
                fused[m].append(None)
                continue
            summed = torch.zeros_like(own)
            if others:
                scores = torch.stack([fusion.query(own) @ fusion.key(one) / math.sqrt(len(own)) for one in others])
                weights = torch.softmax(scores, 0)
                summed = sum((w * fusion.value(one) for w, one in zip(weights, others, strict=True)), summed)
            fused[m].append(fusion.norm(own + summed))
    return fused, found


def logit(built: DMAE, one: ClickBatch) -> Tensor:
    """Target attention over ids and u of eq. (6) of each modality, through the head."""
    history, _, target, profile = built.tables.look_up(one)
    counting = [j for j in range(int(one.history_length)) if int(one.history_items[0, j]) != int(one.item)]
    fused, _ = interests(built, one)
    pooled = []
    for m, pool in enumerate(built.pools):
        there = [f for f in fused[m] if f is not None]
        weights = torch.softmax(torch.stack([pool(f)[0] for f in there]), 0) if there else []
        pooled.append(sum((w * f for w, f in zip(weights, there, strict=True)), torch.zeros(SMALL.width)))
    events = [history[0, j] for j in counting]
    unit = [built.of_event(s) + built.of_target(target[0]) + built.of_product(s * target[0]) for s in events]
    attention = [built.weight(torch.nn.functional.silu(one)) for one in unit]
    interest = sum((a * s for a, s in zip(attention, events, strict=True)), torch.zeros_like(target[0]))
    interest = interest / max(1, len(events))
    tower = built.tower
    first = tower.of_target(target[0]) + tower.of_profile(profile[0]) + built.of_modalities(torch.cat(pooled))
    first = first + tower.of_interest(interest) + tower.of_product(interest * target[0])
    return tower.last(torch.relu(tower.second(torch.relu(first))))[0]


def decoding(built: DMAE, one: ClickBatch) -> Tensor:
    """L_dec of eq. (7): the decoder reads both modalities of an event, zeros where one does not count."""
    fused, true = interests(built, one)
    total = torch.zeros(())
    for m, decoder in enumerate(built.decoders):
        there = [j for j, r in enumerate(true[m]) if r is not None]
        if len(there) < 2:
            continue
        both = [
            torch.cat([f if (f := fused[n][j]) is not None else torch.zeros(SMALL.width) for n in (0, 1)])
            for j in there
        ]
        q = torch.softmax(torch.stack([decoder(x)[0] for x in both]), 0)
        p = torch.softmax(torch.tensor([true[m][j] for j in there]) / SMALL.temperature, 0)
        total = total + (p * (p / q).log()).sum()
    return total


def samples() -> list[ClickBatch]:
    """Of the test part: as they are, of an item without a graph vector, the target in its own history, no history and
    one event."""
    bare, given = len(data().interactions.items) - 1, batch(np.array([60]))
    repeated = given.history_items.clone()
    repeated[:, 3] = given.item
    return [
        given,
        given._replace(item=torch.tensor([bare])),
        given._replace(history_items=repeated),
        given._replace(history_length=torch.tensor([0])),
        given._replace(history_length=torch.tensor([1])),
    ]


@pytest.mark.parametrize("number", range(5))
def test_the_logit_and_the_decoder_s_loss_are_those_of_the_equations(number: int) -> None:
    built, one = model(), samples()[number]
    with torch.no_grad():
        for encoding in built.encodings:
            assert isinstance(encoding, Encoding)
            encoding.scale.fill_(0.8)
            encoding.offset.fill_(0.1)
        torch.testing.assert_close(built(one)[0], logit(built, one), rtol=1e-4, atol=1e-5)
        loss, logged = dmae_loss(built, one._replace(label=torch.ones(1)), 0.0)
        torch.testing.assert_close(logged["decoding"], decoding(built, one), rtol=1e-4, atol=1e-5)
        expected = torch.nn.functional.softplus(-logit(built, one)) + SMALL.decoder_weight * decoding(built, one)
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    assert (logged["decoding"] > 0) == (number < 3)


def test_the_target_of_the_decoder_has_no_gradient_and_the_loss_of_a_batch_is_its_mean() -> None:
    built, rows = model(replace(SMALL, decoder_weight=1.0)), samples()[:1] + samples()[2:3]
    both = ClickBatch(*(torch.cat(parts) for parts in zip(*rows, strict=True)))
    prediction = built.predicted(both)
    assert not any(one.requires_grad for one in prediction.similarity)
    with torch.no_grad():
        losses = [dmae_loss(built, one, 0.0)[0] for one in (*rows, both)]
    torch.testing.assert_close(losses[2], (losses[0] + losses[1]) / 2)
