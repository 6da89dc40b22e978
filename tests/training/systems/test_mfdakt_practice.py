"""MF-DAKT: what is counted of a student's practice, without a loop, is what a replay counts."""

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.systems.mfdakt_models import SMALL, answers, data, fresh
from training.layers.tracer import fold_gap
from training.systems.mfdakt import Config
from training.systems.mfdakt.practice import MOST, NEVER, RIGHT, WRONG, Practice, after, before

CONCEPTS, LONGEST = 6, 7
Told = list[tuple[int, int, int, int]]


def replay(concepts: Tensor, responses: Tensor) -> tuple[list[Told], dict[int, tuple[int, int, int, int]]]:
    """One answer after the other: what is known of the concepts of each, and at the end of all."""
    told: list[Told] = []
    wins, fails = defaultdict(int), defaultdict(int)
    last, when = {}, {}

    def known(concept: int, step: int) -> tuple[int, int, int, int]:
        if concept not in when:
            return 0, 0, NEVER, 0
        return wins[concept], fails[concept], last[concept], min(step - when[concept], LONGEST)

    for step, (own, right) in enumerate(zip(concepts.tolist(), responses.tolist(), strict=True)):
        told.append([known(concept, step) if concept else (0, 0, NEVER, 0) for concept in own])
        for concept in filter(None, own):
            wins[concept] += right
            fails[concept] += 1 - right
            last[concept], when[concept] = RIGHT if right else WRONG, step
    return told, {concept: known(concept, len(concepts)) for concept in range(1, CONCEPTS)}


def drawn(students: int, steps: int) -> tuple[Tensor, Tensor]:
    """Questions of one, two or no concepts, and responses."""
    random = np.random.default_rng(1)
    pairs = np.stack([random.permuted(np.arange(1, CONCEPTS))[:2] for _ in range(students * steps)])
    pairs[random.random(len(pairs)) < 0.5, 1] = 0
    pairs[random.random(len(pairs)) < 0.1] = 0
    concepts = torch.from_numpy(pairs.reshape(students, steps, 2))
    return concepts, torch.from_numpy(random.integers(0, 2, (students, steps)))


def test_practice_before_each_answer_is_what_a_replay_counts() -> None:
    concepts, responses = drawn(5, 40)
    found = torch.stack(before(concepts, responses, CONCEPTS, LONGEST), dim=-1)
    for row in range(5):
        told, _ = replay(concepts[row], responses[row])
        assert found[row].tolist() == [[[*one] for one in own] for own in told]
    assert (found[..., 3] == LONGEST).any(), "long ago counts as so long"


def test_practice_after_all_answers_is_what_a_replay_counts_whatever_stands_beyond_them() -> None:
    concepts, responses = drawn(5, 40)
    length = torch.tensor([40, 1, 17, 0, 25])
    found = torch.stack(after(concepts, responses, length, CONCEPTS, LONGEST), dim=-1)
    for row, end in enumerate(length.tolist()):
        _, told = replay(concepts[row, :end], responses[row, :end])
        assert {concept: tuple(found[row, concept].tolist()) for concept in told} == told
    assert not found[:, 0].any()


def test_a_later_answer_changes_no_practice_before_it() -> None:
    concepts, responses = drawn(3, 20)
    flipped = responses.clone()
    flipped[:, 10] = 1 - flipped[:, 10]
    one, other = (torch.stack(before(concepts, own, CONCEPTS, LONGEST)) for own in (responses, flipped))
    assert torch.equal(one[:, :, :11], other[:, :, :11])
    assert not torch.equal(one[:, :, 11:], other[:, :, 11:])


@pytest.mark.parametrize(
    "options",
    [{"longest_interval": 4}, {"counts": "raw", "recent": "none", "attention": False}],
)
def test_sequence_form_is_the_fold_of_its_steps(options: dict[str, Any]) -> None:
    module, batch = fresh(Config(**SMALL, **options)), data().test.batch(np.arange(5))
    assert module(batch).std() > 0.1
    assert fold_gap(module, batch) < 1e-5
    assert fold_gap(module, batch._replace(length=batch.length // 3)) < 1e-5


def test_neither_padding_nor_neighbours_change_a_logit_or_a_count() -> None:
    module, together = fresh(), data().test.batch(np.arange(6))
    logits, state = module(together), module.after(together)
    for row in range(6):
        alone = data().test.batch(np.array([row]))
        torch.testing.assert_close(module(alone)[0], logits[row, : int(alone.length[0])], rtol=0, atol=1e-6)
        assert all(torch.equal(one[0], all_[row]) for one, all_ in zip(module.after(alone), state, strict=True))


def test_no_answers_are_the_start_and_counts_end_at_their_bounds() -> None:
    module = fresh()
    nobody = torch.zeros(1, dtype=torch.int64)
    none = answers((3, 1))._replace(length=nobody)
    assert all(torch.equal(one, other) for one, other in zip(module.after(none), module.start(nobody), strict=True))
    most = Practice(*(torch.full((1, 2), end) for end in (MOST, MOST, RIGHT, LONGEST)))
    practised = torch.tensor([[False, True]])
    right = most.then(practised, torch.tensor([1]), LONGEST)
    assert torch.stack(right)[:, 0].tolist() == [[MOST, MOST], [MOST, MOST], [RIGHT, RIGHT], [LONGEST, 1]]


def test_an_unknown_question_counts_for_no_concept_but_as_time() -> None:
    module = fresh()
    once = module.after(answers((3, 1)))
    for unknown in (0, -1, 2**40):
        stepped = module.step(once, torch.tensor([unknown]), torch.tensor([1]))
        assert torch.equal(stepped.wins, once.wins)
        assert torch.equal(stepped.fails, once.fails)
        assert torch.equal(stepped.ago, 2 * once.ago)
    asked = torch.tensor([2**40]), torch.tensor([-1]), torch.tensor([0])
    assert len({module.ask(once, one).item() for one in asked}) == 1
