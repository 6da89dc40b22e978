"""DGenCTR and its controls from recorded results, by the share of labels; as a table for docs/results.md too.

A result that was not recorded leaves a gap.
"""

from dataclasses import replace

from recserve import results
from training.systems.dgenctr import SYSTEM, GeneratorConfig

WAYS = {
    "every weight goes on": GeneratorConfig(),
    "embeddings alone": GeneratorConfig(transfer="embeddings"),
    "fixed masks, no label (MFP)": GeneratorConfig(pretraining="fixed"),
    "from scratch": GeneratorConfig(pretraining="none"),
}
SHARES = (0.01, 0.05, 0.1, 1.0)
DATASETS = ("ml-100k", "hin-amazon")


def recorded(dataset: str) -> dict[str, dict[float, results.Result]]:
    """Way -> share -> result."""
    found = {}
    for way, config in WAYS.items():
        read = {share: _read(dataset, replace(config, labels=share)) for share in SHARES}
        found[way] = {share: result for share, result in read.items() if result is not None}
    return found


def markdown() -> str:
    """A GitHub table: AUC of each way by the share of labels, mean and standard deviation over seeds."""
    header = ["DGenCTR, AUC on the test part", "data", *(f"{share:.0%} of labels" for share in SHARES)]
    rows = []
    for dataset in DATASETS:
        for way, by_share in recorded(dataset).items():
            rows.append([way, dataset, *(_cell(by_share.get(share)) for share in SHARES)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows])


def _read(dataset: str, config: GeneratorConfig) -> results.Result | None:
    return results.read(SYSTEM.task.name, dataset, results.named(SYSTEM.name, SYSTEM.variant(config)))


def _cell(result: results.Result | None) -> str:
    return "" if result is None else f"{result.test['auc']['mean']:.4f} ± {result.test['auc']['std']:.4f}"
