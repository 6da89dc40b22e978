"""The checks that show that LREA is real: absorption, the non-negativity loss, masks, compression."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.systems.lrea_models import LENGTH, SMALL, data, model, train
from training.systems.lrea import LREA, attention, non_negativity_weight


def attention_of(built: LREA) -> tuple[float, float]:
    """Share of negative mass and mean |A| over the validation part."""
    with torch.no_grad():
        prediction = built.predict(data().validation.batch(np.arange(len(data().validation))))
    mean = (prediction.scores.abs() * prediction.mask[:, None]).sum() / prediction.mask.sum()
    return float(attention.negative_share(prediction.scores, prediction.mask)), float(mean)


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


def test_the_loss_waits_then_grows_linearly() -> None:
    config = replace(SMALL, non_negativity=0.4, warm_up=0.1)
    weights = [non_negativity_weight(config, done) for done in (0.0, 0.1, 0.15, 0.2, 0.9)]
    assert weights == pytest.approx([0.0, 0.0, 0.2, 0.4, 0.4])
