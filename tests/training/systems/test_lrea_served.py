"""What LREA serves is what it trained, less the ReLU; and what gets no score."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.systems.lrea_models import LENGTH, SMALL, attentive, data, model, released
from training.layers import ragged
from training.layers.prestored import rows_of, stamp_of
from training.systems.lrea import Config
from training.systems.lrea.servables import answers
from training.systems.lrea.served import SCORERS, UserEncoder

VARIANTS = [
    pytest.param(replace(SMALL, compression=compression, layout=layout), id=f"{compression}-{layout}")
    for compression in ("static", "adaptive")
    for layout in ("factored", "absorbed")
]


@pytest.mark.parametrize("config", VARIANTS)
def test_what_is_served_equals_the_plain_form_without_activation(config: Config) -> None:
    ranker = released(config)["lrea"]
    assert ranker.reference is not None
    assert ranker.eager64 is not None
    inputs = ranker.example(12, 3)
    (expected,), (in64,), (in32,) = ranker.reference(*inputs), ranker.eager64(*inputs), ranker.eager(*inputs)
    assert float(expected.std()) > 5e-3
    torch.testing.assert_close(in64, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(in32, expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", VARIANTS)
def test_histories_cut_to_any_length_give_the_state_of_the_unabsorbed_form(config: Config) -> None:
    built, release = attentive(config), released(config)
    items, values, length, profile = release["lrea_encoder"].example(12, 3)
    assert length[:, 0].tolist()[:5] == [LENGTH, 0, 1, 7, LENGTH], "the edge cases"
    candidates = torch.arange(1, 13)
    state = release["lrea_encoder"].eager(items, values, length, profile)
    (found,) = release["lrea_scorer"].eager(candidates, candidates.int(), *state)
    history = {"history_items": items, "history_values": values, "history_length": length[:, 0]}
    batch = data().test.batch(np.arange(12))._replace(item=candidates, profile=profile, **history)
    with torch.no_grad():
        logits, linear, trained = built(batch), built.predict(batch, linear=True).logits, built.predict(batch).logits
    assert torch.equal(logits, linear), "forward is what is served"
    assert not torch.allclose(logits, trained, rtol=0, atol=1e-4)
    torch.testing.assert_close(found, torch.sigmoid(logits), rtol=1e-5, atol=1e-5)


def test_rows_beyond_the_length_do_not_count() -> None:
    encoder = released(SMALL)["lrea_encoder"]
    items, ratings, length, fields = encoder.example(6, 1)
    beyond = torch.arange(LENGTH) >= length
    garbage = torch.where(beyond, 7, items), torch.where(beyond, 5, ratings)
    assert beyond.any()
    for clean, dirty in zip(
        encoder.eager(items, ratings, length, fields), encoder.eager(*garbage, length, fields), strict=True
    ):
        assert torch.equal(clean, dirty)


def macs_per_candidate(config: Config) -> int:
    """Multiply-adds of the scorer's attention for one candidate, from the shapes of its state."""
    state = {spec.name: spec.shape for spec in released(config)["lrea_scorer"].inputs}
    return sum(math.prod(int(n) for n in state[name]) for name in ("keys", "values", "product") if name in state)


def test_the_scorers_cost_is_flat_in_the_length_and_linear_in_the_rank() -> None:
    graph_inputs = lambda config: [spec.shape for spec in released(config)["lrea_scorer"].inputs]  # noqa: E731
    assert graph_inputs(SMALL) == graph_inputs(replace(SMALL, max_length=12))
    assert macs_per_candidate(replace(SMALL, rank=8)) == 2 * macs_per_candidate(SMALL)
    absorbed = replace(SMALL, layout="absorbed")
    assert macs_per_candidate(replace(absorbed, rank=8)) == macs_per_candidate(absorbed)


def test_unknown_items_take_the_out_of_vocabulary_row_and_negative_ids_no_score() -> None:
    scorer = released(SMALL)["lrea_scorer"]
    candidates, ends, *state = scorer.example(1, 0)
    zero, unknown, negative = (torch.full_like(candidates, value) for value in (0, 2**40, -1))
    assert torch.equal(scorer.eager(zero, ends, *state)[0], scorer.eager(unknown, ends, *state)[0])
    assert scorer.eager(negative, ends, *state)[0].isnan().all()


def test_a_state_of_another_model_gives_no_score() -> None:
    scorer = released(SMALL)["lrea_scorer"]
    candidates, ends, *state = scorer.example(4, 0)
    state[-1] = state[-1].clone()
    state[-1][2] += 1
    (scores,) = scorer.eager(candidates, ends, *state)
    stale = ragged.requests(ends, len(candidates)) == 2
    assert stale.any()
    assert torch.equal(scores.isnan(), stale)


def test_an_impossible_length_gives_no_score() -> None:
    encoder, scorer = (released(SMALL)[name] for name in ("lrea_encoder", "lrea_scorer"))
    candidates, ends, *_ = scorer.example(4, 0)
    items, ratings, length, fields = encoder.example(4, 0)
    length = length.clone()
    length[1], length[3] = LENGTH + 1, -1
    (scores,) = scorer.eager(candidates, ends, *encoder.eager(items, ratings, length, fields))
    request = ragged.requests(ends, len(candidates))
    assert torch.equal(scores.isnan(), (request == 1) | (request == 3))


def test_the_stamp_is_a_fingerprint_of_the_weights() -> None:
    first, again, other = stamp_of(model()), stamp_of(model()), stamp_of(model(seed=1))
    assert first == again != other
    assert 0 <= first < 2**63


def test_packing_does_not_change_a_request() -> None:
    scorer = released(SMALL)["lrea_scorer"]
    candidates, ends, *state = scorer.example(12, 5)
    (together,) = scorer.eager(candidates, ends, *state)
    start = 0
    for row, end in enumerate(ends.tolist()):
        alone = scorer.eager(
            candidates[start:end],
            torch.tensor([end - start], dtype=torch.int32),
            *(part[row : row + 1] for part in state),
        )[0]
        torch.testing.assert_close(alone, together[start:end], rtol=1e-5, atol=1e-6)
        start = end


def test_served_modules_hold_no_randomness_in_evaluation() -> None:
    for config in (SMALL, replace(SMALL, layout="absorbed")):
        found = answers(model(config).train(), rows_of(data()), dtype=torch.float32, stamp=1)
        assert isinstance(found.encoder, UserEncoder)
        assert isinstance(found.scorer, SCORERS[config.layout])
        assert not any(module.training for module in (*found.encoder.modules(), *found.scorer.modules()))
