"""MF-DAKT: factors, attention, subspaces and norms compute what they say, and each control turns its mechanism off."""

from dataclasses import replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.systems.mfdakt_models import SMALL, answers, data, fresh
from training.systems.mfdakt import MFDAKT, SYSTEM, Config
from training.systems.mfdakt.config import Recent, variant
from training.systems.mfdakt.norm import Norm
from training.systems.mfdakt.practice import NEVER, RIGHT, WRONG
from training.systems.mfdakt.subspace import Rows, Scored, Subspace, interactions

QUESTION = int(np.flatnonzero((data().concepts > 0).sum(axis=1) == 2)[0])
CONCEPTS = data().concepts[QUESTION].tolist()
OTHER = int(np.flatnonzero(~np.isin(data().concepts, [0, *CONCEPTS]).any(axis=1))[1])
"""A question on none of these concepts."""
CONTROLS: dict[str, dict[str, Any]] = {
    "no-recent": {"recent": "none"},
    "no-forgetting": {"recent": "last"},
    "no-pretraining": {"pretraining": False},
    "no-attention": {"attention": False},
    "interaction-alone": {"subspaces": "interaction"},
    "sum-alone": {"subspaces": "sum"},
    "raw-counts": {"counts": "raw"},
    "no-difficulty": {"difficulty_weight": 0.0},
    "min-relation": {"relation": "min"},
    "leaking-random-split": {"split": "random"},
}


def rows(module: MFDAKT, *pairs: tuple[int, int]) -> Rows:
    """What is looked at where QUESTION follows these answers."""
    last = module.rows(answers(*pairs, (QUESTION, 0)))
    return Rows(*(part[-1:] for part in last))


def scored(module: MFDAKT, x: Rows) -> list[Scored]:
    return [one(x) for one in module.each]


def test_interactions_are_the_sum_over_the_six_pairs() -> None:
    x = torch.randn(5, 4, 3)
    by_hand = torch.stack([x[:, one] * x[:, other] for one, other in combinations(range(4), 2)]).sum(dim=0)
    torch.testing.assert_close(interactions(x), by_hand)


def test_weights_of_factors_sum_to_one_and_those_of_the_parts_to_four() -> None:
    module = fresh()
    x = module.rows(data().test.batch(np.arange(4)))
    for found in scored(module, x):
        torch.testing.assert_close(found.factors.sum(dim=1), torch.ones(len(x.student)))
        torch.testing.assert_close(found.parts.sum(dim=1), 4 * torch.ones(len(x.student)))
        assert found.factors.std(dim=0).min() > 0.01
    for found in scored(fresh(Config(**SMALL, attention=False)), x):
        assert torch.equal(found.factors, torch.full_like(found.factors, 1 / 3))
        assert torch.equal(found.parts, torch.ones_like(found.parts))


def test_right_wrong_and_never_are_three_rows_of_each_concept_whose_weight_falls_with_the_answers_since() -> None:
    module = fresh()
    one, size = CONCEPTS[0], module.num_concepts
    rate = nn.functional.softplus(module.rate.weight[one, 0])
    table = module.each[0].recent.weight
    others = [(OTHER, 1)] * 4
    cases = {NEVER: (others, 0), WRONG: ([(QUESTION, 0)], 1), RIGHT: ([(QUESTION, 1), *others], 5)}
    for last, (pairs, ago) in cases.items():
        x = rows(module, *pairs)
        place = x.concepts[0].tolist().index(one)
        assert x.last[0, place] == last
        torch.testing.assert_close(x.recent[0, place], (-rate * ago).exp())
        own = x._replace(recent=x.recent * (x.concepts == one))
        torch.testing.assert_close(
            module.each[0].practised(own)[0, 2], (-rate * ago).exp() * table[one + size * (RIGHT - last)]
        )
    assert (-rate * 5).exp() < (-rate).exp() < 1


