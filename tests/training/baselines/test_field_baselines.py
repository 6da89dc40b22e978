"""FM, DeepFM, AutoInt and DCN-v2: what every model over fields promises, and what tells them apart."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.click_views import fields
from training.baselines import autoint, dcnv2, deepfm, fm, mlp
from training.data.click import ClickData
from training.fit import FitOptions, fit
from training.layers.columns import Features
from training.layers.fields import FieldConfig, FieldModel, FieldNetwork
from training.loop import predict
from training.system import System

SYSTEMS = {system.name: system for system in (autoint.SYSTEM, dcnv2.SYSTEM, deepfm.SYSTEM, fm.SYSTEM, mlp.SYSTEM)}


@pytest.fixture(scope="module")
def data() -> ClickData:
    return fields()


@pytest.fixture(params=SYSTEMS.values(), ids=list(SYSTEMS))
def system(request: pytest.FixtureRequest) -> System:
    return request.param


@pytest.fixture
def model(system: System, data: ClickData) -> FieldModel:
    """With weights far from zero, in evaluation mode."""
    torch.manual_seed(1)
    module = system.build(system.config(dim=8), data.schema)
    assert isinstance(module, FieldModel)
    module.prepare(data)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.eval()


def features(data: ClickData, count: int = 50) -> Features:
    batch = data.test.batch(np.arange(count))
    return Features(batch.ids, batch.dense, batch.sets)


def with_ids(data: ClickData, ids: torch.Tensor) -> Features:
    return features(data, len(ids))._replace(ids=ids)


def test_keeping_every_field_changes_no_bit_and_dropping_one_changes_the_answer(
    model: FieldModel, data: ClickData
) -> None:
    x = features(data)
    keep = torch.ones_like(x.ids, dtype=torch.bool)
    assert torch.equal(model.logits(x), model.logits(x, keep))
    keep[:, 3] = False
    dropped = model.logits(x, keep)
    assert not torch.equal(dropped, model.logits(x))
    other = x.ids.clone()
    other[:, 3] = 1
    assert torch.equal(model.logits(x._replace(ids=other), keep), dropped), (
        "the value of a dropped field does not count"
    )


def linear_and_pairs(model: FieldModel, x: Features) -> torch.Tensor:
    """FM's terms, pair by pair."""
    linear = model.get_submodule("linear")
    vectors = model.embedding(x)
    pairs = [(vectors[:, i] * vectors[:, j]).sum(1) for i in range(5) for j in range(i)]
    weights = linear.get_submodule("weights")
    return linear.get_parameter("bias") + weights(x).sum((1, 2)) + torch.stack(pairs).sum(0)


def network(model: FieldModel, x: Features) -> torch.Tensor:
    """Two layers with ReLU and a last one, over the vectors side by side."""
    first, second, last = (model.get_submodule(f"network.{name}") for name in ("first", "second", "last"))
    return last(torch.relu(second(torch.relu(first(model.embedding(x).flatten(1))))))[:, 0]


def attended(model: FieldModel, x: Features) -> torch.Tensor:
    """AutoInt, head by head."""
    fields = model.embedding(x)
    for number in range(3):
        layer = model.get_submodule(f"layers.{number}")
        query, key, value, residual = (
            layer.get_submodule(name)(fields) for name in ("query", "key", "value", "residual")
        )
        heads = []
        for own in (slice(0, 4), slice(4, 8)):
            share = torch.softmax(torch.einsum("bid,bjd->bij", query[:, :, own], key[:, :, own]), dim=2)
            heads.append(torch.einsum("bij,bjd->bid", share, value[:, :, own]))
        fields = torch.relu(torch.cat(heads, dim=2) + residual)
    return model.get_submodule("last")(fields.flatten(1))[:, 0]


def crossed(model: FieldModel, x: Features) -> torch.Tensor:
    """DCN-v2's crosses, element by element of the vectors side by side."""
    first = model.embedding(x).flatten(1)
    found = first
    for number in range(3):
        cross = model.get_submodule(f"crosses.{number}")
        weight, bias = cross.get_parameter("weight"), cross.get_parameter("bias")
        found = torch.stack(
            [first[:, i] * ((weight[i] * found).sum(1) + bias[i]) + found[:, i] for i in range(len(bias))], dim=1
        )
    return model.get_submodule("last")(found)[:, 0]


