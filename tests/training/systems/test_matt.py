"""The checks that show that MATT is real: its base is untouched, paths follow counts, answers lean on what is known."""

import copy
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kernels.path_sampling import Aggregation, Paths, instance_keys, pack, path_confidence, shares, unpack
from kernels.path_sampling.hph import weights
from tests.training.systems.matt_models import BASES, config_of, data, features, trained, untrained
from training.checkpoint import load_run, restore
from training.data.altered import Damaged, corrupt
from training.fit import FitOptions, fit, predict
from training.layers.columns import Features
from training.metrics import auc
from training.registry import SYSTEMS
from training.systems.matt import SYSTEM, Matt, MattConfig
from training.systems.matt.evaluation import Answers, evaluate, rare
from training.systems.matt.model import aggregate

DROPPABLE = [1, 3, 4]
"""Fields of the planted set beside user_id and item_id."""


def digest(module: torch.nn.Module) -> str:
    """Of all parameters and buffers."""
    tensors = module.state_dict().items()
    return hashlib.sha256(b"".join(value.numpy().tobytes() for _, value in sorted(tensors))).hexdigest()


def keys(x: Features, request: int = 0) -> torch.Tensor:
    return instance_keys(torch.full_like(x.ids[:, 0], request), x.ids[:, 2])


def rows(x: Features, numbers: torch.Tensor | slice) -> Features:
    return Features(*(part[numbers] for part in x))


def train_ids() -> np.ndarray:
    return data().train.features(np.arange(len(data().train))).ids


def draw(module: Matt, ids: np.ndarray, numbers: torch.Tensor) -> Paths:
    return module.draw(torch.from_numpy(ids), numbers)


@pytest.mark.parametrize("name", BASES)
def test_one_path_that_keeps_all_fields_is_the_base_bit_for_bit(name: str) -> None:
    module, x = untrained(name, paths=1, kept=1.0), features(64)
    # Every value was counted often enough to have a weight, so the one path keeps all fields.
    seen = torch.from_numpy((weights(module.frequencies, x.ids.numpy(), module.anchors)[:, DROPPABLE] > 0).all(1))
    x = rows(x, seen)
    with torch.no_grad():
        logits, answer = module.base.logits(x), module.predict(x, keys(x))
    assert len(logits) > 20
    assert torch.equal(answer.logit, logits)
    assert torch.equal(answer.probability, torch.sigmoid(logits))
    assert (answer.spread == 0).all()


@pytest.mark.parametrize("name", BASES)
def test_inference_leaves_every_weight_of_the_base_as_it_was(name: str) -> None:
    module = untrained(name)
    before = digest(module)
    evaluate(module, predict, data().validation)
    assert digest(module) == before


@pytest.mark.parametrize(("base", "batch_size"), [("deepfm", 16), ("dea", 16), ("dgenctr", 256)])
def test_training_with_paths_gives_the_base_the_weights_that_it_gets_alone(
    base: str, batch_size: int, tmp_path: Path
) -> None:
    """Of DEA also its groups of parameters, its counted steps and its measured tables, of DGenCTR both stages."""
    shared = {"dim": 8, "epochs": 1, "batch_size": batch_size, "hidden": (8, 4), "learning_rate": 0.01}
    options = FitOptions(run=tmp_path / "alone", seed=3, max_epochs=1, quiet=True)
    alone = fit(SYSTEMS[base], SYSTEMS[base].config(**shared), data(), options).module.state_dict()
    options = replace(options, run=tmp_path / "inside")
    inside = fit(SYSTEM, MattConfig(base=base, **shared), data(), options).module
    assert isinstance(inside, Matt)
    ours = inside.base.state_dict()
    assert alone.keys() == ours.keys()
    assert all(torch.equal(value, ours[key]) for key, value in alone.items())
    assert base != "dea" or float(alone["abundance.rho"].max()) < 1, "nothing was measured"


def test_a_base_that_is_no_model_over_fields_is_refused() -> None:
    for base in ("din", "lrea", "matt"):
        with pytest.raises(ValueError, match=f"base is {base}, which is no model over fields; choose fm, deepfm"):
            SYSTEM.build(MattConfig(base=base), data().schema)
    with pytest.raises(ValueError, match="no system is called 'deep'; there are: "):
        SYSTEM.build(MattConfig(base="deep"), data().schema)


