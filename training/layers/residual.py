"""Residual quantisation: each level's words quantise what the levels before leave over.

After Zeghidour et al., "SoundStream", 2021, https://arxiv.org/abs/2107.03312.

Legend: B latents, L levels, K words of a level, d width of latents and words.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.layers.experts import squared_error
from training.layers.quantiser import COMMITMENT, Codebooks, Quantised


class ResidualLevels(nn.ModuleList):
    """L levels of one codebook each."""

    def __init__(self, levels: int, words: int, width: int) -> None:
        super().__init__(Codebooks(1, words, width, "l2") for _ in range(levels))

    @property
    def books(self) -> Iterator[Codebooks]:
        """The codebooks in order."""
        for level in self:
            assert isinstance(level, Codebooks)
            yield level

    def forward(self, latent: Float[Tensor, "B d"]) -> list[tuple[Tensor, Quantised]]:
        """Of each level the residual [B, 1, d] that it gets, and what it makes of it."""
        found, residual = [], latent[:, None]
        for level in self.books:
            chosen = level(residual)
            found.append((residual, chosen))
            # No gradient to the words of the levels before: each has a loss of its own.
            residual = residual - chosen.words.detach()
        return found

    @torch.no_grad()
    def start(self, latent: Float[Tensor, "B d"]) -> None:
        """Words of each level by k-means over the residuals that are left to it."""
        residual = latent[:, None]
        for level in self.books:
            level.start(residual)
            residual = residual - level(residual).words

    def count(self, found: list[tuple[Tensor, Quantised]]) -> None:
        """Counts a training step and the words that it used."""
        for level, (_, chosen) in zip(self.books, found, strict=True):
            level.count(chosen.codes)

    @torch.no_grad()
    def follow(self, found: list[tuple[Tensor, Quantised]], rate: float) -> None:
        """Moves each word by `rate` of the way to the mean of the residuals that took it; of all processes together."""
        for level, (residual, chosen) in zip(self.books, found, strict=True):
            number = level.words.shape[1]
            sums = torch.zeros_like(level.words[0]).index_add_(0, chosen.codes[:, 0], residual[:, 0])
            sizes = torch.bincount(chosen.codes[:, 0], minlength=number)[:, None].to(sums.dtype)
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.all_reduce(sums)
                torch.distributed.all_reduce(sizes)
            gap = sums / sizes.clamp(min=1) - level.words[0]
            level.words[0] += rate * torch.where(sizes > 0, gap, 0)

    @torch.no_grad()
    def reseed(self, latent: Float[Tensor, "B d"], every: int) -> None:
        """Where it is time, unused words become residuals of this batch, level after level."""
        residual = latent[:, None]
        for level in self.books:
            if level.is_due(every):
                level.reseed(residual)
            residual = residual - level(residual).words


def sum_of_words(found: list[tuple[Tensor, Quantised]]) -> Float[Tensor, "B d"]:
    """The latent that the levels together stand for."""
    return torch.cat([chosen.words for _, chosen in found], dim=1).sum(1)


def commitment(found: list[tuple[Tensor, Quantised]]) -> Float[Tensor, ""]:
    """0.25 ||r - sg(e)||^2, summed over the levels: what is left of `levels_loss` where words follow by themselves."""
    gaps = [squared_error(residual[:, 0], chosen.words[:, 0].detach()) for residual, chosen in found]
    return COMMITMENT * torch.stack(gaps).sum()


def levels_loss(found: list[tuple[Tensor, Quantised]]) -> Float[Tensor, ""]:
    """||sg(r) - e||^2 + 0.25 ||r - sg(e)||^2, summed over the levels."""
    gaps = [_gap(residual[:, 0], chosen.words[:, 0]) for residual, chosen in found]
    return torch.stack(gaps).sum()


def _gap(residual: Float[Tensor, "B d"], words: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
    return squared_error(residual.detach(), words) + COMMITMENT * squared_error(residual, words.detach())
