"""CROLoss's family and the two towers beside it from recorded results, by N; as a table for docs/results.md too.

A result that was not recorded leaves a gap.
"""

from collections.abc import Mapping

from loadtest.published import table
from recserve import results
from training.systems.croloss import SYSTEM, Config

TARGETS = (20, 50, 100, 200, 500)
"""N of Recall@N."""
DATASETS = ("beauty", "gowalla")
_AUTHORS = {"linear": True, "learning_rate": 0.02, "epochs": 10}
LOSSES = {
    "softmax of the sample (exp, alpha 1)": Config(kernel="exp"),
    "softplus, alpha 1": Config(),
    "softplus, Lambda method": Config(decoupled=True),
    "sigmoid, alpha 1": Config(kernel="sigmoid"),
    "sigmoid, alpha 0.6": Config(kernel="sigmoid", alpha=0.6),
    "sigmoid, alpha 1.4": Config(kernel="sigmoid", alpha=1.4),
    "BPR (softplus, alpha 0)": Config(alpha=0),
    "triplet (hinge, alpha 0)": Config(kernel="hinge", alpha=0),
    "linear towers: sigmoid, alpha 0.6": Config(kernel="sigmoid", alpha=0.6, **_AUTHORS),
    "linear towers: sigmoid, alpha 1.4": Config(kernel="sigmoid", alpha=1.4, **_AUTHORS),
}
TWO_TOWER = "two towers, softmax of the batch"
Recorded = Mapping[str, results.Result]


def recorded(dataset: str) -> dict[str, results.Result]:
    """Loss -> result."""
    names = {loss: results.named(SYSTEM.name, SYSTEM.variant(config)) for loss, config in LOSSES.items()}
    names[TWO_TOWER] = SYSTEM.baseline_of(Config()) or ""
    read = {loss: results.read(SYSTEM.task.name, dataset, name) for loss, name in names.items()}
    return {loss: result for loss, result in read.items() if result is not None}


def markdown() -> str:
    """A GitHub table for each data set: Recall@N of each loss, mean and standard deviation over seeds."""
    return "\n\n".join(_table(dataset, found) for dataset in DATASETS if (found := recorded(dataset)))


def _table(dataset: str, found: Recorded) -> str:
    head = [dataset, *(f"Recall@{target}" for target in TARGETS), "seeds"]
    metrics = [f"recall{target}" for target in TARGETS]
    rows = [
        [loss, *(results.cell(one.test[metric]) for metric in metrics), str(len(one.seeds))]
        for loss, one in found.items()
    ]
    return "\n".join(table(head, rows))
