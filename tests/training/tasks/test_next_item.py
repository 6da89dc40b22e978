"""The task next_item: its evaluation, and the plain served form of any module of its protocol."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from export.onnx import export_onnx
from export.verify import verify_onnx
from tests.training.walks import data_of
from training.baselines.sasrec import Config as SASRecConfig
from training.baselines.sasrec import SASRec
from training.baselines.tiger import TIGER
from training.baselines.tiger import Config as TIGERConfig
from training.data.sequences import SequenceBatch, SequenceData
from training.layers.listing import Best, best_of_all
from training.layers.served_lists import NO_SCORE, packed
from training.loop import predict
from training.servable import Servable
from training.system import Wanted
from training.tasks.next_item import LISTED, NEXT_ITEM, NextItemConfig, place_of
from training.tasks.next_item_slices import sliced

LENGTH = 8
UNKNOWN = 2**40


class Neighbours(nn.Module):
    """A model of sets: an item's score is how often it was chosen by those who chose an item of the history."""

    counts: Tensor

    def __init__(self, config: NextItemConfig, data: SequenceData) -> None:
        super().__init__()
        self.max_length = config.max_length
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("counts", torch.rand(61, 61, generator=torch.Generator().manual_seed(0)))

    def best(self, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], top: int) -> Best:
        inside = (items > 0) & (items < self.counts.shape[0])
        chosen = torch.where(inside, items, 0)
        scores = (self.counts[chosen] * inside.unsqueeze(2)).sum(1) * self.weight
        return best_of_all(scores, items, top)


@cache
def data() -> SequenceData:
    codes = torch.randint(256, (61, 4), generator=torch.Generator().manual_seed(0))
    codes[7] = codes[1]
    given = {"codes": codes, "weights": torch.ones(61, 4)}
    return NEXT_ITEM.view(NEXT_ITEM.planted(), Wanted(frozenset(), LENGTH, given))


def module_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "set":
        return Neighbours(NextItemConfig(max_length=LENGTH), data()).eval()
    if kind == "sasrec":
        return SASRec(SASRecConfig(max_length=LENGTH, dim=16, layers=1), data().schema).eval()
    module = TIGER(TIGERConfig(max_length=LENGTH, dim=16, encoder_layers=1, beams=5), data().schema)
    module.prepare(data())
    return module.eval()


@cache
def served(kind: str) -> Servable:
    (only,) = NEXT_ITEM.release("lists", module_of(kind), data())
    assert isinstance(only, Servable)
    return only


def ask(kind: str, *histories: list[int]) -> tuple[Tensor, Tensor]:
    items, scores = served(kind).eager(*packed([np.array(history, np.int64) for history in histories]))
    return items, scores


