"""What CHIME serves is what it trained: from a history, event by event, out of a state; and what gets no score."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from serving.state import record
from tests.training.click_views import everything, view
from tests.training.systems.chime_models import LENGTH, READS, SMALL, data, model
from training.asking import NO_EVENTS, Question, Tensors
from training.data.planted_clicks import planted_clicks
from training.interactions import Content
from training.layers import ragged
from training.servable import Packed, Signature
from training.systems.chime import CHIME, SYSTEM, Config
from training.systems.chime.explained import explained
from training.systems.chime.servables import servables, without_newest
from training.systems.chime.served import Interests
from training.tasks.click import CLICK

HISTORY: tuple[str, ...] = ("history_items", "history_values", "history_ages", "history_length", "profile")


@cache
def released() -> dict[str, Signature]:
    return {one.name: one for one in servables("chime", model(), SMALL, data())}


def named(signature: Signature, answer: Packed) -> dict[str, torch.Tensor]:
    return dict(zip((spec.name for spec in signature.outputs), answer, strict=True))


def test_what_is_served_is_the_trained_form() -> None:
    ranker = released()["chime"]
    assert ranker.reference is not None
    assert ranker.eager64 is not None
    inputs = ranker.example(12, 3)
    (expected,), (in64,), (in32,) = ranker.reference(*inputs), ranker.eager64(*inputs), ranker.eager(*inputs)
    assert float(expected.std()) > 5e-3
    torch.testing.assert_close(in64, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(in32, expected.float(), rtol=1e-5, atol=1e-5)


def test_both_histograms_count() -> None:
    scorer = released()["chime_scorer"]
    candidates, ends, counts, recent, share, stamp = scorer.example(4, 0)
    (before,) = scorer.eager(candidates, ends, counts, recent, share, stamp)
    for changed in ((counts.flip(2), recent), (counts, torch.full_like(recent, -1))):
        assert not torch.allclose(scorer.eager(candidates, ends, *changed, share, stamp)[0], before, atol=1e-4)


def test_the_fold_of_observed_events_is_the_state_of_the_whole_history() -> None:
    encoder, observer = released()["chime_encoder"], released()["chime_observer"]
    history = dict(zip(HISTORY, encoder.example(2, 0), strict=True))
    lives = [history]
    while lives[-1]["history_length"].max() > 0:
        lives.append(without_newest(lives[-1]))
    state = encoder.eager(*lives.pop().values())
    tail = observer.inputs[0].shape[0]
    assert isinstance(tail, int)
    assert tail < LENGTH / 4, "what an event costs does not know the history"
    for events in reversed(lives):
        known = [events[name][:, :tail] for name in HISTORY[:3]]
        step = observer.eager(*known, events["history_length"].clamp(max=tail), *state)
        there = events["history_length"][:, 0] > 0
        assert torch.equal(step[2][~there].isnan(), torch.ones_like(step[2][~there]).bool()), "nothing to add"
        state = tuple(
            torch.where(there.view(-1, *(1 for _ in new.shape[1:])), new, old)
            for new, old in zip(step, state, strict=True)
        )
        for one, other in zip(state, encoder.eager(*events.values()), strict=True):
            assert torch.equal(one, other)


def test_a_user_s_state_takes_two_kibibytes_at_most_whatever_the_history() -> None:
    config = Config()
    built = CHIME(config, data().schema)
    built.prepare(data())
    outputs = servables("chime", built, config, data(64))[1].outputs
    state = {spec.name: np.zeros(tuple(map(int, spec.shape)), spec.dtype) for spec in outputs}
    key = record.encode_key(record.Key("chime_state", 1, 1))
    value = record.encode(key, record.Header(len(state), bytes(8), 0), state, "float32")
    assert len(key) + len(value) <= 2048
    longer = servables("chime", built, config, data(99))[1]
    assert [spec.shape for spec in outputs] == [spec.shape for spec in longer.outputs]


def test_nothing_of_the_scorer_grows_with_the_history() -> None:
    longer = replace(SMALL, max_length=4 * LENGTH)
    release = {one.name: one for one in servables("chime", model(longer), longer, data(4 * LENGTH))}
    shapes = [[spec.shape for spec in one["chime_scorer"].inputs] for one in (release, released())]
    assert shapes[0] == shapes[1]


def test_what_lies_behind_the_history_does_not_count() -> None:
    encoder = released()["chime_encoder"]
    history = dict(zip(HISTORY, encoder.example(6, 1), strict=True))
    beyond = torch.arange(LENGTH) >= history["history_length"]
    assert beyond.any()
    dirty = {name: torch.where(beyond, 5, history[name]) for name in HISTORY[:3]}
    states = (encoder.eager(*events.values()) for events in (history, {**history, **dirty}))
    assert all(torch.equal(clean, other) for clean, other in zip(*states, strict=True))


def test_an_empty_history_has_a_state_of_nothing_and_a_score() -> None:
    encoder, scorer = released()["chime_encoder"], released()["chime_scorer"]
    history = dict(zip(HISTORY, encoder.example(1, 0), strict=True))
    history |= {"history_length": torch.zeros(1, 1, dtype=torch.int64)}
    state = encoder.eager(*history.values())
    assert not state[0].any()
    assert (state[1] == -1).all()
    assert scorer.eager(torch.arange(1, 9), torch.tensor([8], dtype=torch.int32), *state)[0].isfinite().all()


def test_what_cannot_be_gets_no_score() -> None:
    encoder, scorer = released()["chime_encoder"], released()["chime_scorer"]
    candidates, ends, *state = scorer.example(4, 0)
    request = ragged.requests(ends, len(candidates))
    zero, unknown, negative = (torch.full_like(candidates, value) for value in (0, 2**40, -1))
    assert torch.equal(scorer.eager(zero, ends, *state)[0], scorer.eager(unknown, ends, *state)[0])
    assert scorer.eager(negative, ends, *state)[0].isnan().all()
    other = [*state[:-1], state[-1].clone()]
    other[-1][2] += 1
    assert torch.equal(scorer.eager(candidates, ends, *other)[0].isnan(), request == 2)
    history = dict(zip(HISTORY, encoder.example(4, 0), strict=True))
    length = history["history_length"].clone()
    length[1], length[3] = LENGTH + 1, -1
    (scores,) = scorer.eager(candidates, ends, *encoder.eager(*{**history, "history_length": length}.values()))
    assert torch.equal(scores.isnan(), (request == 1) | (request == 3))


def test_an_explanation_names_the_interests_by_their_weight() -> None:
    release = released()

    def infer(name: str, request: Tensors) -> Tensors:
        asked = release[name]
        tensors = {key: torch.from_numpy(array) for key, array in request.items()}
        ends = torch.tensor([len(tensors.get("candidates", torch.zeros(1, 1))[0])], dtype=torch.int32)
        tensors = {key: part[0] if key == "candidates" else part for key, part in tensors.items()}
        inputs = [ends if spec.of else tensors[spec.name] for spec in asked.inputs]
        return {key: part.numpy() for key, part in named(asked, asked.eager(*inputs)).items()}

    planted = planted_clicks()
    request = CLICK.request(planted, Question(7, (), (), 20))
    scores = infer("chime", request)["scores"][None]
    (shown,) = explained(infer, "chime", planted, request, {"scores": scores})
    weights = [float(str(row[0])) for row in shown.rows]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1, abs=1e-5)
    assert sum(int(str(row[1])) for row in shown.rows) == 32, "all that the user did"
    assert sum(int(str(row[2])) for row in shown.rows) == SMALL.recent
    assert all(str(row[3]).count("Item") == 3 for row in shown.rows)
    assert "32 behaviours, 6 of them of late" in shown.lines[0]
    assert len(shown.lines) == 1
    nobody = {**request, "user_id": np.array([[10**9]])}
    (none,) = explained(infer, "chime", planted, nobody, {"scores": scores})
    assert (none.rows, none.lines[1]) == ([], NO_EVENTS)


def test_an_item_that_training_hardly_met_is_no_name_of_an_interest() -> None:
    built = model()
    hardly = torch.arange(built.tables.num_items) % 3 > 0
    built.compressor.adaptation.items.rows.row_of[hardly] = 0
    assert not hardly[Interests(built, 3).nearest].any()
    assert (Interests(built, 3).nearest > 0).all()


def test_a_profile_that_is_more_than_ids_is_served_from_the_history() -> None:
    whole = replace(everything(context=False), load_content=lambda: _content(len(everything(context=False).items)))
    seen = view(whole, READS, 12)
    config = replace(SMALL, max_length=12)
    torch.manual_seed(0)
    built = CHIME(config, seen.schema)
    built.prepare(seen)
    release = SYSTEM.release(built.eval(), config, seen)
    assert [one.name for one in release] == ["chime_history", "chime_scorer", "chime"]
    ranker = release[-1]
    assert ranker.reference is not None
    inputs = ranker.example(4, 1)
    torch.testing.assert_close(ranker.eager(*inputs)[0], ranker.reference(*inputs)[0].float(), rtol=1e-5, atol=1e-5)


def _content(number: int) -> Content:
    planted = planted_clicks().content
    return planted._replace(text=planted.text[:number], graph=planted.graph[:number])


class Products(TorchDispatchMode):
    """Shapes of all results of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm):
            self.shapes.append(tuple(found.shape))
        return found


def test_no_served_graph_scores_a_vocabulary_as_a_language_model_s_head_does() -> None:
    """The transformer goes from vectors to vectors: nothing is as wide as the catalogue."""
    size = model().tables.num_items
    for name in ("chime_encoder", "chime_observer", "chime_scorer"):
        given = released()[name].example(4, 0)
        assert size not in (number for one in given for number in one.shape)
        with Products() as products:
            released()[name].eager(*given)
        assert products.shapes
        assert all(size not in shape for shape in products.shapes)
