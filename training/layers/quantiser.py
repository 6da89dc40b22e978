"""Vector quantisation: parallel codebooks, straight-through estimators, k-means start, re-seeding of unused words.

Our design where papers print no rule that moves the codebooks; the index straight-through is IBQ's (Shi et al.,
2024, https://arxiv.org/abs/2412.02692), the losses are VQ-VAE's (van den Oord et al., 2017) in cosine or L2 form.

Legend: B items, P codebooks, K words of a codebook, d width of latents and words.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

Metric = Literal["cosine", "l2"]

NORM_EPS = 1e-12
COMMITMENT = 0.25
"""Weight of what pulls latents to their words, against what pulls words to latents."""
KMEANS_LATENTS = 50_000
KMEANS_ROUNDS = 10
_TIE_BITS = {torch.float32: 20, torch.float64: 40}
"""Scores are compared in steps of 2 ** -bits, so that rounding cannot choose between equal words."""


class Quantised(NamedTuple):
    """What codebooks say of latents."""

    codes: Int64[Tensor, "B P"]
    words: Float[Tensor, "B P d"]
    """As they stand in the codebooks; a gradient reaches these words alone."""
    scores: Float[Tensor, "B P K"]
    """Cosine, or minus the squared distance."""


def unit(x: Float[Tensor, "*N d"]) -> Float[Tensor, "*N d"]:
    """x / ||x||; a zero vector stays, with a slope of one (an item may lack what an expert reads)."""
    norm = x.norm(dim=-1, keepdim=True)
    return x / torch.where(norm > NORM_EPS, norm, 1.0)


def score(latents: Float[Tensor, "B P d"], words: Float[Tensor, "P K d"], metric: Metric) -> Float[Tensor, "B P K"]:
    """Larger is nearer: the cosine, or minus the squared L2 distance."""
    if metric == "cosine":
        return _products(unit(latents), unit(words))
    return 2 * _products(latents, words) - words.square().sum(-1) - latents.square().sum(-1, keepdim=True)


def _products(latents: Float[Tensor, "B P d"], words: Float[Tensor, "P K d"]) -> Float[Tensor, "B P K"]:
    return (latents.transpose(0, 1) @ words.transpose(1, 2)).transpose(0, 1)


def first_best(scores: Float[Tensor, "*N K"]) -> Int64[Tensor, "*N"]:
    """Index of the highest score; scores that round to the same multiple of 2 ** -20 (fp64: 2 ** -40) tie, and a tie
    goes to the lowest index."""
    steps = torch.round(scores * 2.0 ** _TIE_BITS[scores.dtype])
    highest = steps == steps.amax(-1, keepdim=True)
    index = torch.arange(scores.shape[-1], device=scores.device)
    return torch.where(highest, index, scores.shape[-1] - 1).amin(-1)


def look_up(words: Float[Tensor, "P K d"], codes: Int64[Tensor, "B P"]) -> Float[Tensor, "B P d"]:
    """The word of each code."""
    books, size, _ = words.shape
    rows = codes + size * torch.arange(books, device=codes.device)
    return nn.functional.embedding(rows, words.flatten(0, 1))


def index_straight_through(
    scores: Float[Tensor, "B P K"], codes: Int64[Tensor, "B P"], temperature: float
) -> Float[Tensor, "B P K"]:
    """One-hot of the codes forward, softmax(scores / temperature) backward: every word and the latents get a
    gradient."""
    soft = torch.softmax(scores / temperature, dim=-1)
    hard = nn.functional.one_hot(codes, scores.shape[-1]).to(soft.dtype)
    return soft + (hard - soft).detach()


def weigh(index: Float[Tensor, "B P K"], table: Float[Tensor, "P K d"]) -> Float[Tensor, "B P d"]:
    """ind @ E of every codebook: E are the words, or another model's embeddings of them."""
    return (index.transpose(0, 1) @ table).transpose(0, 1)


def value_straight_through(latents: Float[Tensor, "*N d"], words: Float[Tensor, "*N d"]) -> Float[Tensor, "*N d"]:
    """z + sg(z_q - z): the words forward, the latents backward; the codebook gets no gradient at all."""
    return latents + (words - latents).detach()


