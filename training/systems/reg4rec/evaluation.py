"""How well the list of items ranks the one that was chosen, and how consistent paths are, with and without pruning."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.sequences import SequenceBatch, SequenceSplit
from training.ranking_metrics import CUTOFFS, ranking_quality
from training.system import Predict, Split
from training.systems.reg4rec.model import Reg4Rec
from training.systems.reg4rec.ranking import ranked
from training.tasks.next_item import place_of

_BATCH = 64


class Found(NamedTuple):
    """What decoding at one theta came to."""

    quality: dict[str, float]
    """As `ranking_quality`."""
    pruned_share: float
    """Of the candidates that were checked."""
    consistency: float
    """Mean share of adjacent steps of the best path that agree in category."""
    step_hit: float
    """Mean number of right tokens of the best path."""


class _Measure(nn.Module):
    """A batch -> of each user: place of the target, candidates checked and pruned, agreement, right tokens."""

    def __init__(self, module: Reg4Rec, theta: float) -> None:
        super().__init__()
        self.module, self.theta = module, theta

    def forward(self, batch: SequenceBatch) -> Float[Tensor, "B 5"]:
        module = self.module
        target = batch.newest_target()
        theta = torch.full(target.shape, self.theta, device=target.device)
        decoded = module.decode(batch.items, batch.length, theta)
        found = ranked(decoded, module.catalogue(), batch.items, max(CUTOFFS), module.config.merge)
        best = decoded.categories[:, 0]
        agreement = (best[:, 1:] == best[:, :-1]).float().mean(1)
        step_hit = (decoded.codes[:, 0] == module.codes[target]).sum(1)
        columns = (place_of(found.items, target), decoded.considered, decoded.pruned, agreement, step_hit)
        return torch.stack([column.float() for column in columns], 1)


def measure(module: Reg4Rec, predict: Predict, split: Split, theta: float) -> Found:
    """All users of a split at one theta."""
    ranks, considered, pruned, agreement, step_hit = predict(_Measure(module, theta), split, batch_size=_BATCH).T
    share = float(pruned.sum() / max(1.0, considered.sum()))
    return Found(ranking_quality(ranks), share, float(agreement.mean()), float(step_hit.mean()))


def evaluate(module: Reg4Rec, predict: Predict, split: SequenceSplit) -> dict[str, float]:
    """Recall and NDCG of plain beam search; the same at 10 with pruning (`corp_`); what pruning did."""
    plain = measure(module, predict, split, 0.0)
    pruned = measure(module, predict, split, module.config.theta) if module.config.theta else plain
    return plain.quality | {
        "corp_recall10": pruned.quality["recall10"],
        "corp_ndcg10": pruned.quality["ndcg10"],
        "pruned_share": pruned.pruned_share,
        "consistency": pruned.consistency,
        "step_hit": pruned.step_hit,
    }
