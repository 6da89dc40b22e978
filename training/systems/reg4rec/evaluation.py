"""How well the list of items ranks the one that was chosen, and how consistent paths are, with and without pruning."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.sequences import SequenceBatch, SequenceSplit
from training.ranking_metrics import CUTOFFS, ranking_quality
from training.system import Split
from training.systems.reg4rec.decode import Decoded, Search, decode
from training.systems.reg4rec.model import Reg4Rec
from training.systems.reg4rec.ranking import ranked

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
        module, config = self.module, self.module.config
        target = batch.targets.gather(1, batch.length[:, None] - 1)[:, 0]
        encoded = module.generator.encode(batch.items, batch.length)
        theta = torch.full(target.shape, self.theta, device=target.device)
        decoded = decode(module.generator, encoded, theta, Search(config.beams, config.over, module.catalogue()))
        best = decoded.categories[:, 0]
        agreement = (best[:, 1:] == best[:, :-1]).float().mean(1)
        step_hit = (decoded.codes[:, 0] == module.codes[target]).sum(1)
        columns = (self._rank(decoded, batch.items, target), decoded.considered, decoded.pruned, agreement, step_hit)
        return torch.stack([column.float() for column in columns], 1)

    def _rank(
        self, decoded: Decoded, history: Int64[Tensor, "B L"], target: Int64[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        """Place of the target in the list, inf where it is not in it."""
        found = ranked(decoded, self.module.catalogue(), history, max(CUTOFFS), self.module.config.merge)
        hit = found.items == target[:, None]
        places = torch.arange(1.0, max(CUTOFFS) + 1, device=target.device)
        return torch.where(hit, places, torch.inf).amin(1)


def measure(module: Reg4Rec, predict: Callable[..., np.ndarray], split: Split, theta: float) -> Found:
    """All users of a split at one theta."""
    ranks, considered, pruned, agreement, step_hit = predict(_Measure(module, theta), split, batch_size=_BATCH).T
    share = float(pruned.sum() / max(1.0, considered.sum()))
    return Found(ranking_quality(ranks), share, float(agreement.mean()), float(step_hit.mean()))


def evaluate(module: Reg4Rec, predict: Callable[..., np.ndarray], split: SequenceSplit) -> dict[str, float]:
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