def test_the_logit_is_that_of_the_paper_s_equations(model: FieldModel, system: System, data: ClickData) -> None:
    x = features(data)
    parts = {
        "fm": [linear_and_pairs],
        "deepfm": [linear_and_pairs, network],
        "mlp": [network],
        "autoint": [attended],
        "dcnv2": [crossed, network],
    }
    expected = torch.stack([part(model, x) for part in parts[system.name]]).sum(0)
    torch.testing.assert_close(
        model.logits(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max().clamp(min=1))
    )
    assert expected.std() > 0.1


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_is_the_configuration_s_in_training_and_off_in_evaluation(
    system: System, data: ClickData, rate: float
) -> None:
    torch.manual_seed(0)
    module, x = system.build(system.config(dim=8, dropout=rate), data.schema), features(data)
    assert isinstance(module, FieldModel)
    module.prepare(data)
    assert torch.equal(module.train().logits(x), module.logits(x)) == (rate == 0 or system.name == "fm")
    assert torch.equal(module.eval().logits(x), module.logits(x))


def _note(seen: list[torch.Tensor], _module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
    seen.append(given[0])


def test_both_hidden_layers_of_the_network_are_dropped_out() -> None:
    torch.manual_seed(0)
    built = FieldNetwork(10, FieldConfig(dropout=0.4)).train()
    for before, after in ((built.first, built.second), (built.second, built.last)):
        nn.init.constant_(before.weight, 0.0)
        nn.init.constant_(before.bias, 1.0)
        seen: list[torch.Tensor] = []
        after.register_forward_pre_hook(partial(_note, seen))
        built(torch.randn(3000, 2, 5))
        assert (seen[0] == 0).float().mean().item() == pytest.approx(0.4, abs=0.02)
        assert seen[0].max().item() == pytest.approx(1 / 0.6)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_the_stage_makes_its_share_of_a_batch_s_ids_unknown(system: System, data: ClickData, rate: float) -> None:
    seen: list[torch.Tensor] = []
    module = system.build(system.config(unknown_rate=rate), data.schema)
    assert isinstance(module, FieldModel)
    module.prepare(data)
    module.embedding.register_forward_pre_hook(lambda _module, given: seen.append(given[0].ids))
    batch = data.train.batch(np.arange(1000))
    torch.manual_seed(0)
    (stage,) = system.stages_of(system.config(unknown_rate=rate))
    stage.loss(module, batch, 0.0)
    changed = seen[0] != batch.ids
    assert not seen[0][changed].any()
    assert changed.float().mean().item() == pytest.approx(rate * (batch.ids > 0).float().mean().item(), abs=0.02)


def test_every_int64_is_a_legal_id(model: FieldModel, data: ClickData) -> None:
    smallest, largest = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max
    ids = torch.tensor([[smallest, -1, largest, 10**9, 7], [0, 0, 0, 0, 0]])
    impossible, unknown = model.logits(with_ids(data, ids))
    assert bool(impossible.isfinite())
    torch.testing.assert_close(impossible, unknown)


def test_the_served_part_of_the_vocabulary_comes_from_training_alone(model: FieldModel, data: ClickData) -> None:
    counts = np.bincount(data.log.item[data.train.places], minlength=49)
    known = model.embedding.known(torch.arange(49)[:, None].expand(-1, 5))[:, 2]
    assert np.array_equal(known.numpy() > 0, (counts >= 2) & (np.arange(49) > 0))


def test_every_parameter_learns(model: FieldModel, data: ClickData) -> None:
    batch = data.train.batch(np.arange(400))
    nn.functional.binary_cross_entropy_with_logits(model(batch), batch.label).backward()
    assert [name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()] == []


def test_a_planted_pair_of_fields_is_learned(system: System, data: ClickData, tmp_path: Path) -> None:
    config = system.config(dim=8, epochs=12, batch_size=64, learning_rate=0.01, weight_decay=0.0, unknown_rate=0.0)
    result = fit(system, config, data, FitOptions(run=tmp_path / "run", quiet=True))
    assert result.metrics["test"]["auc"] > 0.75
    assert set(result.metrics["test"]) == {"auc", "gauc", "log_loss"}
    assert system.measure(result.module, predict, data.test) == result.metrics["test"]


def test_a_configuration_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dim \(6\) must be a multiple of heads \(4\)"):
        autoint.Config(dim=6, heads=4)
    with pytest.raises(ValueError, match="layers is 0; it must be at least 1"):
        autoint.Config(layers=0)
