"""The checks that show that DEA is real: pair memory, collisions, thresholds out of abundance, dropped fields."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from kernels.combo_id_attention import Fusion, mix, reference
from recserve.studies.planted.experiments import attention
from tests.training.systems.dea_models import SMALL, data, model
from training.systems.dea import DEA, Config, codebooks, stages
from training.systems.dea.abundance import deficiency, thresholds
from training.systems.dea.model import Layer

IDS = torch.from_numpy(data().test.ids[:32])


def first_layer(built: DEA) -> Layer:
    layer = built.layers[0]
    assert isinstance(layer, Layer)
    return layer


def by_hand(built: DEA, ids: Tensor) -> Tensor:
    """The first layer's output for one sample [F, D], pair by pair and head by head."""
    layer, num_fields = first_layer(built), ids.shape[0]
    vectors = built.embedding(ids[None])[0]
    width = vectors.shape[1] // layer.heads
    query, gate_query, key, gate_key, value = layer.tokens(vectors).split(
        [layer.heads * width, width, layer.heads * width, width, layer.heads * width], dim=1
    )
    codes = built.pairs(ids[None]).codes
    share = torch.sigmoid(layer.share)
    tau = thresholds(layer.strictness, built.abundance.deficiency)
    pair_of = {
        (i, j): n for n, (i, j) in enumerate(zip(*torch.triu_indices(num_fields, num_fields, 1).tolist(), strict=True))
    }
    output = torch.zeros_like(vectors)
    for head in range(layer.heads):
        own = slice(head * width, (head + 1) * width)
        for i in range(num_fields):
            weights = []
            for j in range(num_fields):
                dot = query[i, own] @ key[j, own] / math.sqrt(width)
                if i == j:
                    weights.append(torch.exp((1 - share[head]) * dot))
                    continue
                left, right = min(i, j), max(i, j)
                gate = torch.sigmoid(gate_query[left] @ gate_key[right] / math.sqrt(width))
                one, two = (layer.score(code[0, pair_of[left, right]])[head] for code in codes)
                score = share[head] * (gate * one + (1 - gate) * two) + (1 - share[head]) * dot
                weights.append(torch.exp(score) * torch.relu(torch.sigmoid(dot) - tau[i, j]))
            stacked = torch.stack(weights)
            output[i, own] = stacked @ value[:, own] / stacked.sum()
    return output


@torch.no_grad()
def test_a_layer_computes_its_equations() -> None:
    built = model().double()
    layer = first_layer(built)
    assert float(attention(built, IDS).pruned.mean()) > 0.05, "the thresholds should be at work"
    output = layer(built.embedding(IDS), built.pairs(IDS), built.abundance.deficiency)
    for number in range(4):
        torch.testing.assert_close(output[number], by_hand(built, IDS[number]), rtol=1e-10, atol=1e-12)


@torch.no_grad()
def test_full_weight_and_no_share_of_the_codes_is_plain_multi_head_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    built = model().double()
    layer = first_layer(built)
    plain = Fusion(mix("gate", torch.zeros(SMALL.heads)), torch.full((6, 6), -1.0))
    monkeypatch.setattr(layer, "fusion", lambda _deficiency: plain)
    vectors = built.embedding(IDS)
    heads = reference.split(layer.tokens(vectors), SMALL.heads)
    expected = torch.nn.functional.scaled_dot_product_attention(heads.query, heads.key, heads.value)
    output = layer(vectors, built.pairs(IDS), built.abundance.deficiency)
    torch.testing.assert_close(output, expected.transpose(1, 2).flatten(2), rtol=1e-10, atol=1e-12)


def test_a_pair_has_the_same_code_whichever_field_comes_first() -> None:
    built = model()
    codes = reference.field_codes(IDS, built.memory.salt)
    sizes = (len(built.memory.first), len(built.memory.second))
    rows = reference.pair_rows(codes, codes, sizes)
    assert torch.equal(rows, rows.transpose(1, 2))
    upper = rows[:, built.memory.left, built.memory.right]
    assert torch.equal(torch.stack(built.memory.rows(IDS), dim=-1), upper), "the memory reads other rows than the op"
    scores = first_layer(built).pair_scores(torch.rand(32, 15), built.pairs(IDS).codes, None)
    assert torch.equal(scores, scores.transpose(2, 3))


def test_training_leaves_out_its_share_of_each_code_s_elements_and_evaluation_none() -> None:
    built = model(replace(SMALL, code_dropout=0.4))
    whole = built.pairs(IDS).codes
    torch.manual_seed(0)
    dropped = built.train().pairs(IDS).codes
    for before, after in zip(whole, dropped, strict=True):
        left_out = after == 0
        assert left_out.float().mean().item() == pytest.approx(0.4, abs=0.05)
        torch.testing.assert_close(after[~left_out], before[~left_out] / 0.6)
    assert not torch.equal(dropped.first == 0, dropped.second == 0)
    assert all(map(torch.equal, whole, built.eval().pairs(IDS).codes))


