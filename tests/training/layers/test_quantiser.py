"""Codebooks choose by direction or distance, learn through the index straight-through, and give up no word."""

import math

import pytest
import torch
from torch.nn import functional

from training.layers.quantiser import (
    Codebooks,
    first_best,
    index_straight_through,
    kmeans,
    look_up,
    score,
    value_straight_through,
    vq_loss,
    weigh,
)


def latents(count: int = 32, books: int = 3, width: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, books, width, generator=torch.Generator().manual_seed(seed))


def codebooks(words: int = 10, metric: str = "cosine") -> Codebooks:
    torch.manual_seed(1)
    return Codebooks(3, words, 8, "l2" if metric == "l2" else "cosine")


def test_the_cosine_quantiser_takes_the_word_of_the_largest_cosine() -> None:
    books, z = codebooks(), latents()
    chosen = books(z)
    for item in range(len(z)):
        for book in range(3):
            cosines = [functional.cosine_similarity(z[item, book], word, dim=0).item() for word in books.words[book]]
            assert chosen.codes[item, book] == max(range(10), key=cosines.__getitem__)
            assert chosen.scores[item, book].tolist() == pytest.approx(cosines, abs=1e-6)
    assert torch.equal(chosen.words, torch.stack([books.words[b][chosen.codes[:, b]] for b in range(3)], dim=1))


def test_cosine_codes_do_not_change_with_the_scale_of_latents_or_words() -> None:
    books, z = codebooks(), latents(200)
    codes = books(z).codes
    assert torch.equal(books(3.7 * z).codes, codes)
    with torch.no_grad():
        books.words.mul_(torch.rand(3, 10, 1) * 5 + 0.1)
    assert torch.equal(books(z).codes, codes)


def test_the_l2_quantiser_takes_the_nearest_word_and_does_see_scale() -> None:
    books, z = codebooks(metric="l2"), latents(200)
    distances = (z[:, :, None] - books.words[None]).square().sum(-1)
    assert torch.equal(books(z).codes, distances.argmin(-1))
    torch.testing.assert_close(books(z).scores, -distances, rtol=1e-4, atol=1e-4)
    assert not torch.equal(books(0.1 * z).codes, books(z).codes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_among_equal_words_the_lowest_index_wins(metric: str, dtype: torch.dtype) -> None:
    words = 37
    books = codebooks(words, metric).to(dtype)
    with torch.no_grad():
        books.words[:, 20:] = books.words[:, :17]  # copies of the first ones, behind them
    codes = books(latents(2000).to(dtype)).codes
    assert (codes < 20).all()
    assert len(codes.unique()) == 20
    assert first_best(torch.tensor([1.0, 2.0, 2.0 + 1e-7, -torch.inf], dtype=dtype)) == (
        1 if dtype == torch.float32 else 2
    )


def test_the_index_straight_through_is_one_hot_forward_and_reaches_every_word_backward() -> None:
    books, z = codebooks(), latents().requires_grad_()
    chosen = books(z)
    index = index_straight_through(chosen.scores, chosen.codes, 0.1)
    assert (index - functional.one_hot(chosen.codes, 10)).abs().max() < 1e-6
    table = torch.randn(3, 10, 5)
    out = weigh(index, table)
    torch.testing.assert_close(out, look_up(table, chosen.codes), rtol=1e-5, atol=1e-5)
    (out * torch.randn_like(out)).sum().backward()
    assert z.grad is not None
    assert books.words.grad is not None
    assert (books.words.grad.abs().sum(-1) > 0).all()
    assert (z.grad.abs().sum(-1) > 0).all()


def test_a_detached_one_hot_in_its_place_stops_the_gradient() -> None:
    books, z = codebooks(), latents().requires_grad_()
    chosen = books(z)
    hard = functional.one_hot(chosen.codes, 10).float()
    assert not weigh(hard, torch.randn(3, 10, 5)).requires_grad


def test_the_value_straight_through_gives_the_codebook_no_gradient() -> None:
    books, z = codebooks(), latents().requires_grad_()
    words = books(z).words
    out = value_straight_through(z, words)
    torch.testing.assert_close(out, words)
    out.square().sum().backward()
    assert books.words.grad is None or not books.words.grad.any()
    assert z.grad is not None
    assert z.grad.any()


def test_the_vq_loss_is_the_printed_sum_and_sends_each_gradient_its_way() -> None:
    z, words = latents(1, 2, 2).requires_grad_(), latents(1, 2, 2, seed=5).requires_grad_()
    cosine = functional.cosine_similarity(z, words, dim=-1)
    assert vq_loss(z, words, "cosine").item() == pytest.approx((1.25 * (1 - cosine).sum()).item(), abs=1e-6)
    value = vq_loss(z, words, "l2")
    assert value.item() == pytest.approx((1.25 * (z - words).square().sum()).item(), rel=1e-5)
    value.backward()
    assert words.grad is not None
    assert z.grad is not None
    torch.testing.assert_close(z.grad, -0.25 * words.grad)


def test_kmeans_finds_planted_clusters_and_the_same_seed_the_same_words() -> None:
    centres = 5 * functional.one_hot(torch.arange(6), 8).float()
    member = torch.arange(300) % 6
    points = (centres[member] + 0.05 * torch.randn(300, 8, generator=torch.Generator().manual_seed(3)))[:, None]
    torch.manual_seed(0)
    words = kmeans(points, 12, "l2")
    nearest = (points[:, 0, None] - words).square().sum(-1)
    assert nearest.min(1).values.max() < 0.2
    torch.manual_seed(0)
    assert torch.equal(words, kmeans(points, 12, "l2"))


def test_kmeans_gives_distinct_words_where_there_are_fewer_latents_than_words() -> None:
    words = kmeans(latents(4, 1), 10, "cosine")
    assert words.shape == (1, 10, 8)
    assert len(words[0].unique(dim=0)) == 10


def test_words_that_no_step_used_are_put_where_items_are() -> None:
    books, z = codebooks(), latents()
    kept = books.words.detach().clone()
    books.count(torch.tensor([[0, 1, 2], [0, 1, 3]]))
    books.count(torch.tensor([[4, 1, 2], [0, 5, 3]]))
    assert books.is_due(2)
    assert not books.is_due(3)
    replaced = books.reseed(z)
    used = torch.zeros(3, 10, dtype=torch.bool)
    for book, words in enumerate(([0, 4], [1, 5], [2, 3])):
        used[book, words] = True
    assert torch.equal(replaced, ~used)
    assert torch.equal(books.words[used], kept[used])
    for book in range(3):
        fresh = books.words[book][~used[book]]
        assert all((z[:, book] == word).all(1).any() for word in fresh)
    assert not books.is_due(1)
    assert not books.used.any()


def test_a_codebook_of_one_word_is_refused() -> None:
    with pytest.raises(ValueError, match="words is 1"):
        Codebooks(3, 1, 8, "l2")


def test_a_zero_latent_leaves_a_bounded_gradient() -> None:
    z = latents(4)
    z[0] = 0
    z.requires_grad_()
    books = codebooks()
    chosen = books(z)
    (chosen.scores.sum() + vq_loss(z, chosen.words, "cosine")).backward()
    assert z.grad is not None
    assert z.grad[0].abs().max() < 10 * z.grad[1:].abs().max()
    assert z.grad[0].any()


def test_a_zero_latent_has_a_score_of_zero_and_a_code() -> None:
    scores = score(torch.zeros(1, 3, 8), codebooks().words, "cosine")
    assert not scores.any()
    assert first_best(scores).tolist() == [[0, 0, 0]]
    assert not math.isnan(scores.sum().item())
