"""How CSMF is judged: as the task judges, all objectives weighed by 1, and each objective by a list that asks for it.

Legend: B users, D width of vectors, N items, O objectives.
"""

from jaxtyping import Float
from torch import Tensor, nn

from training.data.retrieval import RetrievalBatch, RetrievalSplit
from training.layers.objective_weights import weigh
from training.system import Predict
from training.systems.csmf.cascaded import Cascaded
from training.systems.csmf.model import CSMF
from training.systems.csmf.stages import asked
from training.tasks.retrieval import RETRIEVAL


class Asked(nn.Module):
    """The towers with a weight for each objective."""

    def __init__(self, module: Cascaded, alpha: tuple[float, ...]) -> None:
        super().__init__()
        self.module, self.alpha = module, alpha

    def users(self, batch: RetrievalBatch) -> Float[Tensor, "B D"]:
        """Vectors, weighed."""
        users = self.module.users(batch)
        return weigh(self.module, users, users.new_tensor([self.alpha]))

    def items(self) -> Float[Tensor, "N+1 D"]:
        """Vectors as they are."""
        return self.module.items()


def evaluate(module: Cascaded, predict: Predict, split: RetrievalSplit) -> dict[str, float]:
    """The task's metrics with a weight of 1 for each objective that was trained; `recall50 of <objective>, asked for`
    and the same of ndcg50, of the targets that served it in a list that asks for it; the shares of weights by owner."""
    trained = module.objective + 1
    measured = RETRIEVAL.evaluate(module, predict, split)
    by_alpha = {(1.0,) * trained: measured}
    further: dict[str, float] = {}
    for place, name in enumerate(module.names[:trained]):
        alpha = module.asked(place)
        if alpha[:trained] not in by_alpha:
            by_alpha[alpha[:trained]] = RETRIEVAL.evaluate(Asked(module, alpha), predict, split)
        found = by_alpha[alpha[:trained]]
        for metric in ("recall50", "ndcg50"):
            own = f"{metric} of {name}" if split.names else metric
            further |= {asked(metric, name): found[own]} if own in found else {}
    return measured | further | (owned(module) if isinstance(module, CSMF) else {})


def owned(module: CSMF) -> dict[str, float]:
    """The share of each layer's weights that an objective has, or would have if training ended here."""
    return {
        f"{layer} owned by {name}": float((owner == place).double().mean())
        for layer, owner in module.owners.items()
        for place, name in enumerate(module.names)
    }
