"""What is measured of a model: the ranker's quality, how well interests find the next item, and what codes leave over.

Legend: B samples, E events, I width of an interest, N items.
"""

import torch
from torch import Tensor, nn

from training.data.click import ClickBatch, ClickSplit
from training.system import Predict
from training.systems.chime.model import CHIME
from training.systems.chime.past import Past
from training.tasks.click import CLICK

_LATENTS = 50_000
"""Events whose quantisation is measured, at most."""


class Judge(nn.Module):
    """Per sample: its logit, and the rank of its item among all by the cosine with the newest interest; 0 where there
    is no history."""

    def __init__(self, model: CHIME, past: Past) -> None:
        super().__init__()
        self.model, self.past = model, past

    def forward(self, batch: ClickBatch) -> Tensor:
        kept = self.model.remembered(batch, self.past)
        logits = self.model.logits(batch, kept)
        adaptation = self.model.compressor.adaptation
        vectors = adaptation.targets(adaptation.parts())[1:]
        scores = kept.interest @ vectors.T
        item = (batch.item - 1).clamp(min=0)
        rank = 1 + (scores > scores.gather(1, item[:, None])).sum(1)
        return torch.stack((logits, torch.where(batch.history_length > 0, rank, 0).to(logits.dtype)), 1)


def evaluate(model: CHIME, predict: Predict, split: ClickSplit) -> dict[str, float]:
    """The task's metrics; `next_mrr`, the mean reciprocal rank of liked items that have a history before them; `left`,
    the share of the interests' spread about their mean that all levels leave."""
    past = model.past if model.past is not None and model.past.source is split.source else Past(split.source)
    logits, rank = predict(Judge(model, past), split).T
    measured = CLICK.evaluate(model, lambda module, part: logits, split)
    found = rank[(split.label > 0) & (rank > 0)]
    measured["next_mrr"] = float((1 / found).mean()) if len(found) else 0.0
    return {**measured, "left": left(model, past)}


@torch.no_grad()
def left(model: CHIME, past: Past, levels: int | None = None) -> float:
    """Share of the spread of all interests that the first `levels` leave over, all of them by default."""
    interests = past.seen(model.compressor).interests[:_LATENTS]
    found = model.compressor.quantised(interests, model.config.levels if levels is None else levels)
    return float((interests - found).square().sum() / (interests - interests.mean(0)).square().sum().clamp(min=1e-12))