@pytest.mark.parametrize("counts", ["log", "raw"])
def test_right_and_wrong_answers_weigh_the_concepts_vectors_by_their_number(counts: Literal["log", "raw"]) -> None:
    module = fresh(Config(**SMALL, counts=counts))
    x, one = rows(module, (QUESTION, 1), (QUESTION, 0), (QUESTION, 1)), module.each[1]
    weigh = np.log1p if counts == "log" else float
    practised = one.practised(x)[0]
    torch.testing.assert_close(practised[0], weigh(2) * one.success.weight[CONCEPTS].sum(dim=0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(practised[1], weigh(1) * one.fail.weight[CONCEPTS].sum(dim=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("place", [0, 1])
def test_both_subspaces_read_the_recent_factor(place: int) -> None:
    module = fresh()
    x = rows(module, (QUESTION, 1))
    before = [found.logit.item() for found in scored(module, x)]
    with torch.no_grad():
        module.each[place].recent.weight.add_(1.0)
    after = [found.logit.item() for found in scored(module, x)]
    assert [one != other for one, other in zip(before, after, strict=True)] == [place == 0, place == 1]


def test_without_the_recent_factor_order_and_results_count_by_their_numbers_alone() -> None:
    one, other = [(QUESTION, 1), (QUESTION, 0), (OTHER, 1)], [(QUESTION, 0), (OTHER, 1), (QUESTION, 1)]
    cases: dict[Recent, bool] = {"forgetting": False, "last": False, "none": True}
    for recent, alike in cases.items():
        module = fresh(Config(**SMALL, recent=recent))
        assert torch.equal(module.logit(rows(module, *one)), module.logit(rows(module, *other))) == alike
    module = fresh(Config(**SMALL, recent="last"))
    late, soon = ([(QUESTION, 1), *[(OTHER, 1)] * number] for number in (9, 1))
    assert torch.equal(module.logit(rows(module, *late)), module.logit(rows(module, *soon)))


def test_a_logit_is_the_sum_of_the_subspaces_and_a_bias() -> None:
    module = fresh()
    x = module.rows(data().test.batch(np.arange(3)))
    kinds = [one.kind for one in module.each]
    torch.testing.assert_close(module.logit(x), sum(one.logit for one in scored(module, x)) + module.bias)
    assert kinds == ["interaction", "sum"]
    assert [one.kind for one in fresh(Config(**SMALL, subspaces="sum")).each] == ["sum"]


def test_a_norm_is_the_same_in_training_as_when_it_is_served_and_has_the_gradient_of_a_batch() -> None:
    norm, x = Norm(3), (2 + 3 * torch.randn(50, 3)).requires_grad_()
    trained = norm(x)
    trained.square().sum().backward()
    served = norm.eval()(x)
    torch.testing.assert_close(trained, served)
    assert (norm.mean - 0.1 * x.mean(dim=0)).abs().max() < 1e-6
    assert x.grad is not None
    # What moves all rows alike changes nothing that is centred by the batch.
    torch.testing.assert_close(x.grad.sum(dim=0), torch.zeros(3), atol=1e-4, rtol=0)
    before = norm.mean.clone()
    assert norm.train()(x[:1]).isfinite().all()
    assert torch.equal(norm.mean, before)


def test_norms_are_taken_over_the_answers_that_count() -> None:
    batch = data().train.batch(np.arange(8))
    wider = batch._replace(
        questions=nn.functional.pad(batch.questions, (0, 9)),
        responses=nn.functional.pad(batch.responses, (0, 9)),
        counts=nn.functional.pad(batch.counts, (0, 9)),
    )
    means = []
    for one in (batch, wider):
        module = fresh(Config(**SMALL, dropout=0.0, unknown_rate=0.0)).train()
        loss, _ = module.loss(one, 0.0)
        means.append((loss.item(), *(part.mean.sum().item() for part in module.modules() if isinstance(part, Norm))))
    assert means[0] == pytest.approx(means[1], rel=1e-5)
    assert all(means[0])


def test_mastery_is_what_it_says_of_a_question_of_the_concept_alone() -> None:
    module = fresh()
    state = module.after(data().test.batch(np.arange(3)))
    concept = torch.full((3,), 2)
    with torch.no_grad():
        module.concepts.of[0, 0] = 2
    asked = module.ask(state, torch.zeros_like(concept)).sigmoid()
    torch.testing.assert_close(module.mastery(state)[:, 1], asked)


def test_an_unknown_student_is_one_that_training_reads_now_and_then() -> None:
    module, batch = fresh(), data().test.batch(np.arange(3))
    known, unknown = (batch._replace(student=torch.tensor(own)) for own in ([1, 2, 4], [0, -5, 2**40]))
    assert not torch.equal(module(known), module(unknown))
    assert torch.equal(module(unknown), module(batch._replace(student=torch.zeros(3, dtype=torch.int64))))
    assert torch.equal(module.each[0].student(torch.tensor([0])), module.each[0].student.weight[:1])
    never = fresh(Config(**SMALL, unknown_rate=0.0)).each[0].student
    torch.testing.assert_close(never(torch.tensor([0]))[0], never.share @ never.weight)


def test_every_weight_is_trained_in_one_of_the_stages() -> None:
    module = fresh().train()
    for stage in SYSTEM.stages_of(module.config):
        loss, _ = stage.loss(module, stage.samples(data()).batch(np.arange(40)), 0.0)
        loss.backward()
    still = [name for name, one in module.named_parameters() if one.grad is None or not one.grad.any()]
    assert still == []


def test_each_control_has_its_name_and_its_stages() -> None:
    assert variant(Config()) == ""
    for name, options in CONTROLS.items():
        config = Config(**options)
        assert SYSTEM.variant(config) == name
        stages = [stage.name for stage in SYSTEM.stages_of(config)]
        assert stages == (["answers"] if name == "no-pretraining" else ["questions", "answers"])
    assert variant(replace(Config(), recent="none", split="random")) == "no-recent-leaking-random-split"


@pytest.mark.parametrize("options", [{"dropout": 1.0}, {"unknown_rate": -0.1}, {"longest_interval": 0}])
def test_what_cannot_be_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Config(**options)


def test_subspaces_share_no_table_but_the_rates_of_forgetting() -> None:
    one, other = fresh().each
    assert isinstance(one, Subspace)
    assert not {id(part) for part in one.parameters()} & {id(part) for part in other.parameters()}
