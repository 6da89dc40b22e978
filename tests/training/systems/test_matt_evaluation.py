"""What is published of MATT: its answers against those of its own base, on all rows, rare ones and damaged ones."""

import numpy as np
import pytest
import torch

from kernels.path_sampling import instance_keys
from tests.training.systems.matt_models import data, features, trained, untrained
from training.data.altered import CORRUPTED_FIELDS, corrupt
from training.data.click import ClickBatch, ClickSplit
from training.data.columns import Columns
from training.loop import predict
from training.metrics import auc, log_loss
from training.systems.matt import Matt
from training.systems.matt.evaluation import RARE_COUNT, evaluate, rare
from training.tasks.click import quality


class PartlyRare(ClickSplit):
    """The test part, in which every third row has a group and a brand that training never saw."""

    def features(self, rows: np.ndarray) -> Columns:
        found = super().features(rows)
        unseen = rows % 3 == 0
        found.ids[np.ix_(unseen, [1, 3])] = 2**40
        return found

    def batch(self, rows: np.ndarray) -> ClickBatch:
        return super().batch(rows)._replace(ids=torch.from_numpy(self.features(rows).ids))


def partly_rare() -> PartlyRare:
    return PartlyRare(data().source, data().test.places)


def ids_of(split: ClickSplit) -> np.ndarray:
    return split.features(np.arange(len(split))).ids


def by_hand(matt: Matt, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Base's logits, MATT's odds and spreads, row by row; a row's key is its user."""
    rows, split = features()._replace(ids=torch.from_numpy(ids)), partly_rare()
    with torch.no_grad():
        base = matt.base.logits(rows)
        keys = instance_keys(torch.from_numpy(split.user), rows.ids[:, matt.anchors[1]])
        answer = matt.predict(rows, keys)
    chance = answer.probability.double()
    return base.numpy(), (chance / (1 - chance)).log().numpy(), answer.spread.numpy()


def test_the_published_gains_are_those_of_matt_s_answers_over_its_base_s() -> None:
    matt, split = trained(), partly_rare()
    found = evaluate(matt, predict, split)
    base, ours, spread = by_hand(matt, ids_of(split))
    expected = quality(split, ours) | {f"base_{name}": value for name, value in quality(split, base).items()}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    assert found["gain"] == pytest.approx(expected["auc"] - expected["base_auc"], abs=1e-4)
    assert found["spread"] == pytest.approx(float(spread.mean()), rel=1e-4)
    assert expected["log_loss"] != pytest.approx(expected["base_log_loss"], abs=1e-3), "the two must be told apart"
    is_rare = rare(matt, ids_of(split))
    assert 0.2 < is_rare.mean() < 0.8
    assert found["rare_share"] == pytest.approx(float(is_rare.mean()))
    slices = {"rare_": (ids_of(split), is_rare), "head_": (ids_of(split), ~is_rare)}
    for fields in CORRUPTED_FIELDS:
        ids = corrupt(ids_of(split), matt.base.embedding.sizes, matt.anchors, fields)
        slices[f"corrupt{fields}_"] = ids, np.ones(len(split), bool)
    for prefix, (ids, rows) in slices.items():
        base, ours, _ = by_hand(matt, ids)
        labels = split.label[rows]
        wanted = {"auc": auc(labels, ours[rows]), "base_auc": auc(labels, base[rows])}
        wanted |= {"log_loss": log_loss(labels, ours[rows]), "base_log_loss": log_loss(labels, base[rows])}
        wanted["gain"] = wanted["auc"] - wanted["base_auc"]
        assert {name: found[prefix + name] for name in wanted} == pytest.approx(wanted, abs=1e-4)


def test_a_row_is_rare_where_half_of_its_crossing_pairs_were_seldom_counted() -> None:
    matt = untrained("deepfm")
    ids = np.concatenate([ids_of(split)[:150] for split in (data().train, data().test)])
    ids[::5, 1] = 0
    counts = matt.frequencies.lower(ids).pairs
    users, items = range(matt.base.num_request_fields), range(matt.base.num_request_fields, matt.num_fields)
    crossing = [(user, item) for user in users for item in items if (user, item) != matt.anchors]
    expected = [np.median([row[pair] for pair in crossing]) <= RARE_COUNT for row in counts]
    assert rare(matt, ids).tolist() == expected
    assert 0.02 < np.mean(expected) < 0.98


def test_paths_draw_the_configured_share_of_the_free_fields_and_weigh_them_at_the_configured_temperature() -> None:
    for kept, draws in ((0.1, 1), (0.34, 1), (0.7, 2), (1.0, 3)):
        assert untrained("deepfm", kept=kept).plan.draws == draws
    matt = untrained("deepfm", paths=5, temperature=0.3)
    assert matt.plan.paths == 5
    assert matt.aggregation.temperature == 0.3
    assert matt.aggregation.frequent is None
    assert untrained("deepfm", trigger="uncertain", frequent=0.4).aggregation.frequent == 0.4


def test_the_counts_are_those_of_the_training_part() -> None:
    ids = ids_of(data().train)
    frequencies = untrained("deepfm").frequencies
    for field in (1, 3):
        value, count = max(zip(*np.unique(ids[:, field], return_counts=True), strict=True), key=lambda pair: pair[1])
        row = ids[ids[:, field] == value][:1]
        pairs = frequencies.lower(row).pairs[0]
        other = 4 if field == 3 else 3
        both = int(((ids[:, field] == value) & (ids[:, other] == row[0, other])).sum())
        assert 0.5 * both <= max(pairs[field, other], pairs[other, field]) <= both <= count
