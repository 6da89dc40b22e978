from pathlib import Path

import numpy as np
import pytest
import torch

from training.baselines.pfa import PFA, SYSTEM, Config
from training.data.tracing import TracingBatch, TracingData
from training.fit import FitOptions, fit
from training.layers.tracer import fold_gap
from training.metrics import auc
from training.system import Wanted
from training.tasks.tracing import TRACING


@pytest.fixture(scope="module")
def data() -> TracingData:
    return TRACING.view(TRACING.planted(), Wanted(SYSTEM.reads, Config().max_length, {}))


@pytest.fixture
def model(data: TracingData) -> PFA:
    torch.manual_seed(0)
    built = PFA(Config(), data.schema)
    built.prepare(data)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(0, 0.3)
    return built.eval()


def item_mean(data: TracingData) -> float:
    """AUC on the test part of each question's share of right answers in the training part."""

    def answers(part: str) -> tuple[np.ndarray, np.ndarray]:
        split = getattr(data, part)
        measured, batch = split.measured(), split.batch(np.arange(len(split)))
        return batch.questions.numpy()[measured.sample, measured.step], measured.label

    question, label = answers("train")
    size = len(data.concepts)
    share = (np.bincount(question, label, size) + 1) / (np.bincount(question, minlength=size) + 2)
    question, label = answers("test")
    return auc(label, share[question])


def test_counts_are_bounded_where_one_more_would_be_no_other_number(model: PFA, data: TracingData) -> None:
    _, step, _, _ = TRACING.release("pfa", model, data)
    wins, fails, question, response = step.example(8, 1)
    assert [(spec.minimum, spec.maximum) for spec in step.inputs[:2]] == [(0, 2**24)] * 2
    wins[:2], fails[2], wins[3, 1] = 2**24, -1, torch.nan
    counted = step.eager(wins, fails, question, response)
    assert (counted[0][:2] == 2**24).all()
    assert torch.equal(counted[0].isnan().all(1), torch.tensor([False, False, True, True, *[False] * 4]))


@pytest.mark.long
def test_training_beats_the_questions_means(data: TracingData, tmp_path: Path) -> None:
    measured = fit(SYSTEM, Config(), data, FitOptions(run=tmp_path / "run", quiet=True)).metrics["test"]
    assert measured["auc"] > item_mean(data) + 0.02


def test_logit_is_that_of_the_paper_with_logarithms_and_the_question(model: PFA, data: TracingData) -> None:
    batch = data.test.batch(np.array([0]))
    logits = model(batch)[0]
    beta, gamma, rho, easiness = (
        part.detach().numpy() for part in (model.beta, model.gamma, model.rho, model.question)
    )
    wins, fails = np.zeros(len(beta)), np.zeros(len(beta))
    for place, (question, response) in enumerate(zip(batch.questions[0], batch.responses[0], strict=True)):
        concepts = [concept for concept in data.concepts[question] if concept]
        terms = (beta[c] + gamma[c] * np.log1p(wins[c]) + rho[c] * np.log1p(fails[c]) for c in concepts)
        assert logits[place].item() == pytest.approx(easiness[question] + sum(terms), abs=1e-5)
        for concept in concepts:
            wins[concept] += int(response)
            fails[concept] += 1 - int(response)


def test_sequence_form_is_the_fold_of_its_steps(model: PFA, data: TracingData) -> None:
    assert fold_gap(model, data.test.batch(np.arange(16))) < 1e-5


def test_an_answer_changes_nothing_up_to_itself_and_something_after(model: PFA, data: TracingData) -> None:
    batch = data.test.batch(np.array([2]))
    place = int(batch.length[0]) // 2
    flipped = batch.responses.clone()
    flipped[0, place] = 1 - flipped[0, place]
    before, after = model(batch), model(batch._replace(responses=flipped))
    assert torch.equal(before[:, : place + 1], after[:, : place + 1])
    assert not torch.equal(before[:, place + 1 :], after[:, place + 1 :])


def test_neither_padding_nor_neighbours_change_a_logit(model: PFA, data: TracingData) -> None:
    together = data.test.batch(np.arange(6))
    logits, state = model(together), model.after(together)
    for row in range(6):
        alone = data.test.batch(np.array([row]))
        length = int(alone.length[0])
        torch.testing.assert_close(model(alone)[0], logits[row, :length], rtol=0, atol=1e-6)
        torch.testing.assert_close(model.after(alone).wins[0], state.wins[row])


def test_unknown_questions_count_for_no_concept(model: PFA) -> None:
    state = model.start(torch.zeros(2, dtype=torch.int64))
    stepped = model.step(state, torch.tensor([2**40, -1]), torch.tensor([1, 0]))
    assert torch.equal(torch.cat(stepped), torch.cat(state))
    assert torch.equal(model.ask(state, torch.tensor([2**40, -1])), model.question[:1].expand(2))


def test_no_answers_are_the_start(model: PFA) -> None:
    none = torch.zeros(1, 3, dtype=torch.int64)
    batch = TracingBatch(none[:, 0], none + 1, none, none[:, 0], none.float())
    assert torch.equal(model.after(batch).fails, model.start(none[:, 0]).fails)
