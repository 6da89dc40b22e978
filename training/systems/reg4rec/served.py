"""REG4Rec's served computation: histories packed over a batch -> ranked items, in one graph of M unrolled steps.

Legend: B requests, H history items packed over them, L longest history that is read, K beams, M codebooks.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.layers.histories import newest
from training.servable import NO_SCORE, Packed
from training.systems.reg4rec.decode import Decoded, Search, decode
from training.systems.reg4rec.model import Reg4Rec
from training.systems.reg4rec.ranking import Ranked, ranked


class Recommender(nn.Module):
    """History -> the items of its K best sets of tokens, and how they came about."""

    def __init__(self, model: Reg4Rec) -> None:
        super().__init__()
        config = model.config
        self.generator, self.catalogue = model.generator, model.catalogue()
        self.length, self.top = config.max_length, config.beams
        self.merge: Literal["logsumexp", "max"] = config.merge
        self.search = Search(config.beams, config.over, self.catalogue)

    def forward(
        self, history: Int[Tensor, " H"], history_offsets: Int[Tensor, " B"], theta: Float[Tensor, "B 1"]
    ) -> Packed:
        """Items [B, K], scores [B, K], paths [B, K, M, 2], categories [B, K, M], pruned share [B, 1].

        An empty history is one unknown item, which is the least that training has. A theta outside 0..1, and a history
        that holds a negative id in the part that is read, are answered with NaN, never with a plausible score.
        """
        items, length = newest(history, history_offsets, self.length)
        return self.answer(items, length.clamp(min=1), theta[:, 0])

    def answer(self, items: Int[Tensor, "B L"], length: Int[Tensor, " B"], share: Float[Tensor, " B"]) -> Packed:
        """The outputs for padded histories."""
        decoded = decode(self.generator, self.generator.encode(items, length), share, self.search)
        found = ranked(decoded, self.catalogue, items, self.top, self.merge)
        possible = (items >= 0).all(1) & (share >= 0) & (share <= 1)
        scores = torch.where(found.items > 0, found.scores, NO_SCORE)
        considered = decoded.considered.clamp(min=1)
        pruned = torch.where(possible, decoded.pruned / considered, torch.nan)
        return (
            found.items,
            torch.where(possible[:, None], scores, torch.nan),
            *explained(decoded, found, self.generator.sizes.words),
            pruned[:, None],
        )


def explained(decoded: Decoded, found: Ranked, words: int) -> tuple[Int[Tensor, "B K M 2"], Int[Tensor, "B K M"]]:
    """Of every listed item: codebook and word of each token in the order of choice, and the category expected after
    it; -1 for no item."""
    beam = found.beams.unsqueeze(2).expand(-1, -1, decoded.tokens.shape[2])
    there = beam >= 0
    tokens, categories = (part.gather(1, beam.clamp(min=0)) for part in (decoded.tokens, decoded.categories))
    paths = torch.stack((tokens // words, tokens % words), 3)
    return torch.where(there.unsqueeze(3), paths, -1), torch.where(there, categories, -1)
