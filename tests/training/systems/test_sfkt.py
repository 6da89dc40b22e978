"""The state and the two terms of SFKT."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.systems.sfkt_models import WINDOW, batch_of, data, model
from training.data.tracing import TracingBatch
from training.layers.answer_counts import MOST
from training.layers.tracer import fold_gap, legal
from training.systems.sfkt import SFKT, SYSTEM, Config, reader

Past = Literal["both", "window", "totals"]
PASTS: tuple[Past, ...] = ("both", "window", "totals")


def questions_of(concept: int, number: int) -> list[int]:
    """Questions of one concept alone."""
    alone = (data().concepts[:, 0] == concept) & (data().concepts[:, 1] == 0)
    return np.flatnonzero(alone)[:number].tolist()


def asked(built: SFKT, batch: TracingBatch, question: int) -> Tensor:
    with torch.no_grad():
        return built.ask(built.after(batch), torch.tensor([question]))


@pytest.mark.parametrize(
    ("settings", "chunk"),
    [({}, 4), ({"kin": True}, 4), ({"kin": True}, 128), ({"past": "window"}, 128), ({"past": "totals"}, 4)],
    ids=str,
)
def test_sequence_form_is_the_fold_of_its_steps_in_whatever_chunks(
    settings: dict[str, object], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_CHUNK", chunk)
    built, batch = model(**settings), data().test.batch(np.arange(3))
    assert batch.questions.shape[1] > 4 * WINDOW
    assert fold_gap(built, batch) < 1e-5
    assert fold_gap(built, batch._replace(length=batch.length // 5)) < 1e-5


def long_past(concept: int, response: int) -> TracingBatch:
    """An answer on a concept, then more of another concept than the window holds."""
    first, *_ = questions_of(concept, 1)
    return batch_of([first, *questions_of(5, 3) * 4], [response, *[1, 0, 1] * 4])


@pytest.mark.parametrize("past", PASTS)
def test_an_answer_beyond_the_window_counts_where_its_concept_is_asked_for(past: Past) -> None:
    built, (target, *_) = model(past=past), questions_of(1, 1)
    moved = asked(built, long_past(1, 1), target) - asked(built, long_past(1, 0), target)
    assert (moved == 0) == (past == "window")
    assert moved.isfinite().all()


def test_one_on_another_concept_changes_a_logit_through_the_totals_alone() -> None:
    built, (target, *_) = model(), questions_of(1, 1)
    right, wrong = long_past(2, 1), long_past(2, 0)
    assert asked(built, right, target) != asked(built, wrong, target)
    assert asked(built, right, target) == asked(built, long_past(3, 1), target), "the totals are the same"
    state = built.after(wrong)._replace(totals=built.after(right).totals)
    with torch.no_grad():
        assert built.ask(state, torch.tensor([target])) == asked(built, right, target)


def test_how_long_a_history_is_decides_by_the_gate_how_much_the_totals_say() -> None:
    built = model()
    gate = built.reader.gate
    assert gate is not None
    with torch.no_grad():
        gate.weight.zero_()
        gate.weight[:, -1] = 50.0
        gate.bias.fill_(-50 * np.log1p(10))
    alone = {past: model(past=past) for past in ("window", "totals")}
    weights = built.state_dict()
    for one in alone.values():
        one.load_state_dict({name: value for name, value in weights.items() if name in one.state_dict()})
    short, long = batch_of([1, 2, 3], [1, 0, 1]), batch_of([*range(1, 31)], [1, 0] * 15)
    torch.testing.assert_close(asked(built, short, 4), asked(alone["window"], short, 4))
    torch.testing.assert_close(asked(built, long, 4), asked(alone["totals"], long, 4))
    assert (asked(built, long, 4) - asked(alone["window"], long, 4)).abs() > 1e-3


def test_where_it_is_wanted_the_window_looks_otherwise_at_answers_that_share_a_concept() -> None:
    built = model(past="window", kin=True)
    window = built.reader.window
    assert window is not None
    assert window.kin is not None
    one, two = questions_of(1, 2), questions_of(2, 2)
    known, unknown = batch_of([one[0], two[0]], [1, 0]), batch_of([2**40, two[0]], [1, 0])
    cases = ((known, one[1]), (known, two[1]), (known, questions_of(3, 1)[0]), (unknown, 2**40))
    before = [asked(built, batch, question) for batch, question in cases]
    with torch.no_grad():
        window.kin.add_(2.0)
    moved = [bool(asked(built, *case) != old) for case, old in zip(cases, before, strict=True)]
    assert moved == [True, True, False, False], "what has no concept shares none"


def test_the_state_is_as_large_after_many_answers_as_before_any() -> None:
    built = model()
    sizes = [[part.shape for part in built.after(batch_of([1, 2] * half, [1, 0] * half))] for half in (0, 1, 50, 5_000)]
    assert sizes.count(sizes[0]) == len(sizes)
    state = built.after(batch_of([1, 2] * 5_000, [1, 0] * 5_000))
    assert state.totals.tolist() == [[5_000, 5_000]]
    assert legal(built, state).all()


def test_counts_are_bounded_where_one_more_would_be_no_other_number() -> None:
    built = model().double()
    state = built.start(torch.zeros(1, dtype=torch.int64))
    full = state._replace(**{name: getattr(state, name) + MOST for name in ("wins", "fails", "totals")})
    stepped = built.step(full, torch.tensor([1]), torch.tensor([1]))
    assert legal(built, stepped).all()
    assert (stepped.totals == MOST).all()
    assert built.ask(stepped, torch.tensor([1])).isfinite().all()


def test_neither_padding_nor_neighbours_change_a_logit_or_a_state() -> None:
    built, together = model(), data().test.batch(np.arange(6))
    with torch.no_grad():
        logits, state = built(together), built.after(together)
        for row in range(6):
            alone = data().test.batch(np.array([row]))
            torch.testing.assert_close(built(alone)[0], logits[row, : int(alone.length[0])], rtol=0, atol=1e-5)
            for own, part in zip(built.after(alone), state, strict=True):
                assert torch.equal(own[0], part[row])


def test_an_answer_changes_nothing_up_to_itself_and_everything_after() -> None:
    built, batch = model(), data().test.batch(np.array([2]))
    place = 3
    flipped = batch.responses.clone()
    flipped[0, place] = 1 - flipped[0, place]
    with torch.no_grad():
        moved = (built(batch) - built(batch._replace(responses=flipped)))[0].abs() > 0
    assert not moved[: place + 1].any()
    assert moved[place + 1 :].all(), "beyond the window by the totals"


def test_unknown_questions_and_students_and_no_history_have_finite_answers() -> None:
    built = model()
    start = built.start(torch.tensor([0, 2**40]))
    stepped = built.step(start, torch.tensor([2**40, -1]), torch.tensor([1, 0]))
    assert torch.equal(stepped.wins, start.wins), "of no concept"
    assert stepped.totals.tolist() == [[1, 0], [0, 1]]
    with torch.no_grad():
        for state in (start, stepped):
            assert built.ask(state, torch.tensor([2**40, 3])).isfinite().all()
            assert built.mastery(state).isfinite().all()
    for one, two in zip(built.after(batch_of([], [])), built.start(torch.zeros(1, dtype=torch.int64)), strict=True):
        assert torch.equal(one, two)


def test_what_is_left_out_has_no_weights_and_is_named() -> None:
    names = {past: {name for name, _ in model(past=past).named_parameters()} for past in PASTS}
    only = {past: {name for name in names["both"] - names[past] if "contrast" not in name} for past in PASTS}
    assert {name.split(".")[1] for name in only["window"]} == {"total", "gate"}
    assert {name.split(".")[1] for name in only["totals"]} == {"window", "gate"}
    assert not any("contrast" in name for name, _ in model(contrast=0.0).named_parameters())
    assert SYSTEM.variant(Config()) == ""
    named = Config(past="window", contrast=0.0, split="random")
    assert SYSTEM.variant(named) == "window-only-no-contrast-leaking-random-split"
    assert SYSTEM.variant(replace(Config(), past="totals")) == "totals-only"
    assert SYSTEM.variant(Config(past="window", kin=True)) == "window-only-kin"
    with pytest.raises(ValueError, match="window is 0"):
        Config(window=0)
    with pytest.raises(ValueError, match="kin is of the window"):
        Config(past="totals", kin=True)
