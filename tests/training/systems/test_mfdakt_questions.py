"""MF-DAKT: what question vectors are trained to tell, before there are answers and beside them."""

from dataclasses import replace
from functools import cache
from typing import Literal

import numpy as np
import pytest
import torch

from tests.training.systems.mfdakt_models import SMALL, data, fresh
from training.layers.answers import AnswerCounts
from training.system import Wanted, prepare
from training.systems.mfdakt import MFDAKT, SYSTEM, Config
from training.systems.mfdakt.evaluation import told
from training.systems.mfdakt.questions import UNASKED, Questions, difficulties, relation

TABLE = torch.tensor([[1, 2, 0], [2, 1, 0], [2, 0, 0], [3, 2, 1], [4, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(("divisor", "expected"), [("max", [1, 1, 1 / 2, 2 / 3, 0, 0]), ("min", [1, 1, 1, 1, 0, 0])])
def test_relation_is_the_share_of_concepts_that_two_questions_have_in_common(
    divisor: Literal["max", "min"], expected: list[float]
) -> None:
    found = relation(TABLE, torch.tensor([0, 5]), 5, divisor)
    torch.testing.assert_close(found, torch.tensor([expected, [0.0] * 6]))


def test_relations_of_a_batch_are_rows_and_never_all_of_them() -> None:
    many = torch.arange(1, 200_001).reshape(-1, 1) % 50 + 1
    found = relation(many, torch.tensor([0, 7]), 51, "max")
    assert found.shape == (2, 200_000)
    assert found.sum(dim=1).tolist() == [4_000, 4_000]


def test_difficulties_are_of_the_training_part_alone() -> None:
    counts = AnswerCounts(np.array([[0, 3, 0, 0], [0, 1, 4, 0]]), np.zeros((2, 2), np.int64))
    np.testing.assert_allclose(difficulties(counts), [UNASKED, (1 + 3.125) / 9, (4 + 3.125) / 9, UNASKED], rtol=1e-6)
    events = data().interactions.events
    later = data().test.measured().row
    turned = events["label"].to_numpy().copy()
    turned[later] = 1 - turned[later]
    other = replace(data().interactions, events=events.with_columns(label=turned))
    module = fresh()
    before = module.difficulty.clone()
    prepare(module, SYSTEM.task.view(other, Wanted(SYSTEM.reads, Config().max_length, {})))
    assert torch.equal(module.difficulty, before)


@cache
def pretrained(steps: int) -> MFDAKT:
    """Of its first stage, so many steps."""
    torch.manual_seed(0)
    config = Config(dim=16, hidden=12)
    module = MFDAKT(config, data().schema)
    prepare(module, data())
    stage = SYSTEM.stages_of(config)[0]
    optimizer = torch.optim.AdamW(module.parameters(), lr=stage.learning_rate, fused=True)
    samples = stage.samples(data())
    for step in range(steps):
        loss, _ = stage.loss(module, samples.batch(np.arange(step * 40, step * 40 + 40)), 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


def test_pretraining_tells_relations_and_difficulties_and_nothing_else_is_moved() -> None:
    none, module = pretrained(0), pretrained(100)
    assert told(none)["relation"] < 0.5
    found = told(module)
    assert found["relation"] > 0.9
    assert found["difficulty first"] > 0.9
    assert found["question loss"] < 0.1 * told(none)["question loss"]
    moved = {key for key, one in module.named_parameters() if not torch.equal(one, none.get_parameter(key))}
    assert {key.split(".", 2)[2] for key in moved} == {"question.weight", "told_first.weight", "told_first.bias"}


def test_questions_of_the_same_concepts_are_nearer_than_those_of_others() -> None:
    concepts = np.sort(data().concepts[1:], axis=1)
    same = (concepts[:, None] == concepts[None]).all(axis=2) & ~np.eye(len(concepts), dtype=bool)
    apart = relation(torch.from_numpy(data().concepts[1:]), torch.arange(len(concepts)), 6, "max").numpy() == 0
    for one in pretrained(100).each:
        vectors = one.question.weight[1:].detach()
        products = (vectors @ vectors.T).numpy()
        assert products[same].min() > products[apart].max()


def test_a_question_that_nobody_answered_has_its_own_vector_by_its_concepts_where_there_is_pretraining() -> None:
    question = 5
    events = data().interactions.events
    kept = replace(data().interactions, events=events.filter(events["item"] != question))
    view = SYSTEM.task.view(kept, Wanted(SYSTEM.reads, Config().max_length, {}))
    for pretraining in (True, False):
        module = MFDAKT(Config(**SMALL, pretraining=pretraining), view.schema)
        prepare(module, view)
        assert module.difficulty[question] == UNASKED
        table = module.each[0].question
        read, unknown = table(torch.tensor([question, 0]))
        assert torch.equal(read, table.weight[question]) == pretraining
        assert torch.equal(read, unknown) != pretraining


def test_an_epoch_has_every_question_as_often_as_any_other_and_not_the_unknown_one() -> None:
    samples = Questions(data())
    found = np.bincount(samples.batch(np.arange(len(samples))).question.numpy())
    assert found[0] == 0
    assert len({*found[1:].tolist()}) == 1
    assert len(samples) >= 1 << 14
