from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from export.parity import ParityOptions, walk
from tests.training.test_every_system import repository
from training.asking import Question
from training.baselines.two_tower import Config, TwoTower
from training.data.retrieval import RetrievalData
from training.interactions import Interactions
from training.loop import predict
from training.ranking_metrics import retrieval_quality
from training.schema import Schema
from training.system import Wanted
from training.tasks.retrieval import RETRIEVAL, ranks
from training.tasks.retrieval_served import NO_SCORE, TOP

USERS = frozenset({"users"})


def view(interactions: Interactions, max_length: int = 20) -> RetrievalData:
    return RETRIEVAL.view(interactions, Wanted(USERS, max_length, {}))


def without_objectives(interactions: Interactions) -> Interactions:
    fields = tuple(field for field in interactions.schema.fields if "objective" not in field.uses)
    return replace(interactions, schema=Schema(dataset="alone", fields=fields))


def of_user(interactions: Interactions, user: int) -> pl.DataFrame:
    return interactions.events.filter(pl.col("user") == user).sort("time", maintain_order=True)


def test_each_user_loses_his_last_fifth_to_the_test_and_the_tenth_before_to_the_validation() -> None:
    interactions = RETRIEVAL.planted()
    data = view(interactions)
    for row in range(20):
        events = of_user(interactions, int(data.test.user[row]))["item"].to_list()
        tested = max(1, len(events) // 5)
        fresh = [item for item in dict.fromkeys(events[-tested:]) if item not in events[:-tested]]
        assert [target for target in data.test.targets[row].tolist() if target] == fresh
    total = sum(int((split.targets > 0).sum()) for split in (data.train, data.validation, data.test))
    assert total <= len(interactions.events)
    assert data.train_item_counts.sum() == len(data.train)


def test_one_event_each_is_held_out_where_there_are_no_objectives() -> None:
    interactions = without_objectives(RETRIEVAL.planted())
    data = view(interactions)
    assert data.test.targets.shape[1] == data.validation.targets.shape[1] == 1
    user = int(data.test.user[3])
    assert data.test.targets[3, 0] == of_user(interactions, user)["item"][-1]


def test_only_events_with_an_objective_or_a_positive_label_count() -> None:
    planted = RETRIEVAL.planted()
    clicked = planted.events.with_columns(seen=pl.lit(0.0, pl.Float32))
    data = view(replace(planted, events=clicked))
    held_out = (data.validation.targets > 0).sum() + (data.test.targets > 0).sum()
    assert len(data.train) + held_out <= (planted.events["clicked"] > 0).sum()
    assert (data.train.objectives[:, 0, 1] == 1).all()


def test_what_comes_later_changes_nothing_before_it() -> None:
    interactions = RETRIEVAL.planted()
    data = view(interactions)
    last = interactions.events.with_columns(
        rank=pl.col("time").rank("ordinal", descending=True).over("user"), size=pl.len().over("user")
    )
    held_out = (last["rank"] <= np.maximum(1, last["size"] // 5)).to_numpy()
    items = np.where(held_out, interactions.events["item"].to_numpy() % 400 + 1, interactions.events["item"])
    changed = view(replace(interactions, events=interactions.events.with_columns(item=pl.Series(items))))
    for before, after in ((data.train, changed.train), (data.validation, changed.validation)):
        rows = np.arange(min(len(before), 500))
        for one, two in zip(before.batch(rows), after.batch(rows), strict=True):
            assert torch.equal(one, two)
    assert np.array_equal(data.train_item_counts, changed.train_item_counts)
    assert not np.array_equal(data.test.targets[:50], changed.test.targets[:50])


def test_histories_hold_strictly_older_items_and_what_was_seen_is_no_target() -> None:
    interactions = RETRIEVAL.planted()
    data = view(interactions, max_length=5)
    batch = data.test.batch(np.arange(len(data.test)))
    for row in range(30):
        events = of_user(interactions, int(data.test.user[row]))
        first = int(batch.targets[row, 0])
        moment = events.filter(pl.col("item") == first)["time"][0]
        older = events.filter(pl.col("time") < moment)["item"].to_list()
        length = int(batch.length[row])
        assert batch.history[row, :length].tolist() == older[-5:]
        assert (batch.history[row, length:] == 0).all()
        assert set(older) <= set(batch.seen[row].tolist())
        assert not set(batch.targets[row].tolist()) - {0} & set(batch.seen[row].tolist())


@pytest.mark.parametrize("count", [3, 30], ids=["a pass for each", "one sort"])
def test_ranks_are_those_of_a_full_sort_without_what_was_seen(count: int) -> None:
    random = np.random.default_rng(0)
    scores = torch.from_numpy(random.integers(0, 6, (8, 40)).astype(np.float32))
    seen = torch.from_numpy(random.integers(0, 40, (8, 5)))
    targets = torch.from_numpy(random.integers(0, 40, (8, count)))
    found = ranks(scores, seen, targets)
    for row in range(8):
        left = [item for item in range(1, 40) if item not in seen[row].tolist()]
        listed = sorted(left, key=lambda item: (-float(scores[row, item]), item))
        for place, target in enumerate(targets[row].tolist()):
            wanted = np.nan if target == 0 else listed.index(target) + 1 if target in listed else np.inf
            assert np.array_equal(found[row, place].numpy(), wanted, equal_nan=True)
    lost = int(targets[3, 1])
    scores[3, lost] = torch.nan
    broken, last = (ranks(one, seen[:, :1] * 0, targets) for one in (scores, scores.nan_to_num(-1.0)))
    assert torch.isinf(broken[3, targets[3] == lost]).all()
    others = targets != lost
    assert torch.equal(broken[others].nan_to_num(0), last[others].nan_to_num(0)), "a score of NaN is behind all others"


def test_recall_is_the_share_of_a_users_targets_and_ndcg_knows_the_best_list() -> None:
    measured = retrieval_quality(np.array([[1, 3, np.nan], [2, np.inf, 9], [np.nan] * 3]), (2,))
    assert measured["recall2"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    ideal = 1 + 1 / np.log2(3)
    assert measured["ndcg2"] == pytest.approx((1 / ideal + (1 / np.log2(3)) / ideal) / 2)
    with pytest.raises(ValueError, match="no target to measure"):
        retrieval_quality(np.full((2, 1), np.nan), (2,))


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ({"user": [1, 1], "item": [1, 2], "time": [1, 2]}, "it lacks a user with three positive events"),
        ({"user": [], "item": [], "time": []}, "it lacks a user with three positive events"),
    ],
)
def test_what_cannot_be_split_is_one_line(events: dict[str, list[int]], message: str) -> None:
    frame = pl.DataFrame(events, schema=dict.fromkeys(events, pl.Int64))
    with pytest.raises(ValueError, match=message):
        view(replace(without_objectives(RETRIEVAL.planted()), events=frame))


def test_an_objective_that_no_target_serves_has_no_figures_and_the_others_have_theirs() -> None:
    planted = RETRIEVAL.planted()
    names = view(planted).test.names
    rare = planted.events.with_columns(pl.lit(0).cast(planted.events[names[-1]].dtype).alias(names[-1]))
    data = view(replace(planted, events=rare))
    found = RETRIEVAL.evaluate(untrained(data), predict, data.test)
    assert {name for name in found if " of " in name} == {
        f"{metric}50 of {name}" for name in names[:-1] for metric in ("recall", "ndcg")
    }
    assert np.isfinite(list(found.values())).all()


def untrained(data: RetrievalData) -> TwoTower:
    torch.manual_seed(0)
    model = TwoTower(Config(dim=16, hidden=16), data.schema)
    model.prepare(data)
    return model.eval()


def test_evaluation_measures_each_objective_by_the_targets_that_served_it() -> None:
    data = view(RETRIEVAL.planted())
    model = untrained(data)

    def predict(module: torch.nn.Module, split: object) -> np.ndarray:
        with torch.inference_mode():
            return module(data.test.batch(np.arange(len(data.test)))).numpy()

    measured = RETRIEVAL.evaluate(model, predict, data.test)
    places = predict_places(model, data)
    bought = np.where(data.test.objectives[:, :, 2] > 0, places, np.nan)
    assert measured["recall100"] == retrieval_quality(places, (100,))["recall100"]
    assert measured["recall50 of bought"] == retrieval_quality(bought, (50,))["recall50"]
    assert measured["recall50 of seen"] == measured["recall50"]


def predict_places(model: TwoTower, data: RetrievalData) -> np.ndarray:
    batch = data.test.batch(np.arange(len(data.test)))
    with torch.no_grad():
        return ranks(model.users(batch) @ model.items().T, batch.seen, batch.targets).numpy()


@pytest.mark.triton_server
@pytest.mark.slow
def test_the_plain_form_is_served_as_it_was_trained(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = view(RETRIEVAL.planted())
    release = RETRIEVAL.release("two_tower", untrained(data), data)
    assert [signature.name for signature in release] == ["two_tower_user", "two_tower_item", "two_tower"]
    assert [spec.name for spec in release[2].inputs] == ["history", "history_offsets", "user_id"]
    history = torch.tensor([5, 9, 2**40, 5])
    items, scores = release[2].eager(history, torch.tensor([4, 4], dtype=torch.int32), torch.tensor([[1], [0]]))
    assert items.shape == (2, TOP)
    assert (scores[:, :-1] >= scores[:, 1:]).all()
    assert not {5, 9, 0} & set(items[0].tolist())
    models = repository("two_tower", tmp_path_factory.mktemp("every"))
    ladder = walk(models, ParityOptions(requests=64, clients=8))
    assert ladder.ok, [row for row in ladder.rows if not row.ok]
    assert {row.rung for row in ladder.rows} == {"model", "export", "served", "concurrent"}


def test_a_list_that_ends_is_filled_with_no_item() -> None:
    few = without_objectives(RETRIEVAL.planted())
    items = few.events["item"].to_numpy() % 30 + 1
    fields = tuple(replace(one, cardinality=31) if one.name == "item" else one for one in few.schema.fields)
    small = replace(
        few,
        schema=Schema(dataset="few", fields=fields),
        events=few.events.with_columns(item=pl.Series(items)),
        items=few.items.head(31),
    )
    data = RETRIEVAL.view(small, Wanted(frozenset(), 20, {}))
    (*_, listing) = RETRIEVAL.release("two_tower", untrained_without_users(data), data)
    assert [spec.name for spec in listing.inputs] == ["history", "history_offsets"]
    found, scores = listing.eager(torch.arange(1, 29), torch.tensor([28], dtype=torch.int32))
    assert set(found[0, :2].tolist()) == {29, 30}
    assert (found[0, 2:] == 0).all()
    assert (scores[0, 2:] == NO_SCORE).all()


def untrained_without_users(data: RetrievalData) -> TwoTower:
    fields = tuple(field for field in data.schema.fields if field.name != "group")
    return untrained(replace(data, schema=Schema(dataset="few", fields=fields)))


def test_a_question_becomes_a_request_and_an_answer_a_table() -> None:
    interactions = RETRIEVAL.planted()
    asked = Question(user=7, history=(), candidates=(), most=100)
    request = RETRIEVAL.request(interactions, asked)
    assert request["history"][0].tolist() == of_user(interactions, 7)["item"].to_list()
    assert request["user_id"].tolist() == [[7]]
    of_items = RETRIEVAL.request(interactions, asked._replace(user=None, history=(3, 9)))
    assert of_items["history"].tolist() == [[3, 9]]
    assert of_items["user_id"].tolist() == [[0]]
    answer = {"items": np.array([[12, 4, 0]]), "scores": np.array([[0.5, 0.25, NO_SCORE]], np.float32)}
    shown = RETRIEVAL.shown(interactions, asked, request, answer)
    assert shown.rows == [[1, "Item 12", 12, 0.5], [2, "Item 4", 4, 0.25]]
    with pytest.raises(ValueError, match="say for whom"):
        RETRIEVAL.request(interactions, asked._replace(user=None))


def test_an_item_that_no_training_event_has_is_served_a_vector_of_its_fields() -> None:
    data = view(RETRIEVAL.planted())
    brands = data.item_fields[:, 0]
    like = 1 + int(np.flatnonzero(brands[2:] == brands[1])[0]) + 1
    counts = data.train_item_counts.copy()
    counts[[1, like]] = 0
    data = replace(data, train_item_counts=counts)
    model = untrained(data)
    release = RETRIEVAL.release("two_tower", model, data)
    item = release[1]
    assert [spec.name for spec in item.inputs] == ["brand"]
    other = int(np.flatnonzero(brands != brands[1])[-1])
    (vectors,) = item.eager(torch.from_numpy(data.item_fields[[1, like, other]]))
    with torch.no_grad():
        torch.testing.assert_close(vectors[0], model.items()[1])
    torch.testing.assert_close(vectors[0], vectors[1])
    assert not torch.allclose(vectors[0], vectors[2], atol=1e-3)
    (outside,) = item.eager(torch.tensor([[0], [-1], [2**40]]))
    torch.testing.assert_close(outside, outside[:1].expand_as(outside))