@pytest.fixture(params=["set", "sasrec", "tiger"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.slow
def test_the_exported_graph_of_a_module_without_a_system_answers_as_it(tmp_path: Path) -> None:
    export_onnx(served("set"), tmp_path / "model.onnx")
    assert verify_onnx(served("set"), tmp_path / "model.onnx") < 1e-5


def test_the_module_in_fp64_one_history_at_a_time_gives_the_served_answers(kind: str) -> None:
    model = served(kind)
    assert model.reference is not None
    assert model.eager64 is not None
    inputs = model.example(16, 1)
    reference, ours = model.reference(*inputs), model.eager64(*inputs)
    assert torch.equal(reference[0], ours[0])
    assert ours[1].dtype == torch.float64
    torch.testing.assert_close(reference[1], ours[1], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model.eager(*inputs)[1].double(), ours[1], rtol=1e-5, atol=1e-5)


def test_a_list_holds_no_item_of_the_history_and_is_filled_with_nothing(kind: str) -> None:
    items, scores = ask(kind, [3, 9, 15], list(range(1, 51)))
    assert not set(items[0].tolist()) & {3, 9, 15}
    there = items > 0
    assert there[0].any()
    assert (scores[~there] == NO_SCORE).all()
    assert (scores[:, :-1] >= scores[:, 1:]).all()
    # A history of which only the newest 8 items count.
    assert torch.equal(items[1], ask(kind, list(range(43, 51)))[0][0])


def test_requests_are_answered_alike_alone_and_in_company(kind: str) -> None:
    histories = [[5, 11], [], [UNKNOWN], list(range(1, 13)), []]
    items, scores = ask(kind, *histories)
    for row, history in enumerate(histories):
        alone = ask(kind, history)
        assert torch.equal(alone[0][0], items[row])
        torch.testing.assert_close(alone[1][0], scores[row])
    assert torch.equal(items[1], items[2]), "an empty history is one unknown item"


def test_what_can_be_no_history_is_no_number_and_leaves_its_neighbour_alone(kind: str) -> None:
    items, scores = ask(kind, [3, -1], [5, 11])
    assert scores[0].isnan().all()
    alone = ask(kind, [5, 11])
    assert torch.equal(items[1], alone[0][0])
    torch.testing.assert_close(scores[1], alone[1][0])


def test_examples_begin_with_the_edge_cases_and_none_is_decided_by_rounding(kind: str) -> None:
    history, ends = served(kind).example(8, 0)
    lengths = np.diff(ends.numpy(), prepend=0)
    assert lengths[0] == 1
    assert 0 in lengths
    assert (history == UNKNOWN).any()
    assert lengths.max() > LENGTH
    _, scores = served(kind).eager(history, ends)
    gaps = scores[:, :-1] - scores[:, 1:]
    assert ((gaps == 0) | (gaps >= 1e-5)).all()
    assert scores.shape == (8, LISTED)


def test_a_module_whose_scores_are_all_alike_is_not_released_on_a_guess() -> None:
    module = module_of("sasrec")
    with torch.no_grad():
        module.get_parameter("items.weight").mul_(1e-6)
    (model,) = NEXT_ITEM.release("lists", module, data())
    with pytest.raises(ValueError, match="requests have scores that differ by 1e-05 or more; train the model"):
        model.example(8, 0)


def test_evaluation_ranks_the_held_out_item_of_each_user(kind: str) -> None:
    module, split = module_of(kind), data().test
    ranks = []
    for row in range(len(split)):
        batch: SequenceBatch = split.batch(np.array([row]))
        with torch.no_grad():
            listed = ask_module(module, batch.items, batch.length)[0].tolist()
        target = int(split.target[row])
        ranks.append(1 + listed.index(target) if target in listed else 99)
    found = NEXT_ITEM.evaluate(module, predict, split)
    assert found["recall5"] == pytest.approx(np.mean([rank <= 5 for rank in ranks]))
    gains = [1 / np.log2(rank + 1) if rank <= 10 else 0.0 for rank in ranks]
    assert found["ndcg10"] == pytest.approx(np.mean(gains))
    assert {column.metric for column in NEXT_ITEM.columns} <= found.keys()


def ask_module(module: nn.Module, items: Tensor, length: Tensor) -> Tensor:
    best = getattr(module, "best")  # noqa: B009 - the module's type is open here
    return best(items, length, 10).items


def test_a_place_is_counted_from_one_and_endless_where_the_item_is_not_listed() -> None:
    items = torch.tensor([[4, 7, 0], [4, 7, 0], [9, 0, 0]])
    assert place_of(items, torch.tensor([4, 7, 3])).tolist() == [1.0, 2.0, torch.inf]


def test_the_task_s_stage_follows_the_configuration() -> None:
    stage = NEXT_ITEM.stage(NextItemConfig(epochs=7, batch_size=3, learning_rate=0.5, weight_decay=0.25))
    assert (stage.epochs, stage.batch_size, stage.learning_rate, stage.weight_decay) == (7, 3, 0.5, 0.25)
    assert (stage.monitor, stage.direction, stage.patience, stage.schedule) == ("ndcg10", "max", 7, "constant")
    assert NEXT_ITEM.stage(NextItemConfig(patience=2, schedule="linear")).patience == 2
    with pytest.raises(ValueError, match="max_length is 0; it must be at least 1"):
        NextItemConfig(max_length=0)


def test_rare_and_new_items_have_a_recall_of_their_own_where_there_are_any() -> None:
    often = [[1, 2, 3, 4, 5]] * 6
    split = data_of([*often, [2, 1, 4, 7], [3, 2, 5, 8], [1, 8, 2, 3], [2, 3, 1, 5]]).test
    assert split.target.tolist() == [5] * 6 + [7, 8, 3, 5]
    assert split.times_trained.tolist() == [0] * 6 + [0, 1, 8, 0]
    found = sliced(split, np.array([3.0] * 6 + [np.inf, 2.0, 1.0, 10.0], np.float32))
    assert found == pytest.approx({"recall10_rare": 8 / 9, "recall10_new": 7 / 8})
    split.times_trained = np.array([1] * 9 + [5])
    assert sliced(split, np.array([np.inf] * 9 + [1.0], np.float32)) == {"recall10_rare": 0.0}
    assert {column.metric for column in NEXT_ITEM.further} == {*found}
