"""Click prediction as a task: loss, measures, scenarios, and what its view reads."""

import copy
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
import torch

from tests.training.click_views import everything, histories, view
from training.data.click import FEATURES, HISTORY, ClickBatch
from training.layers.ranker import RankerConfig
from training.loop import predict
from training.metrics import auc, gauc, log_loss
from training.system import Wanted
from training.tasks.click import CLICK, click_loss, quality
from training.tasks.click_slices import s_gauc


class Fixed(torch.nn.Module):
    """A logit that says something, from a user's and an item's number alone."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, batch: ClickBatch) -> torch.Tensor:
        return self.scale * torch.sin(1.7 * batch.user + 0.3 * batch.item)


def test_the_three_figures_are_those_of_the_split_s_labels_and_users() -> None:
    split = histories().test
    logits = predict(Fixed(), split)
    expected = {
        "auc": auc(split.label, logits),
        "gauc": gauc(split.user, split.label, logits),
        "log_loss": log_loss(split.label, logits),
    }
    assert quality(split, logits) == expected == CLICK.evaluate(Fixed(), predict, split)
    assert abs(expected["auc"] - expected["gauc"]) > 0.01, "the two would not be told apart"
    assert {column.metric for column in CLICK.columns} == set(expected)


@pytest.mark.parametrize(("label", "alike"), [(1.0, "all"), (0.0, "all"), (1.0, "of each user")])
def test_a_part_of_one_class_has_no_auc_and_one_of_users_of_one_class_no_gauc(label: float, alike: str) -> None:
    split = copy.deepcopy(histories().test)
    split.label[:] = label if alike == "all" else split.user % 2
    found = quality(split, predict(Fixed(), split))
    assert found.keys() == ({"log_loss"} if alike == "all" else {"auc", "log_loss"})


def test_the_loss_is_the_binary_cross_entropy_of_the_logits() -> None:
    batch = histories().train.batch(np.arange(50))
    value, logged = click_loss(Fixed(), batch, 0.0)
    chance = torch.sigmoid(Fixed()(batch))
    expected = -torch.where(batch.label > 0, chance, 1 - chance).log().mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(logged["loss"], expected)


def test_each_scenario_with_enough_samples_has_figures_of_its_own() -> None:
    split = view(everything()).train
    logits = predict(Fixed(), split)
    found = CLICK.evaluate(Fixed(), predict, split)
    channel = everything().events["channel"].to_numpy()[split.source.log.row[split.places]]
    expected = {"s_gauc": s_gauc(channel, split.user, split.label, logits)}
    for number, name in enumerate(("none", "shop", "feed")):
        rows = channel == number
        expected[f"auc channel={name}"] = auc(split.label[rows], logits[rows])
        expected[f"gauc channel={name}"] = gauc(split.user[rows], split.label[rows], logits[rows])
    assert found == quality(split, logits) | expected
    assert len({round(value, 6) for value in expected.values()}) == 7


def test_a_scenario_of_few_samples_of_a_class_has_none() -> None:
    whole = everything()
    liked = whole.events["label"].to_numpy() > 0
    rare = np.flatnonzero(liked)[:9]
    channel = np.where(liked, 1, 2)
    channel[rare] = 2
    channel[np.flatnonzero(~liked)[:30]] = 1
    split = view(replace(whole, events=whole.events.with_columns(channel=pl.Series(channel)))).train
    names = CLICK.evaluate(Fixed(), predict, split).keys()
    assert "auc channel=shop" in names
    assert "auc channel=feed" not in names


def test_an_unnamed_scenario_is_called_by_its_number() -> None:
    whole = everything()
    nameless = tuple(replace(field, values=None) for field in whole.schema.fields)
    split = view(replace(whole, schema=replace(whole.schema, fields=nameless))).train
    assert "auc channel=2" in CLICK.evaluate(Fixed(), predict, split)


@pytest.mark.parametrize(
    "reads", [{FEATURES}, {HISTORY}, {FEATURES, HISTORY}, set()], ids=["features", "history", "both", "neither"]
)
def test_a_system_gets_what_it_reads_and_features_where_it_says_nothing(reads: set[str]) -> None:
    data = CLICK.view(everything(), Wanted(frozenset(reads), 7, {}))
    batch = data.train.batch(np.arange(len(data.train)))
    assert (batch.ids.shape[1] > 0) == (FEATURES in reads or not reads)
    assert (batch.profile.shape[1] > 0) == (HISTORY in reads)
    assert int(batch.history_length.max()) == (7 if HISTORY in reads else 0)


@dataclass(frozen=True, kw_only=True)
class Four:
    epochs: int = 3
    batch_size: int = 5
    learning_rate: float = 0.7
    weight_decay: float = 0.2


def test_the_stage_is_that_of_the_configuration_and_minimises_the_loss() -> None:
    stage = CLICK.stage(Four())
    assert (stage.epochs, stage.batch_size, stage.learning_rate, stage.weight_decay) == (3, 5, 0.7, 0.2)
    assert stage.loss is click_loss
    assert (stage.monitor, stage.direction) == ("auc", "max")
    assert CLICK.stage(RankerConfig()).epochs == RankerConfig().epochs


def test_the_planted_set_is_one_that_the_task_can_view() -> None:
    assert len(CLICK.view(CLICK.planted(3), Wanted(frozenset({HISTORY}), 9, {})).test) > 100