def vq_loss(latents: Float[Tensor, "B P d"], words: Float[Tensor, "B P d"], metric: Metric) -> Float[Tensor, ""]:
    """Words to latents, and 0.25 of latents to words, summed over the codebooks, mean over the batch."""
    return (_gap(latents.detach(), words, metric) + COMMITMENT * _gap(latents, words.detach(), metric)).sum(1).mean()


def _gap(latents: Float[Tensor, "B P d"], words: Float[Tensor, "B P d"], metric: Metric) -> Float[Tensor, "B P"]:
    if metric == "cosine":
        return 1 - (unit(latents) * unit(words)).sum(-1)
    return (latents - words).square().sum(-1)


class Codebooks(nn.Module):
    """P codebooks of K words side by side. Raises ValueError for fewer than 2 words."""

    used: Int64[Tensor, "P K"]
    """Latents that took each word since words were last re-seeded."""
    steps: Int64[Tensor, ""]
    """Training steps since then."""

    def __init__(self, num_books: int, num_words: int, width: int, metric: Metric) -> None:
        super().__init__()
        if num_words < 2:
            raise ValueError(f"words is {num_words}; a codebook needs at least 2")
        self.metric: Metric = metric
        self.words = nn.Parameter(torch.randn(num_books, num_words, width) * width**-0.5)
        self.register_buffer("used", torch.zeros(num_books, num_words, dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, latents: Float[Tensor, "B P d"]) -> Quantised:
        scores = score(latents, self.words, self.metric)
        codes = first_best(scores)
        return Quantised(codes, look_up(self.words, codes), scores)

    @torch.no_grad()
    def start(self, latents: Float[Tensor, "N P d"]) -> None:
        """Words by k-means over at most 50,000 latents."""
        self.words.copy_(kmeans(latents[:KMEANS_LATENTS], self.words.shape[1], self.metric))

    @torch.no_grad()
    def count(self, codes: Int64[Tensor, "B P"]) -> None:
        """Counts a training step and the words that it used."""
        offsets = self.words.shape[1] * torch.arange(codes.shape[1], device=codes.device)
        self.used.add_(torch.bincount((codes + offsets).flatten(), minlength=self.used.numel()).view_as(self.used))
        self.steps.add_(1)

    def is_due(self, every: int) -> bool:
        """Whether `every` steps have passed since words were last re-seeded."""
        return int(self.steps) >= every

    @torch.no_grad()
    def reseed(self, latents: Float[Tensor, "B P d"]) -> Bool[Tensor, "P K"]:
        """Puts random latents of the batch in place of words that no step used since the last time.

        Says which words these were. With several processes all take the first one's words.
        """
        unused = self.used == 0
        books, size = unused.shape
        rows = torch.randint(len(latents), (books, size), device=latents.device)
        fresh = latents[rows, torch.arange(books, device=latents.device)[:, None]]
        self.words.copy_(torch.where(unused[:, :, None], fresh, self.words))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.broadcast(self.words, 0)
        self.used.zero_()
        self.steps.zero_()
        return unused


def kmeans(latents: Float[Tensor, "N P d"], num_words: int, metric: Metric) -> Float[Tensor, "P K d"]:
    """Centres of each codebook's latents after ten rounds from random latents; a centre that loses all stays.

    With fewer latents than words, latents repeat with small noise.
    """
    count, books, width = latents.shape
    order = torch.stack([torch.randperm(count, device=latents.device) for _ in range(books)])
    rows = order.repeat(1, -(-num_words // count))[:, :num_words]
    words = latents[rows, torch.arange(books, device=latents.device)[:, None]]
    if num_words > count:
        words = words + 0.01 * latents.std() * torch.randn_like(words)
    for _ in range(KMEANS_ROUNDS):
        codes = first_best(score(latents, words, metric))
        rows = (codes + num_words * torch.arange(books, device=codes.device)).flatten()
        sums = words.new_zeros(books * num_words, width).index_add_(0, rows, latents.flatten(0, 1))
        sizes = torch.bincount(rows, minlength=books * num_words)[:, None]
        means = (sums / sizes.clamp(min=1)).view_as(words)
        words = torch.where((sizes > 0).view(books, num_words, 1), means, words)
    return words
