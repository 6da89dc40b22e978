import numpy as np
import pytest
import torch

from training.data.tracing import TracingData
from training.layers.answers import AnswerCounts, AnswerEmbedding, QuestionEmbedding, difficulties
from training.system import PLAIN
from training.tasks.tracing import TRACING


@pytest.fixture(scope="module")
def data() -> TracingData:
    return TRACING.view(TRACING.planted(), PLAIN)


def counts(wrong: list[int], right: list[int]) -> AnswerCounts:
    return AnswerCounts(np.array([wrong, right]), np.zeros((2, 6), np.int64))


def test_what_more_answer_wrong_is_more_difficult_and_what_none_answered_is_as_the_mean() -> None:
    found = difficulties(counts([0, 30, 10, 0, 0], [0, 10, 30, 40, 0]))
    assert found[1] > found[2] > found[3]
    assert np.isfinite(found).all(), "also where all answers are right"
    assert found[0] == found[4] == 0
    assert (found[1:4].mean(), found[1:4].std()) == pytest.approx((0, 1), abs=1e-5)
    assert not difficulties(counts([0, 0], [0, 0])).any()
    assert not difficulties(counts([0, 5], [0, 5])).any()


def test_one_answer_says_less_of_a_question_than_forty() -> None:
    found = difficulties(counts([0, 1, 40, 20], [0, 0, 0, 40]))
    assert found[3] < found[1] < found[2]


def test_difficulties_are_those_of_the_training_part_alone(data: TracingData) -> None:
    answers = data.train.measured()
    found = AnswerCounts.of(data)
    assert found.question.sum() == len(answers.label)
    assert found.question[1].sum() == answers.label.sum()
    by_hand = [int((answers.label[answers.question == one] == 0).sum()) for one in range(1, 41)]
    assert found.question[0, 1:].tolist() == by_hand


def test_a_question_is_its_concepts_moved_by_its_difficulty(data: TracingData) -> None:
    torch.manual_seed(0)
    table = QuestionEmbedding(data.schema, 4)
    table.prepare(AnswerCounts.of(data))
    torch.nn.init.normal_(table.spread)
    two = int(np.flatnonzero((data.concepts > 0).sum(axis=1) == 2)[0])
    asked = torch.tensor([two, 0, 10_000])
    concepts = torch.from_numpy(data.concepts)[[two, 0, 0]]
    found = table(asked, concepts)
    own = data.concepts[two]
    change = table.change.weight[own].mean(dim=0) + table.spread
    torch.testing.assert_close(found[0], table.concept.weight[own].mean(dim=0) + table.difficulty.weight[two] * change)
    # Of an unknown question without concepts the training part's mean difficulty is all that is known.
    mean = table.difficulty.share @ table.difficulty.weight
    torch.testing.assert_close(found[1], mean * table.spread)
    assert torch.equal(found[1], found[2])


def test_a_right_answer_and_a_wrong_one_differ_also_where_nothing_is_known(data: TracingData) -> None:
    torch.manual_seed(0)
    table = AnswerEmbedding(data.schema, 4)
    table.prepare(AnswerCounts.of(data))
    known, none = torch.from_numpy(data.concepts)[[3]], torch.zeros(1, 2, dtype=torch.int64)
    for question, concepts in ((3, known), (0, none)):
        asked = torch.tensor([question])
        right, wrong = (table(asked, torch.tensor([response]), concepts) for response in (1, 0))
        assert not torch.equal(right, wrong)
        assert torch.isfinite(right).all()