def test_a_restored_run_has_the_counts_and_so_the_paths_of_the_run(tmp_path: Path) -> None:
    config = config_of("deepfm", epochs=1, batch_size=512)
    run = fit(SYSTEM, config, data(), FitOptions(run=tmp_path / "run", quiet=True))
    again, _ = restore(load_run(tmp_path / "run"), SYSTEM)
    assert isinstance(again, Matt)
    assert isinstance(run.module, Matt)
    x = features(64)
    first, second = (one.draw(x.ids, keys(x)) for one in (run.module, again))
    assert torch.equal(first.masks, second.masks)
    assert torch.equal(first.shares, second.shares)
    fresh = untrained("deepfm").frequencies
    assert all(np.array_equal(array, fresh.arrays()[name]) for name, array in again.frequencies.arrays().items())


def test_the_same_request_draws_the_same_paths_and_another_one_others() -> None:
    module, x = untrained("deepfm"), features(64)
    whole = module.draw(x.ids, keys(x))
    alone = [module.draw(x.ids[n : n + 1], keys(x)[n : n + 1]) for n in range(10)]
    assert torch.equal(torch.cat([one.masks for one in alone]), whole.masks[:10])
    assert torch.equal(torch.cat([one.shares for one in alone]), whole.shares[:10])
    other = module.draw(x.ids, keys(x, request=1))
    assert (other.masks != whole.masks).any(1).float().mean() > 0.5


def test_a_field_with_a_rare_value_is_dropped_while_the_others_are_kept_alike() -> None:
    module = untrained("deepfm", paths=16)
    ids = train_ids()[:200]
    often = unpack(draw(module, ids, torch.arange(200)).masks, 5).float().mean((0, 1))
    ids[:, 3] = 2**40
    kept = unpack(draw(module, ids, torch.arange(200)).masks, 5).float().mean((0, 1))
    assert kept[3] == 0
    assert often[3] > 0.4
    assert (kept[[0, 2]] == 1).all()
    assert abs(kept[1] - kept[4]) < 0.25


def test_a_corrupted_rare_value_moves_matt_less_than_its_base() -> None:
    module = trained()
    ids = features().ids.numpy()
    ids[:, 3] = 0  # a brand that training never saw
    before, after = (Damaged(data().test, each) for each in (features().ids.numpy(), ids))
    base, ours = (
        np.abs(sigmoid(answers(module, after)[:, column]) - sigmoid(answers(module, before)[:, column])).mean()
        for column in (0, 1)
    )
    assert ours < 0.9 * base


def test_rare_combinations_gain_and_frequent_ones_stay_within_noise() -> None:
    """Rows in which one field beside the anchors holds a value that training saw too seldom to learn it."""
    module = copy.deepcopy(trained())
    random = np.random.default_rng(0)
    ids = features().ids.numpy()
    with torch.no_grad():
        table = module.base.embedding.rows.weight
        # What too few samples leave behind: a vector that says something, but nothing true.
        table[module.base.embedding.offsets[3]] = torch.randn(
            table.shape[1], generator=torch.Generator().manual_seed(0)
        )
    broken = random.random(len(ids)) < 0.3
    ids[broken, 3] = 0
    found = answers(module, Damaged(data().test, ids))
    labels = data().test.label
    rare_gain, head_gain = (
        auc(labels[rows], found[rows, 1]) - auc(labels[rows], found[rows, 0]) for rows in (broken, ~broken)
    )
    assert rare_gain > 0.02
    # 140 rows have a standard error of 0.03, and the planted label leans on one pair that most paths break.
    assert abs(head_gain) < 0.05


def test_more_paths_vary_less_from_request_to_request() -> None:
    module, x = untrained("deepfm"), features(64)
    deviations = []
    for paths in (2, 8, 32):
        wide = untrained("deepfm", paths=paths)
        wide.load_state_dict(module.state_dict())
        with torch.no_grad():
            found = torch.stack([wide.predict(x, keys(x, request)).probability for request in range(16)])
        deviations.append(float(found.std(0).mean()))
    assert deviations[0] > 1.3 * deviations[1] > 1.3**2 * deviations[2] > 0


