"""The checks that show that LREA is real: absorption, the non-negativity loss, masks, compression, stamps."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.click_views import histories
from training.data.click import ClickData
from training.layers import ragged
from training.servable import Signature
from training.steps.rows import Rows
from training.systems.lrea import LREA, Config, attention, lrea_loss, non_negativity_weight, servables
from training.systems.lrea.servables import Answers, histories_of
from training.systems.lrea.served import SCORERS, UserEncoder, stamp_of

LENGTH = 16
SMALL = Config(dim=8, heads=2, rank=4, max_length=LENGTH, hidden=(8, 4), dropout=0.0)
VARIANTS = [
    pytest.param(replace(SMALL, compression=compression, layout=layout), id=f"{compression}-{layout}")
    for compression in ("static", "adaptive")
    for layout in ("factored", "absorbed")
]


def data() -> ClickData:
    return histories(LENGTH)


def model(config: Config = SMALL, seed: int = 0) -> LREA:
    torch.manual_seed(seed)
    built = LREA(config, data().schema)
    built.prepare(data())
    with torch.no_grad():
        built.bias.copy_(torch.randn(config.heads))
    return built.eval()


def released(config: Config) -> dict[str, Signature]:
    return {signature.name: signature for signature in servables("lrea", model(config), config, data())}


def train(config: Config, *, hinge: bool = False, steps: int = 150) -> LREA:
    """A short training on the planted set, with the scale-free loss or with the plain hinge."""
    built = model(config).train()
    with torch.no_grad():
        built.bias.zero_()
    optimiser = torch.optim.Adam(built.parameters(), lr=1e-2)
    random = np.random.default_rng(0)
    for _ in range(steps):
        batch = data().train.batch(random.integers(0, len(data().train), 128))
        loss, _ = lrea_loss(built, batch, 0.0 if hinge else config.non_negativity)
        if hinge:
            prediction = built.predict(batch)
            loss = loss + 50 * (torch.relu(-prediction.scores) * prediction.mask[:, None]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return built.eval()


def attention_of(built: LREA) -> tuple[float, float]:
    """Share of negative mass and mean |A| over the validation part."""
    with torch.no_grad():
        prediction = built.predict(data().validation.batch(np.arange(len(data().validation))))
    mean = (prediction.scores.abs() * prediction.mask[:, None]).sum() / prediction.mask.sum()
    return float(attention.negative_share(prediction.scores, prediction.mask)), float(mean)


@pytest.mark.parametrize("config", VARIANTS)
def test_what_is_served_equals_the_plain_form_without_activation(config: Config) -> None:
    ranker = released(config)["lrea"]
    assert ranker.reference is not None
    assert ranker.eager64 is not None
    inputs = ranker.example(12, 3)
    (expected,), (in64,), (in32,) = ranker.reference(*inputs), ranker.eager64(*inputs), ranker.eager(*inputs)
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(in64, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(in32, expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", VARIANTS)
def test_histories_cut_to_any_length_give_the_state_of_the_unabsorbed_form(config: Config) -> None:
    built = model(config)
    encoder, scorer = (released(config)[name] for name in ("lrea_encoder", "lrea_scorer"))
    items, values, length, profile = encoder.example(8, 3)
    assert length[:, 0].tolist()[:5] == [LENGTH, 0, 1, 7, LENGTH], "the edge cases"
    candidates = torch.arange(1, 9)
    (found,) = scorer.eager(candidates, torch.arange(1, 9).int(), *encoder.eager(items, values, length, profile))
    batch = (
        data()
        .test.batch(np.arange(8))
        ._replace(
            item=candidates, profile=profile, history_items=items, history_values=values, history_length=length[:, 0]
        )
    )
    with torch.no_grad():
        torch.testing.assert_close(found, torch.sigmoid(built(batch)), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(built(batch), built.predict(batch, linear=True).logits), "forward is what is served"
        assert not torch.allclose(built(batch), built.predict(batch).logits, atol=1e-7)


@pytest.mark.parametrize("length", [0, 1, 3, 4, LENGTH])
def test_absorption_holds_for_every_length_also_below_the_rank(length: int) -> None:
    built = model().double()
    events = torch.randn(2, LENGTH, SMALL.dim, dtype=torch.float64)
    count = torch.tensor([length, LENGTH])
    mask = attention.prefix_mask(count, LENGTH).double()
    target = torch.randn(2, 5, SMALL.dim, dtype=torch.float64)
    with torch.no_grad():
        down, up = built.matrices(events, mask)
        restored = attention.decompress(up, attention.compress(down, mask[:, :, None] * events), mask)
        queries = attention.split_heads(built.query(target), SMALL.heads)
        scores = attention.attention_scores(
            queries, attention.split_heads(built.key(restored), SMALL.heads), built.bias
        )
        values = attention.split_heads(built.value(restored), SMALL.heads)
        expected = attention.weighted_sum(scores, values, mask)
        served = attention.attend(queries, built.absorb(events, mask, count))
    torch.testing.assert_close(served, expected, rtol=1e-10, atol=1e-12)
    if length == 0:
        assert served[0].abs().max() == 0


def test_the_factored_training_form_equals_the_decompressed_one() -> None:
    built = model().double()
    batch = data().train.batch(np.arange(64))
    with torch.no_grad():
        prediction = built.predict(batch)
        embedded = built.tables.look_up(batch)
        down, up = built.matrices(embedded.history, embedded.mask)
        compressed = attention.compress(down, embedded.mask[:, :, None] * embedded.history)
        restored = attention.decompress(up, compressed, embedded.mask)
        queries = attention.split_heads(built.query(embedded.target)[:, None], SMALL.heads)
        scores = attention.attention_scores(
            queries, attention.split_heads(built.key(restored), SMALL.heads), built.bias
        )
        values = attention.split_heads(built.value(restored), SMALL.heads)
        interest = attention.weighted_sum(torch.relu(scores), values, embedded.mask)[:, 0]
        logits = built.tower(interest, embedded.target, embedded.profile)
    valid = embedded.mask[:, None].bool()
    torch.testing.assert_close(prediction.scores * valid, scores[:, :, 0] * valid, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(prediction.logits, logits, rtol=1e-10, atol=1e-12)


def test_relu_changes_nothing_where_the_attention_is_not_negative_and_more_the_more_it_is() -> None:
    built = model().double()
    batch = data().validation.batch(np.arange(len(data().validation)))
    gaps, shares = [], []
    for bias in (50.0, 0.2, 0.0, -0.2):
        with torch.no_grad():
            built.bias.fill_(bias)
            trained, served = built.predict(batch), built.predict(batch, linear=True)
        gaps.append(float((trained.logits - served.logits).abs().mean()))
        shares.append(float(attention.negative_share(trained.scores, trained.mask)))
    assert shares[0] == 0
    assert gaps[0] < 1e-12
    assert shares == sorted(shares)
    assert gaps == sorted(gaps)
    assert gaps[-1] > 1e-6


def test_the_loss_lowers_the_negative_share_and_attention_does_not_vanish() -> None:
    without, _ = attention_of(train(replace(SMALL, non_negativity=0.0)))
    share, size = attention_of(train(SMALL))
    assert share < 0.02
    assert without > 5 * share + 0.02
    assert size > 0.05


def test_a_plain_hinge_without_bias_would_shrink_the_attention() -> None:
    """Guards the reason for the scale-free form: the ratio does not change when A is scaled, the hinge does."""
    scores = torch.randn(4, 2, 8)
    mask = torch.ones(4, 8)
    ratio = attention.negative_share(scores, mask)
    torch.testing.assert_close(attention.negative_share(scores * 1e-3, mask), ratio)
    _, hinged = attention_of(train(replace(SMALL, non_negativity=0.0), hinge=True))
    _, free = attention_of(train(SMALL))
    assert hinged < free


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


def test_the_target_changes_which_events_count() -> None:
    """Attention, not pooling: the weights over one history differ between targets after training."""
    built = train(SMALL)
    batch = data().validation.batch(np.arange(40))
    other = batch._replace(item=batch.item.roll(1))
    with torch.no_grad():
        here, there = built.predict(batch), built.predict(other)
    assert (here.scores - there.scores).abs().mean() > 0.1 * here.scores.abs().mean()


def test_full_rank_identity_compression_is_exact_linear_attention() -> None:
    config = replace(SMALL, rank=LENGTH)
    built = model(config).double()
    with torch.no_grad():
        built.down.copy_(torch.eye(LENGTH))
        built.up.copy_(torch.eye(LENGTH))
        events, count = torch.randn(3, LENGTH, 8, dtype=torch.float64), torch.tensor([LENGTH, 5, 1])
        mask = attention.prefix_mask(count, LENGTH).double()
        target = torch.randn(3, 4, 8, dtype=torch.float64)
        served = attention.attend(attention.split_heads(built.query(target), 2), built.absorb(events, mask, count))
        expected = torch.zeros_like(served)
        for user, head in np.ndindex(3, 2):
            part = slice(4 * head, 4 * head + 4)
            n = int(count[user])
            q, k, v = (
                layer(x)[:, part]
                for layer, x in (
                    (built.query, target[user]),
                    (built.key, events[user, :n]),
                    (built.value, events[user, :n]),
                )
            )
            expected[user, :, part] = (q @ k.T / math.sqrt(4) + built.bias[head]) @ v / n
    torch.testing.assert_close(served, expected, rtol=1e-10, atol=1e-12)


def test_segment_pooling_averages_and_broadcasts_back() -> None:
    down, up = attention.segment_pooling(64, 8)
    torch.testing.assert_close(down.sum(dim=1), torch.ones(8))
    torch.testing.assert_close(up.sum(dim=1), torch.ones(64))
    torch.testing.assert_close(up @ down @ up, up)
    edges = attention.segment_edges(64, 8).tolist()
    assert edges[0] == 0
    assert edges[-1] == 64
    widths = np.diff(edges)
    assert (widths >= 1).all()
    assert (np.diff(widths) >= -1).all()
    assert attention.segment_edges(4, 4).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"rank must lie in 1\.\.4"):
        attention.segment_edges(4, 5)


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


def test_the_loss_waits_then_grows_linearly() -> None:
    config = replace(SMALL, non_negativity=0.4, warm_up=0.1)
    weights = [non_negativity_weight(config, done) for done in (0.0, 0.1, 0.15, 0.2, 0.9)]
    assert weights == pytest.approx([0.0, 0.0, 0.2, 0.4, 0.4])


def test_served_modules_hold_no_randomness_in_evaluation() -> None:
    histories = histories_of(data())
    users = histories.pop("user_ids")
    for config in (SMALL, replace(SMALL, layout="absorbed")):
        answers = Answers.of(model(config).train(), Rows(users, histories), dtype=torch.float32, stamp=1)
        assert isinstance(answers.encoder, UserEncoder)
        assert isinstance(answers.scorer, SCORERS[config.layout])
        assert not any(module.training for module in (*answers.encoder.modules(), *answers.scorer.modules()))
