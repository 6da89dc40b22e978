from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.baselines.test_pfa import item_mean
from training.baselines import sakt
from training.baselines.sakt import SAKT, SYSTEM, Config
from training.data.tracing import TracingBatch, TracingData
from training.fit import FitOptions, fit
from training.layers.tracer import fold_gap
from training.system import PLAIN
from training.tasks.tracing import TRACING

WINDOW = 6


@pytest.fixture(scope="module")
def data() -> TracingData:
    return TRACING.view(TRACING.planted(), PLAIN)


@pytest.fixture
def model(data: TracingData) -> SAKT:
    torch.manual_seed(0)
    built = SAKT(Config(dim=8, heads=2, window=WINDOW), data.schema)
    built.prepare(data)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(0, 0.3)
    return built.eval()


@pytest.mark.long
def test_training_beats_the_questions_means(data: TracingData, tmp_path: Path) -> None:
    config = Config(dim=16, heads=2, window=30, batch_size=32, learning_rate=3e-3, epochs=10)
    measured = fit(SYSTEM, config, data, FitOptions(run=tmp_path / "run", quiet=True)).metrics["test"]
    assert measured["auc"] > item_mean(data) + 0.01


@pytest.mark.parametrize("chunk", [4, 5, 128])
def test_sequence_form_is_the_fold_of_its_steps_in_whatever_chunks(
    model: SAKT, data: TracingData, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sakt, "_CHUNK", chunk)
    batch = data.test.batch(np.arange(12))
    assert batch.questions.shape[1] > 4 * WINDOW
    assert fold_gap(model, batch) < 1e-5
    assert fold_gap(model, batch._replace(length=batch.length // 5)) < 1e-5


def test_an_answer_is_seen_from_the_next_question_on_as_far_as_the_window_reaches(
    model: SAKT, data: TracingData
) -> None:
    batch = data.test.batch(np.array([2]))
    flipped, place = batch.responses.clone(), 3
    flipped[0, place] = 1 - flipped[0, place]
    with torch.no_grad():
        moved = (model(batch) - model(batch._replace(responses=flipped)))[0].abs() > 0
    assert moved[place + 1 : place + 1 + WINDOW].all()
    assert not moved[: place + 1].any()
    assert not moved[place + 1 + WINDOW :].any()


def test_how_long_ago_an_answer_was_matters_by_the_bias_alone(model: SAKT, data: TracingData) -> None:
    one, other = torch.tensor([[3, 5]]), torch.tensor([[5, 3]])
    right, length = torch.tensor([[1, 0]]), torch.tensor([2])
    batch = TracingBatch(torch.zeros(1, dtype=torch.int64), one, right, length, torch.ones(1, 2))
    turned = batch._replace(questions=other, responses=right.flip(1))
    with torch.no_grad():
        assert (
            model.ask(model.after(batch), torch.tensor([7])) - model.ask(model.after(turned), torch.tensor([7]))
        ) != 0
        model.newest.ago[:] = model.newest.ago[:, :1]
        torch.testing.assert_close(
            model.ask(model.after(batch), torch.tensor([7])), model.ask(model.after(turned), torch.tensor([7]))
        )


def test_neither_padding_nor_neighbours_change_a_logit(model: SAKT, data: TracingData) -> None:
    together = data.test.batch(np.arange(6))
    with torch.no_grad():
        logits, state = model(together), model.after(together)
        for row in range(6):
            alone = data.test.batch(np.array([row]))
            length = int(alone.length[0])
            torch.testing.assert_close(model(alone)[0], logits[row, :length], rtol=0, atol=1e-5)
            assert torch.equal(model.after(alone).asked[0], state.asked[row])


def test_no_answers_are_the_start_and_unknown_questions_count_as_answers(model: SAKT) -> None:
    nobody = torch.zeros(1, dtype=torch.int64)
    batch = TracingBatch(
        nobody, torch.ones(1, 3, dtype=torch.int64), nobody[:, None].expand(1, 3), nobody, torch.ones(1, 3)
    )
    start = model.start(nobody)
    for one, two in zip(model.after(batch), start, strict=True):
        assert torch.equal(one, two)
    stepped = model.step(start, torch.tensor([2**40]), torch.tensor([1]))
    assert stepped.answers.item() == 1
    assert stepped.asked.tolist() == start.asked.tolist()
    with torch.no_grad():
        assert model.ask(stepped, torch.tensor([3])) != model.ask(start, torch.tensor([3]))


def test_it_is_named_by_its_split() -> None:
    assert SYSTEM.variant(replace(Config(), split="random")) == "leaking-random-split"
