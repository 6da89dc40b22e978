"""Scenarios of events: where they come from, in training and in a request, and what is measured within them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from tests.training.click_views import BOTH, everything, view
from training.data.click import FEATURES, HISTORY, ClickBatch, ClickData, now
from training.data.columns import feature_layout, profile_layout
from training.data.planted_clicks import planted_fields
from training.data.planted_scenarios import HALVES, planted_halves, planted_markets
from training.data.scenario import num_scenarios, scenario_field
from training.interactions import Interactions
from training.layers.click_release import plain_release
from training.layers.items import known
from training.metrics import auc
from training.schema import Use
from training.tasks.click_slices import s_gauc, sliced


def of_items(*uses: Use) -> Interactions:
    """Planted fields whose items' brand is the scenario, and whatever else."""
    whole = planted_fields()
    fields = tuple(
        replace(field, uses=("scenario", *uses)) if field.name == "brand" else field for field in whole.schema.fields
    )
    return replace(whole, schema=replace(whole.schema, fields=fields))


def all_of(data: ClickData) -> np.ndarray:
    return data.train.batch(np.arange(len(data.train))).scenario.numpy()


def test_an_event_s_field_is_its_scenario() -> None:
    data = view(everything())
    channel = everything().events["channel"].to_numpy()
    assert all_of(data).tolist() == channel[data.log.row[data.train.places]].tolist()
    assert set(all_of(data).tolist()) == {0, 1, 2}


def test_where_events_do_not_say_it_the_item_does() -> None:
    data = view(of_items())
    brand = data.interactions.items["brand"].to_numpy()
    batch = data.test.batch(np.arange(len(data.test)))
    assert batch.scenario.tolist() == brand[batch.item].tolist()
    assert num_scenarios(data.schema) == 7


def test_an_event_s_field_goes_before_an_item_s() -> None:
    whole = everything()
    fields = tuple(
        replace(field, uses=("feature", "scenario")) if field.name == "item_kind" else field
        for field in whole.schema.fields
    )
    field = scenario_field(replace(whole.schema, fields=fields))
    assert field is not None
    assert field.name == "channel"


def test_without_such_a_field_all_are_in_scenario_0() -> None:
    data = view(everything(context=False))
    assert not all_of(data).any()
    assert num_scenarios(data.schema) == 1
    assert scenario_field(data.schema) is None


def test_an_item_s_scenario_is_a_feature_and_a_profile_only_where_it_says_so() -> None:
    bare, whole = of_items().schema, of_items("feature", "profile").schema
    for layout in (feature_layout, profile_layout):
        assert "brand" not in [field.name for field in layout(bare).fields]
        assert "brand" in [field.name for field in layout(whole).fields]


def test_a_request_has_the_scenario_that_it_names_or_that_of_each_item() -> None:
    moment = (np.array([2]), np.array([3.0]), np.array([1, 0, 0]))
    assert now(view(everything()), 3, np.array([1, 2, 9]), moment).scenario.tolist() == [2, 2, 2]
    data = view(of_items())
    brand = data.interactions.items["brand"].to_numpy()
    assert now(data, 3, np.array([5, 1, 400])).scenario.tolist() == [brand[5], brand[1], 0]
    assert not now(view(everything(), frozenset()), 3, np.array([1])).scenario.any(), "nobody asks for it"


class ByScenario(nn.Module):
    """A logit for each scenario."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.linspace(-2, 2, 8)[:, None], freeze=False)

    def forward(self, batch: ClickBatch) -> torch.Tensor:
        return self.table(known(batch.scenario, 8)).squeeze(-1)


@pytest.mark.parametrize("reads", [{FEATURES}, {HISTORY}], ids=["one graph", "behind rows"])
@pytest.mark.parametrize("which", [everything, of_items, planted_fields], ids=["events", "items", "none"])
def test_what_is_served_reads_the_scenario_of_the_request_or_of_each_candidate(
    which: Callable[[], Interactions], reads: set[str]
) -> None:
    data = view(which(), frozenset(reads))
    release = plain_release("by", ByScenario(), data)[-1]
    request = release.example(6, 3)
    assert release.reference is not None
    assert release.eager64 is not None
    (expected,), (found,), (exact,) = (form(*request) for form in (release.reference, release.eager, release.eager64))
    torch.testing.assert_close(exact.double(), expected)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert len(set(expected.tolist())) > 1 or num_scenarios(data.schema) == 1


def test_s_gauc_is_the_auc_of_each_user_in_each_scenario_by_impressions() -> None:
    random = np.random.default_rng(0)
    scenario, user, label = (random.integers(0, size, 300) for size in (3, 5, 2))
    score = random.normal(size=300)
    label[(scenario == 1) & (user == 2)] = 1
    pairs = []
    for s in range(3):
        for u in range(5):
            rows = (scenario == s) & (user == u)
            if len(set(label[rows].tolist())) == 2:
                pairs.append((rows.sum(), auc(label[rows], score[rows])))
    assert len(pairs) == 14
    expected = sum(count * one for count, one in pairs) / sum(count for count, _ in pairs)
    assert s_gauc(scenario, user, label, score) == pytest.approx(expected)


def test_cold_slices_are_of_the_items_that_training_hardly_saw() -> None:
    data = view(planted_fields(num_items=800))
    split = data.test
    logits = np.sin(1.7 * np.arange(len(split)))
    met = np.bincount(data.log.item[data.train.places], minlength=801)[data.log.item[split.places]]
    found = sliced(split, logits)
    assert 0 < (met == 0).sum() < (met < 5).sum() < len(split)
    assert found["auc_cold"] == auc(split.label[met < 5], logits[met < 5])
    assert found["auc_unseen"] == auc(split.label[met == 0], logits[met == 0])
    assert sliced(view(planted_fields()).test, np.zeros(204)).keys() == set(), "no such items, no scenario"


def test_the_scenario_decides_which_half_of_a_history_counts() -> None:
    data = view(planted_halves(), BOTH, 60)
    items = data.interactions.items
    cluster, quarter = items["cluster"].to_numpy(), items["quarter"].to_numpy()
    batch = data.test.batch(np.arange(len(data.test)))
    right = []
    for row in torch.nonzero(batch.scenario > 1)[:, 0].tolist():
        length = int(batch.history_length[row])
        met = batch.history_items[row, :length][batch.history_values[row, :length] == 1].numpy()
        halves = HALVES[int(batch.scenario[row]) - 2]
        tastes = [np.bincount(cluster[met[quarter[met] - 1 == one]], minlength=7).argmax() for one in halves]
        right.append((cluster[int(batch.item[row])] in tastes) == bool(batch.label[row]))
    assert np.mean(right) > 0.9
    assert 0.3 < batch.label.mean() < 0.7


def test_one_market_is_small_and_another_turns_some_users() -> None:
    data = view(planted_markets(), BOTH, 40)
    share = np.bincount(all_of(data), minlength=4) / len(data.train)
    assert 0.02 < share[3] < 0.04
    assert share[1] > share[2] > 0.3
    everyone = data.interactions.events
    kind = data.interactions.items["kind"].to_numpy()[everyone["item"].to_numpy()]
    likes = [
        everyone.with_columns(kind=pl.Series(kind)).filter(pl.col("market") == one).group_by("user", "kind").mean()
        for one in (1, 2)
    ]
    both = likes[0].join(likes[1], on=["user", "kind"])
    means = [both[name].to_numpy() for name in ("label", "label_right")]
    agree = (np.abs(means[0] - means[1]) < 0.5).mean()
    assert 0.5 < agree < 0.9