def test_shares_favour_confident_paths_and_the_full_path_has_its_own() -> None:
    confidence = torch.tensor([[65535, 60000, 30000, 1000]], dtype=torch.int32)
    kept = torch.tensor([[[True, True, False, False], [True, False, False, True], [True, False, False, False]]])
    masks = pack(kept)
    assert path_confidence(masks, confidence, 0b1)[0].tolist() == [60000 / 65535, 1000 / 65535, 0.0]
    found = shares(masks, confidence, 0b1, Aggregation(temperature=0.2))[0]
    assert found[0] == 0.25
    assert found.sum() == pytest.approx(1)
    assert found[1] > 10 * found[2] > 10 * 0.9 * found[3] > 0
    only = shares(masks, confidence, 0b1, Aggregation(temperature=0.2, frequent=0.4))[0]
    assert only.tolist() == [1, 0, 0, 0]


def test_aggregation_is_the_weighted_mean_of_the_probabilities_and_their_spread() -> None:
    logits, of_paths = torch.tensor([[0.0, 2.0, -1.0]]), torch.tensor([[0.5, 0.3, 0.2]])
    scores = 1 / (1 + np.exp(-np.array([0.0, 2.0, -1.0])))
    mean = scores @ [0.5, 0.3, 0.2]
    probability, spread = aggregate(logits, of_paths)
    assert probability.item() == pytest.approx(mean)
    assert spread.item() == pytest.approx(np.sqrt((scores - mean) ** 2 @ [0.5, 0.3, 0.2]))


def test_a_decided_or_frequent_instance_is_not_explored() -> None:
    x = features(200)
    eager = untrained("deepfm", paths=4)
    with torch.no_grad():
        logits = eager.base.logits(x)
    border = float(logits.abs().median())
    of_fields = weights(eager.frequencies, x.ids.numpy(), eager.anchors)[:, DROPPABLE].mean(1) / 65535
    middle = float(np.median(of_fields))
    uncertain = untrained("deepfm", paths=4, trigger="uncertain", decided=border, frequent=middle)
    with torch.no_grad():
        answer = uncertain.predict(x, keys(x))
    settled = (logits.abs() >= border) | torch.from_numpy(of_fields >= middle)
    assert torch.equal(answer.probability[settled], torch.sigmoid(logits)[settled])
    assert (answer.probability[~settled] != torch.sigmoid(logits)[~settled]).float().mean() > 0.5


def test_corruption_changes_so_many_fields_to_known_values_and_never_an_anchor() -> None:
    ids, sizes = features().ids.numpy(), untrained("deepfm").base.embedding.sizes
    fewer = np.zeros(ids.shape, bool)
    for fields in (1, 2, 3):
        changed = corrupt(ids, sizes, (0, 2), fields)
        differs = changed != ids
        assert (differs.sum(1) == fields).all()
        assert not differs[:, [0, 2]].any()
        assert (differs >= fewer).all()
        assert (changed[differs] > 0).all()
        assert (changed < np.array(sizes)).all()
        assert np.array_equal(changed, corrupt(ids, sizes, (0, 2), fields))
        fewer = differs


def test_the_rare_slice_is_defined_by_training_counts_alone() -> None:
    module = untrained("deepfm")
    ids = features().ids.numpy()
    assert not rare(module, train_ids()).all()
    ids[:, 1] = ids[:, 3] = 2**40
    assert rare(module, ids).all()


def test_evaluation_reports_matt_beside_its_base() -> None:
    found = evaluate(trained(), predict, data().test)
    assert found["gain"] == pytest.approx(found["auc"] - found["base_auc"])
    assert found["base_auc"] > 0.7
    assert found["corrupt3_base_auc"] < found["corrupt1_base_auc"] < found["base_auc"]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def answers(module: Matt, split: Any) -> np.ndarray:
    """[N, 3]: the base's logit, MATT's, the spread."""
    return predict(Answers(module), split)


@pytest.mark.parametrize(("field", "value"), [("paths", 0), ("kept", 0.0), ("kept", 1.5), ("temperature", 0.0)])
def test_options_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        untrained("deepfm", **{field: value}).aggregation  # noqa: B018 - builds it
