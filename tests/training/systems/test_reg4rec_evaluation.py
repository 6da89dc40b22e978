"""What is published of REG4Rec: the place of the item that each user chose last, and what pruning did."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch

from tests.training.systems.reg4rec_models import data, trained
from training.data.sequences import SequenceBatch, SequenceData, SequenceSplit
from training.loop import predict
from training.ranking_metrics import ranking_quality
from training.systems.reg4rec import Reg4Rec
from training.systems.reg4rec.decode import Search, decode
from training.systems.reg4rec.evaluation import evaluate, measure
from training.systems.reg4rec.ranking import ranked

USERS = 60


class Seen(NamedTuple):
    """Of one user, out of the sequence as the data set has it."""

    rank: float
    agreement: float
    step_hit: int
    considered: int
    pruned: int


@torch.no_grad()
def of_user(module: Reg4Rec, history: list[int], target: int, theta: float) -> Seen:
    """One user alone, with lists."""
    items = torch.tensor([history[-module.config.max_length :]])
    encoded = module.generator.encode(items, torch.tensor([items.shape[1]]))
    search = Search(module.config.beams, module.config.over, module.catalogue())
    decoded = decode(module.generator, encoded, torch.tensor([theta]), search)
    listed = ranked(decoded, module.catalogue(), items, 10, module.config.merge).items[0].tolist()
    categories = decoded.categories[0, 0].tolist()
    agree = [one == two for one, two in pairwise(categories)]
    hits = [one == two for one, two in zip(decoded.codes[0, 0].tolist(), module.codes[target].tolist(), strict=True)]
    return Seen(
        rank=1.0 + listed.index(target) if target in listed else torch.inf,
        agreement=sum(agree) / len(agree),
        step_hit=sum(hits),
        considered=int(decoded.considered),
        pruned=int(decoded.pruned),
    )


class Some:
    """The first users of a split."""

    def __init__(self, split: SequenceSplit, count: int) -> None:
        self._split, self._count = split, count

    def __len__(self) -> int:
        return self._count

    def cost(self) -> np.ndarray:
        return self._split.cost()[: self._count]

    def batch(self, rows: np.ndarray) -> SequenceBatch:
        return self._split.batch(rows)


def by_hand(module: Reg4Rec, sequences: SequenceData, held_out: int, theta: float) -> list[Seen]:
    """Of some users; the last item is held out (1), or the last but one (2)."""
    whole = [sequence.tolist() for sequence in sequences.sequences[:USERS]]
    return [of_user(module, each[:-held_out], each[-held_out], theta) for each in whole]


@pytest.mark.parametrize(("part", "held_out"), [("validation", 2), ("test", 1)])
def test_the_published_figures_are_those_of_the_held_out_items_user_by_user(part: str, held_out: int) -> None:
    module, theta = trained(), 1.0
    split = getattr(data(), part)
    assert isinstance(split, SequenceSplit)
    users = by_hand(module, data(), held_out, theta)
    found = measure(module, predict, Some(split, USERS), theta)
    assert found.quality == pytest.approx(ranking_quality(torch.tensor([one.rank for one in users]).numpy()))
    assert found.quality["recall10"] > 0.5
    assert found.consistency == pytest.approx(sum(one.agreement for one in users) / len(users))
    assert found.step_hit == pytest.approx(sum(one.step_hit for one in users) / len(users))
    assert found.pruned_share == pytest.approx(sum(one.pruned for one in users) / sum(one.considered for one in users))
    assert found.pruned_share > 0


def test_evaluation_says_what_pruning_changes_and_what_it_leaves() -> None:
    module = trained()
    plain, pruned = (measure(module, predict, data().test, theta) for theta in (0.0, module.config.theta))
    found = evaluate(module, predict, data().test)
    assert found["recall10"] == plain.quality["recall10"]
    assert found["ndcg10"] == plain.quality["ndcg10"]
    assert (found["corp_recall10"], found["corp_ndcg10"]) == (pruned.quality["recall10"], pruned.quality["ndcg10"])
    assert (found["pruned_share"], found["consistency"]) == (pruned.pruned_share, pruned.consistency)
    assert found["step_hit"] == pruned.step_hit
    assert plain.pruned_share == 0 < pruned.pruned_share


def test_the_plain_list_is_that_of_the_search_without_pruning() -> None:
    module = trained()
    batch = data().test.batch(np.arange(5))
    found = module.best(batch.items, batch.length, 10)
    with torch.no_grad():
        for row in range(5):
            items = batch.items[row : row + 1, : batch.length[row]]
            decoded = module.decode(items, batch.length[row : row + 1], torch.zeros(1))
            expected = ranked(decoded, module.catalogue(), items, 10, module.config.merge)
            assert found.items[row].tolist() == expected.items[0].tolist()
            torch.testing.assert_close(found.scores[row], expected.scores[0])
    assert module.max_length == module.config.max_length