@pytest.mark.parametrize("large", [2**31, 2**40, 2**62, -1, -(2**63)])
def test_any_int64_finds_a_row(large: int) -> None:
    built = model()
    ids = torch.full_like(IDS, large)
    for rows, table in zip(built.memory.rows(ids), codebooks(built), strict=True):
        assert 0 <= int(rows.min()) <= int(rows.max()) < len(table)
    assert torch.isfinite(built.logits(ids)).all()
    assert torch.equal(built.logits(ids), built.logits(torch.zeros_like(ids))), "an unknown id is the unknown"


def test_pairs_of_large_ids_are_told_apart() -> None:
    ids = IDS[:1].repeat(200, 1)
    ids[:, 0] = 2**40 + torch.arange(200)
    rows = model(replace(SMALL, codebook_rows=2**15)).memory.rows(ids)[0]
    assert len(rows[:, 0].unique()) > 190


def test_thresholds_come_from_abundance_and_equal_abundance_prunes_nothing() -> None:
    built = model()
    with torch.no_grad():
        first_layer(built).tokens.weight.mul_(0.2)
    for rho in (0.05, 0.6):
        built.abundance.deficiency.copy_(deficiency(torch.full((6,), rho)))
        tau = first_layer(built).fusion(built.abundance.deficiency).tau
        assert torch.allclose(tau, torch.sigmoid(torch.tensor(-3.0)))
        assert attention(built, IDS).pruned.max() == 0
    rho = torch.tensor([0.6, 0.6, 0.06, 0.6, 0.6, 0.6])
    tau = thresholds(torch.tensor(0.54), deficiency(rho))
    poor = torch.zeros(6, dtype=torch.bool).index_fill(0, torch.tensor(2), True)
    assert float(tau[poor].min()) > 0.8
    assert float(tau[~poor][:, ~poor].max()) < 0.05


@pytest.mark.parametrize("layers", [1, 2])
def test_keeping_all_fields_changes_no_bit(layers: int) -> None:
    built = model(replace(SMALL, layers=layers))
    assert torch.equal(built.logits(IDS, torch.ones_like(IDS, dtype=torch.bool)), built.logits(IDS))


def test_a_dropped_field_is_forgotten_and_its_pairs_are_neutral() -> None:
    built = model()
    keep = torch.ones_like(IDS, dtype=torch.bool)
    keep[:, 1] = False
    changed = IDS.clone()
    changed[:, 1] = IDS[:, 1] % 40 + 1
    assert torch.equal(built.logits(IDS, keep), built.logits(changed, keep))
    assert not torch.equal(built.logits(IDS), built.logits(changed))
    pairs = built.pairs(IDS, keep)
    scores = first_layer(built).pair_scores(torch.rand(32, 15), pairs.codes, pairs.kept)
    neutral = first_layer(built).neutral()
    others = torch.arange(6) != 1
    assert torch.equal(scores[:, :, 1, others], neutral[None, :, None].expand(32, -1, 5))
    assert not torch.equal(scores[:, :, 0, 2], neutral.expand(32, -1))


def test_a_pair_that_was_never_trained_is_neutral_from_the_start() -> None:
    built = DEA(SMALL, data().schema).eval()
    built.prepare(data())
    scores = first_layer(built).pair_scores(torch.rand(32, 15), built.pairs(IDS).codes, None)
    torch.testing.assert_close(scores[:, :, 0, 2], first_layer(built).neutral().expand(32, -1))


@pytest.mark.parametrize("mode", ["add", "mul", "gate", "half"])
def test_every_way_to_fuse_learns_a_batch(mode: reference.MixMode) -> None:
    config = replace(SMALL, fusion=mode, layers=2, unknown_rate=0.0)
    built = model(config).train()
    optimizer, batch = torch.optim.Adam(built.parameters(), lr=2e-2), data().train.batch(np.arange(256))
    losses = []
    for _ in range(40):
        loss, _ = stages(config)[0].loss(built, batch, 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    moved = [name for name, parameter in built.named_parameters() if parameter.grad is None]
    assert moved == (["layers.0.share", "layers.1.share"] if mode != "gate" else [])


def test_the_codebooks_learn_at_their_own_rate_without_weight_decay() -> None:
    (stage,) = stages(Config(learning_rate=1e-2, code_rate=0.5, weight_decay=0.3))
    (group,) = stage.groups
    assert (group.learning_rate, group.weight_decay) == (5e-3, 0.0)
    built = model()
    assert [id(rows) for rows in group.parameters(built)] == [id(built.memory.first), id(built.memory.second)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "dim .8. must be a multiple of heads .3."),
        ({"layers": 4}, r"layers must lie in 1\.\.3, not 4"),
        ({"codebook_rows": 1}, "codebook_rows must lie in 2"),
        ({"refresh_every": 0}, "refresh_every is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)
