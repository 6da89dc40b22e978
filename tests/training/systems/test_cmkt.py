"""The mechanism of CMKT, on random weights."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.systems.cmkt_models import UPDATES, data, model
from training.data.tracing import TracingBatch
from training.layers.tracer import fold_gap
from training.loop import predict
from training.systems.cmkt import SYSTEM, Config, HardCMKT, SoftCMKT, linear
from training.systems.cmkt.config import Update
from training.systems.cmkt.evaluation import evaluate
from training.systems.cmkt.parts import Pairs, of_concepts
from training.systems.cmkt.soft import penalty

ROWS = 24


def batch() -> TracingBatch:
    return data().test.batch(np.arange(ROWS))


def after(module: Any, batch: TracingBatch, places: int) -> Tensor:
    """Mastery of what the question at the last of so many places practises, by the whole sequence up to it anew."""
    mastery = module.mastery(module.after(batch._replace(length=batch.length.clamp(max=places))))
    return of_concepts(mastery, module.concepts(batch.questions[:, places - 1]))


def flipped(batch: TracingBatch, place: int) -> TracingBatch:
    """With the opposite answer there."""
    responses = batch.responses.clone()
    responses[:, place] = 1 - responses[:, place]
    return batch._replace(responses=responses)


@pytest.mark.parametrize("update", UPDATES)
def test_sequence_form_is_the_fold_of_its_steps(update: Update) -> None:
    module = model(update)
    assert fold_gap(module, batch()) < 1e-5
    assert fold_gap(module, batch()._replace(length=batch().length // 3)) < 1e-5


@pytest.mark.parametrize("update", UPDATES)
@torch.no_grad()
def test_the_counterfactual_flips_the_last_answer_alone(update: Update) -> None:
    module, answers = model(update), batch()
    pairs = module.pairs(answers)
    for place in (0, 1, 5, 17):
        rows = pairs.there[:, place] & (answers.length > place)[:, None]
        for mine, sequence in (
            (pairs.factual, answers),
            (pairs.counterfactual, flipped(answers, place)),
        ):
            torch.testing.assert_close(
                mine[:, place][rows], after(module, sequence, place + 1)[rows], rtol=0, atol=1e-6
            )
        earlier = pairs.before[:, place][rows]
        if place:
            mastery = module.mastery(module.after(answers._replace(length=answers.length.clamp(max=place))))
            own = of_concepts(mastery, module.concepts(answers.questions[:, place]))
            torch.testing.assert_close(earlier, own[rows], rtol=0, atol=1e-6)


@pytest.mark.parametrize("update", UPDATES)
@torch.no_grad()
def test_the_opposite_answer_swaps_the_two(update: Update) -> None:
    module, answers, place = model(update), batch(), 4
    own, other = module.pairs(answers), module.pairs(flipped(answers, place))
    torch.testing.assert_close(own.factual[:, place], other.counterfactual[:, place], rtol=0, atol=1e-6)
    torch.testing.assert_close(own.counterfactual[:, place], other.factual[:, place], rtol=0, atol=1e-6)
    assert (own.factual - own.counterfactual)[:, place][own.there[:, place]].abs().min() > 1e-4


def test_prediction_rises_with_the_mastery_that_is_asked_for_and_falls_with_difficulty() -> None:
    module = model("soft")
    with torch.no_grad():
        module.predictor.steepness.fill_(-1.0)
    question = torch.arange(len(data().concepts))
    concepts = module.concepts(question)
    mastery = torch.rand(len(question), 5).requires_grad_()
    logits = module.predictor(mastery, question, concepts)
    (slope,) = torch.autograd.grad(logits.sum(), mastery)
    asked = (concepts[:, :, None] == torch.arange(1, 6)).any(dim=1)
    assert (asked.sum(dim=1)[1:] == (concepts > 0).sum(dim=1)[1:]).all()
    assert (slope[asked] > 0).all()
    assert (slope[1:][~asked[1:]] == 0).all()
    assert (slope[0] > 0).all(), "of which no concept is known, all of them"
    with torch.no_grad():
        before = module.predictor.difficulty(question, concepts)
        module.predictor.question.weight.add_(0.3)
        assert (module.predictor.difficulty(question, concepts) > before).all()
        assert (module.predictor(mastery, question, concepts) < logits).all()


def test_a_question_that_training_does_not_have_is_as_difficult_as_its_concepts() -> None:
    predictor = model("soft").predictor
    with torch.no_grad():
        predictor.question.weight.zero_()
    concepts = torch.tensor([[2, 0], [2, 4]])
    own = predictor.concept.weight[:, 0]
    found = predictor.difficulty(torch.tensor([0, 10**6]), concepts)
    torch.testing.assert_close(found, torch.stack([own[2], own[[2, 4]].mean()]).sigmoid())


def test_the_constraint_is_a_mean_over_what_counts() -> None:
    nothing = torch.zeros(1, 2, dtype=torch.int64)
    answers = TracingBatch(
        nothing[:, 0], nothing, torch.tensor([[1, 0]]), torch.tensor([2]), torch.tensor([[1.0, 1.0]])
    )
    factual = torch.tensor([[[0.5, 0.9], [0.30, 0.4]]])
    other = torch.tensor([[[0.6, 0.1], [0.305, 0.1]]])
    there = torch.tensor([[[True, False], [True, True]]])
    pairs = Pairs(factual, factual, other, there)
    # A right answer that lowers by .1; a wrong one that lowers by .005, less than the margin; a wrong one that raises.
    assert penalty(pairs, answers, Config()).item() == pytest.approx((0.11 + 0.005 + 0.31) / 3)
    smooth = Config(constraint="smooth", temperature=0.1)
    each = [0.1 * np.log1p(np.exp(10 * gap)) for gap in (0.1, -0.005, 0.3)]
    assert penalty(pairs, answers, smooth).item() == pytest.approx(np.mean(each))
    first = answers._replace(counts=torch.tensor([[1.0, 0.0]]))
    assert penalty(pairs, first, Config()).item() == pytest.approx(0.11)


def test_the_constraint_trains_the_opposite_answer_too_and_its_weight_is_that_of_the_loss() -> None:
    module = model("soft")
    assert isinstance(module, SoftCMKT)
    whole, parts = module.loss(batch(), 0.0)
    assert whole.item() == pytest.approx((parts["answers"] + parts["constraint"]).item())
    module.config = Config(monotonicity=0.0)
    alone, none = module.loss(batch(), 0.0)
    assert (alone.item(), none) == (pytest.approx(parts["answers"].item()), {})


def test_measured_shares_are_those_of_held_out_answers_counted_one_by_one() -> None:
    module, split = model("soft"), data().test
    measured, rows = split.measured(), split.batch(np.arange(len(split)))
    found, pairs = evaluate(module, predict, split), 0
    counted = {"violations": 0, "against": 0}
    with torch.no_grad():
        for sample, step in zip(measured.sample.tolist(), measured.step.tolist(), strict=True):
            pairs += int((module.concepts(rows.questions[sample, step]) > 0).sum())
        every = module.pairs(rows)
        for sample, step in zip(measured.sample.tolist(), measured.step.tolist(), strict=True):
            for slot in np.flatnonzero(every.there[sample, step].numpy()):
                own, other, before = (
                    float(part[sample, step, slot]) for part in (every.factual, every.counterfactual, every.before)
                )
                right = bool(rows.responses[sample, step])
                counted["violations"] += own < other if right else own > other
                counted["against"] += own < before if right else own > before
    assert {name: round(found[name] * pairs) for name in counted} == counted
    assert min(counted.values()) > 0.1 * pairs, "random weights violate"


def test_hard_mastery_never_moves_against_an_answer_whatever_the_weights() -> None:
    for spread in (0.5, 3.0):
        found = evaluate(model("hard", spread), predict, data().test)
        assert (found["violations"], found["against"]) == (0.0, 0.0)


@torch.no_grad()
def test_hard_mastery_moves_by_what_the_state_and_the_question_say_and_only_where_it_is_practised() -> None:
    module = model("hard")
    assert isinstance(module, HardCMKT)
    state = module.after(batch())
    question = torch.full((ROWS,), int(np.flatnonzero(data().concepts[:, 1] > 0)[0]))
    right, wrong = (module.step(state, question, torch.full((ROWS,), response)) for response in (1, 0))
    embedded = module.questions(question, module.concepts(question))
    up, down = module.rates(torch.cat((state.hidden, embedded), dim=1)).sigmoid().T
    practised = torch.zeros(5, dtype=torch.bool)
    practised[data().concepts[int(question[0])] - 1] = True
    before = state.mastered
    torch.testing.assert_close(
        right.mastered, torch.where(practised, before + up[:, None] * (1 - before), before), rtol=0, atol=1e-7
    )
    torch.testing.assert_close(
        wrong.mastered, torch.where(practised, before * (1 - down[:, None]), before), rtol=0, atol=1e-7
    )
    inside = practised & (before > 0.01) & (before < 0.99)
    assert inside.any()
    assert ((wrong.mastered < before) & (before < right.mastered))[inside].all()


@pytest.mark.parametrize("length", [1, 2, 37, 500])
@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
def test_linear_forms_are_the_recurrence_step_by_step_to_rounding(length: int, spread: float) -> None:
    random = torch.Generator().manual_seed(length)
    logit = torch.randn(3, length, 4, generator=random) * spread
    right = torch.rand(3, length, 4, generator=random) < 0.5
    log_keep, gain = torch.nn.functional.logsigmoid(-logit), torch.where(right, logit.sigmoid(), 0.0)
    first = torch.rand(3, 4, generator=random)
    state, before = first.double(), []
    for place in range(length):
        before.append(state)
        state = state * log_keep[:, place].double().exp() + gain[:, place].double()
    assert (linear.last(first, log_keep, gain) - state).abs().max() < 1e-6
    assert (linear.before(first, log_keep, gain) - torch.stack(before, dim=1)).abs().max() < 1e-6


@pytest.mark.parametrize("update", UPDATES)
@torch.no_grad()
def test_neither_padding_nor_neighbours_change_an_answer_and_unknown_ids_are_finite(update: Update) -> None:
    module, together = model(update), batch()
    logits, state = module(together), module.after(together)
    for row in range(6):
        alone = data().test.batch(np.array([row]))
        torch.testing.assert_close(module(alone)[0], logits[row, : int(alone.length[0])], rtol=0, atol=1e-6)
        for mine, one in zip(module.after(alone), state, strict=True):
            torch.testing.assert_close(mine[0], one[row], rtol=0, atol=1e-6)
    nobody = torch.full((ROWS,), 2**40)
    stepped = module.step(state, nobody, torch.ones_like(nobody))
    assert torch.isfinite(module.ask(stepped, nobody)).all()
    for part, (least, most) in zip(stepped, module.bounds, strict=True):
        assert bool(((part >= least) & (part <= most)).all())
    none = together._replace(length=torch.zeros_like(together.length))
    for mine, one in zip(module.after(none), module.start(together.student), strict=True):
        assert torch.equal(mine, one)


def test_each_control_has_a_name() -> None:
    named = {
        "": Config(),
        "unconstrained": Config(monotonicity=0.0, constraint="smooth"),
        "smooth": Config(constraint="smooth"),
        "hard": Config(update="hard", monotonicity=0.0),
        "hard-leaking-random-split": Config(update="hard", split="random"),
    }
    assert {SYSTEM.variant(config): config for config in named.values()} == named
