"""FM, DeepFM and AutoInt: what every model over fields promises, and what tells them apart."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from training.baselines import autoint, deepfm, fm
from training.data.fields import FieldData
from training.data.synthetic import planted_fields
from training.fit import FitOptions, fit
from training.layers.fields import FieldModel, evaluate
from training.loop import predict
from training.system import System

SYSTEMS = {system.name: system for system in (autoint.SYSTEM, deepfm.SYSTEM, fm.SYSTEM)}


@pytest.fixture(scope="module")
def data() -> FieldData:
    return planted_fields()


@pytest.fixture(params=SYSTEMS.values(), ids=list(SYSTEMS))
def system(request: pytest.FixtureRequest) -> System:
    return request.param


@pytest.fixture
def model(system: System, data: FieldData) -> FieldModel:
    """With weights far from zero, in evaluation mode."""
    torch.manual_seed(1)
    module = system.build(system.config(dim=8), data.schema)
    assert isinstance(module, FieldModel)
    module.prepare(data)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.eval()


def test_keeping_every_field_changes_no_bit_and_dropping_one_changes_the_answer(
    model: FieldModel, data: FieldData
) -> None:
    ids = data.test.batch(np.arange(50)).ids
    keep = torch.ones_like(ids, dtype=torch.bool)
    assert torch.equal(model.logits(ids), model.logits(ids, keep))
    keep[:, 3] = False
    dropped = model.logits(ids, keep)
    assert not torch.equal(dropped, model.logits(ids))
    other = ids.clone()
    other[:, 3] = 1
    assert torch.equal(model.logits(other, keep), dropped), "the value of a dropped field does not count"


def test_every_int64_is_a_legal_id(model: FieldModel) -> None:
    smallest, largest = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max
    ids = torch.tensor([[smallest, -1, largest, 10**9, 7], [0, 0, 0, 0, 0]])
    impossible, unknown = model.logits(ids)
    assert bool(impossible.isfinite())
    torch.testing.assert_close(impossible, unknown)


def test_the_served_part_of_the_vocabulary_comes_from_training_alone(model: FieldModel, data: FieldData) -> None:
    counts = np.bincount(data.train.ids[:, 2], minlength=49)
    known = model.embedding.known(torch.from_numpy(data.item_rows[:, :1]).expand(-1, 5))[:, 2]
    assert np.array_equal(known.numpy() > 0, (counts >= 2) & (np.arange(49) > 0))


def test_every_parameter_learns(model: FieldModel, data: FieldData) -> None:
    batch = data.train.batch(np.arange(400))
    nn.functional.binary_cross_entropy_with_logits(model(batch), batch.label).backward()
    assert [name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()] == []


def test_a_planted_pair_of_fields_is_learned(system: System, data: FieldData, tmp_path: Path) -> None:
    config = system.config(dim=8, epochs=12, batch_size=64, learning_rate=0.01, weight_decay=0.0, unknown_rate=0.0)
    result = fit(system, config, data, FitOptions(run=tmp_path / "run", quiet=True))
    assert result.metrics["test"]["auc"] > 0.75
    assert set(result.metrics["test"]) == {"auc", "gauc", "log_loss"}
    assert evaluate(result.module, predict, data.test) == result.metrics["test"]


def test_a_configuration_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dim \(6\) must be a multiple of heads \(4\)"):
        autoint.Config(dim=6, heads=4)
    with pytest.raises(ValueError, match="layers is 0; it must be at least 1"):
        autoint.Config(layers=0)
