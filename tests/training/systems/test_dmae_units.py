"""DMAE's equations, each against a small case by hand."""

import numpy as np
import torch

from tests.training.systems.dmae_models import model
from training.systems.dmae.units import (
    LEVELS,
    CrossAttention,
    Encoding,
    Gate,
    distribution_loss,
    level_of,
    masked_softmax,
    rank_correlation,
)


def test_within_a_bucket_the_discrete_vector_is_proportional_to_the_scaled_similarity() -> None:
    encoding = Encoding(4, 8, 8)
    with torch.no_grad():
        encoding.scale.fill_(0.9)
        encoding.offset.fill_(0.05)
        bucket, scaled, vectors = encoding.bucket(), encoding.scaled(), encoding.discrete()
    assert bucket.unique().tolist() == [0, 1, 2]
    torch.testing.assert_close(bucket, (scaled.double() * 3).floor().long())
    for number in range(3):
        inside = bucket == number
        unit = vectors[inside] / scaled[inside][:, None]
        torch.testing.assert_close(unit, encoding.buckets.weight[number].expand_as(unit))


def test_a_scaled_similarity_stays_between_nothing_and_the_last_bucket() -> None:
    """Whatever scale and offset become, no index leaves the table."""
    encoding = Encoding(4, 8, 8)
    with torch.no_grad():
        encoding.scale.fill_(2.0)
        encoding.offset.fill_(-0.5)
        scaled, bucket = encoding.scaled(), encoding.bucket()
        torch.testing.assert_close(scaled, (2 * torch.arange(LEVELS + 1) / LEVELS - 0.5).clamp(0, 1))
        assert (bucket.min(), bucket.max()) == (0, 3)
        assert not encoding.discrete()[: LEVELS // 4].any()


def test_no_precision_decides_a_bucket() -> None:
    """Boundaries lie on a grid of whole numbers, so fp32 and fp64 agree where a product would be rounded."""
    random = torch.Generator().manual_seed(0)
    for _ in range(200):
        encoding = Encoding(32, 2, 2)
        with torch.no_grad():
            encoding.scale.copy_(0.5 + torch.rand((), generator=random))
            encoding.offset.copy_(0.3 * torch.rand((), generator=random) - 0.2)
        fp32 = encoding.bucket()
        assert torch.equal(fp32, encoding.double().bucket())
    table = model().content.text
    order = torch.randperm(384, generator=random)
    product, shuffled = table @ table.T, table[:, order] @ table[:, order].T
    assert torch.equal(product, shuffled), "products on the grid are exact in any order"
    assert torch.equal(product.double(), table.double() @ table.double().T)
    assert torch.equal(level_of(product), level_of(product.double()))


def test_cross_attention_is_the_softmax_over_the_other_modality_written_out() -> None:
    torch.manual_seed(0)
    fusion = CrossAttention(4)
    own, other, mask = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.tensor([[1.0, 1, 0], [0, 0, 0]])
    other = other * mask[:, :, None]
    found = fusion(own, other, mask)
    for j in range(3):
        query = fusion.query(own[0, j])
        scores = torch.stack([query @ fusion.key(other[0, i]) / 2 for i in range(2)])
        summed = sum(weight * fusion.value(other[0, i]) for i, weight in enumerate(torch.softmax(scores, 0)))
        torch.testing.assert_close(found[0, j], fusion.norm(own[0, j] + summed))
    torch.testing.assert_close(found[1], fusion.norm(own[1]))


def test_the_gate_opens_on_the_same_event_and_lets_in_the_mean_of_all() -> None:
    """g = sigmoid(W [h_1; h_2; h_1 h_2] + b), f_1 = LN(h_1 + g W' [h_2; mean of h_2 over what is there])."""
    torch.manual_seed(0)
    fusion = Gate(4)
    own, other, mask = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.tensor([[1.0, 1, 0], [0, 0, 0]])
    other = other * mask[:, :, None]
    found = fusion(own, other, mask)
    mean = (other[0, 0] + other[0, 1]) / 2
    for j in range(3):
        beside = torch.cat([own[0, j], other[0, j], own[0, j] * other[0, j]])
        gate = 1 / (1 + torch.exp(-(fusion.gate.weight @ beside + fusion.gate.bias)))
        let_in = gate * (fusion.value.weight @ torch.cat([other[0, j], mean]))
        torch.testing.assert_close(found[0, j], fusion.norm(own[0, j] + let_in))
    torch.testing.assert_close(found[1], fusion.norm(own[1]))


def test_a_distribution_of_one_event_has_no_loss() -> None:
    decoded, similarity = torch.randn(3, 4), torch.rand(3, 4)
    mask = torch.tensor([[0.0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 1]])
    loss = distribution_loss(decoded, similarity, mask, 0.1)
    assert loss[:2].tolist() == [0, 0]
    there = [0, 1, 3]
    p, q = torch.softmax(similarity[2, there] / 0.1, 0), torch.softmax(decoded[2, there], 0)
    torch.testing.assert_close(loss[2], (p * (p / q).log()).sum())
    assert not masked_softmax(decoded, mask)[0].any()


def test_rank_correlation_is_spearman_s() -> None:
    """Pearson's of the ranks, ties getting their mean."""
    one = torch.tensor([[3.0, 1, 3, 2, 9, -9], [1, 1, 1, 1, 5, 5]])
    other = torch.tensor([[0.1, 0.4, 0.3, 0.2, 0, 0], [1.0, 2, 3, 4, 0, 0]])
    mask = torch.tensor([[1.0, 1, 1, 1, 0, 0]] * 2)
    ranks = np.array([[3.5, 1, 3.5, 2], [1, 4, 3, 2]])
    found = rank_correlation(one, other, mask)
    np.testing.assert_allclose(found[0].item(), np.corrcoef(ranks)[0, 1], rtol=1e-6)
    assert found[1].isnan()
