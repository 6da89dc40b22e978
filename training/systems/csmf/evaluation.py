"""How CSMF is judged: as the task judges, all objectives weighed by 1, and each objective by a list that asks for it.

Legend: B users, D width of vectors, N items, O objectives.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.retrieval import RetrievalBatch, RetrievalSplit
from training.system import Predict
from training.systems.csmf.model import CSMF
from training.tasks.retrieval import RETRIEVAL


class Asked(nn.Module):
    """The towers with a weight for each objective."""

    def __init__(self, module: CSMF, alpha: list[float]) -> None:
        super().__init__()
        self.module = module
        self.alpha = torch.tensor([alpha])

    def users(self, batch: RetrievalBatch) -> Float[Tensor, "B D"]:
        users = self.module.users(batch)
        return users * self.module.weighed(self.alpha.to(users))

    def items(self) -> Float[Tensor, "N+1 D"]:
        return self.module.items()


def evaluate(module: CSMF, predict: Predict, split: RetrievalSplit) -> dict[str, float]:
    measured = RETRIEVAL.evaluate(module, predict, split)
    for place, name in enumerate(module.names[: module.objective + 1]):
        alpha = [float(one <= place) for one in range(len(module.names))]
        found = RETRIEVAL.evaluate(Asked(module, alpha), predict, split)
        for metric in ("recall50", "ndcg50"):
            key = f"{metric} of {name}" if split.names else metric
            if key in found:
                measured[f"{metric} of {name}, asked for"] = found[key]
    return measured
