"""SGCTR's rounds against a form that is written out for one row, field by field, and what decides on them."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.systems.generator_models import data, features, redundant, untrained
from tests.training.systems.sgctr_models import around, config_of
from training.data.altered import Damaged
from training.loop import predict
from training.needs import lacking, require
from training.schema import Schema
from training.system import prepare
from training.systems.matt import SYSTEM as MATT
from training.systems.matt import Matt, MattConfig
from training.systems.sgctr import SYSTEM, Sgctr
from training.systems.sgctr.evaluation import evaluate
from training.systems.sgctr.model import RAMP

ROWS = 60


@cache
def mending(rounds: int) -> Sgctr:
    return around(untrained(), rounds=rounds)


def cosines(module: Sgctr, tokens: Tensor, original: Tensor) -> list[Tensor]:
    """Of each field: what is said of it, beside what it was."""
    state, heads = module.base.denoiser.states(tokens[None])[0], module.base.denoiser.field_heads
    return [torch.cosine_similarity(state[k] @ heads[k], original[k], dim=0) for k in range(len(original))]


def redefined(module: Sgctr, tokens: Tensor, original: Tensor, count: int) -> tuple[Tensor, bool]:
    """One round: so many fields beside user and item, those that agree least with the others; and whether which they
    are is beyond doubt."""
    denoiser, agree = module.base.denoiser, cosines(module, tokens, original)
    order = sorted((k for k in range(12) if k not in (0, 6)), key=lambda k: float(agree[k]))
    hidden = tokens.clone()
    for k in order[:count]:
        hidden[k] = denoiser.masks[k]
    state, after = denoiser.states(hidden[None])[0], tokens.clone()
    for k in order[:count]:
        made = state[k] @ denoiser.field_heads[k]
        kept = 1 / (1 + torch.exp(-6 * (torch.cosine_similarity(made, original[k], dim=0) - module.thresholds[0, k])))
        after[k] = kept * original[k] + (1 - kept) * made / made.norm() * original[k].norm()
    return after, bool(agree[order[count]] - agree[order[count - 1]] > RAMP) if count < len(order) else True


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_mended_logit_is_that_of_the_rounds_written_out(rounds: int) -> None:
    """5 of the 10 free fields in one round, 5 and then 2 (2.5, to the even number) in two; the answer goes from the
    generator's logit to the last round's as a field's cosine falls from its threshold to a ramp below."""
    module, counts, checked = mending(rounds), [5, 2], 0
    with torch.no_grad():
        vectors, found = module.base.embedding(features(ROWS)), module.logits(features(ROWS))
        before = module.base.logits(features(ROWS))
        for row, original in enumerate(vectors):
            agree, tokens, is_plain = cosines(module, original, original), original, True
            for count in counts[:rounds]:
                tokens, is_certain = redefined(module, tokens, original, count)
                is_plain &= is_certain
            if is_plain:
                below = max(float(module.thresholds[1, k] - agree[k]) for k in range(12) if k not in (0, 6))
                doubt = min(max(below / RAMP, 0.0), 1.0)
                last = module.base.denoiser.logit(module.base.denoiser.states(tokens[None]))[0]
                expected = before[row] + doubt * (last - before[row])
                torch.testing.assert_close(found[row], expected, rtol=1e-3, atol=1e-4)
                checked += 0 < doubt
    assert checked >= 5


def test_thresholds_are_learnt_from_validation_rows_alone() -> None:
    (stage,) = SYSTEM.stages_of(config_of())
    samples: Any = stage.samples(data())
    assert np.array_equal(samples.places, data().validation.places)
    (stage,) = SYSTEM.stages_of(config_of(threshold_rows=50))
    few: Any = stage.samples(data())
    assert len(few) == 50
    assert {*few.places.tolist()} < {*data().validation.places.tolist()}


def test_matt_and_sgctr_are_asked_about_the_same_rows_with_the_same_damage() -> None:
    """Around one base; what each evaluation hands out is what is compared."""
    matt = MATT.build(MattConfig(base="dgenctr", dim=16, paths=2), data().schema)
    assert isinstance(matt, Matt)
    prepare(matt, data())
    matt.base = mending(1).base
    seen: list[np.ndarray] = []

    def recorded(one: torch.nn.Module, split: Any, batch_size: int = 4096) -> np.ndarray:
        if isinstance(split, Damaged):
            seen.append(split.batch(np.arange(len(split))).ids.numpy())
        return predict(one, split, batch_size)

    MATT.measure(matt.eval(), recorded, data().test)
    evaluate(mending(1), recorded, data().test)
    clean = data().test.features(np.arange(len(data().test))).ids
    assert len(seen) == 6
    for count, one, other in zip((1, 2, 3), seen[:3], seen[3:], strict=True):
        np.testing.assert_array_equal(one, other)
        assert ((one != clean).sum(1) == count).all()


def test_data_with_nothing_to_mend_is_refused_by_name() -> None:
    bare, whole = redundant(), redundant()
    fields = tuple(field for field in bare.schema.fields if "feature" not in field.uses)
    bare = replace(bare, schema=Schema(dataset="bare", fields=fields))
    assert lacking(whole, SYSTEM.needs) == []
    with pytest.raises(
        ValueError, match="bare cannot be used for sgctr: it lacks fields beside the ids of users and items"
    ):
        require(bare, "sgctr", SYSTEM.needs)
