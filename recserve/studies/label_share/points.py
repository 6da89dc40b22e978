"""DGenCTR and its controls from recorded results, by the share of labels; as a table for docs/results.md too.

A result that was not recorded leaves a gap.
"""

from collections.abc import Mapping
from dataclasses import replace

from loadtest.published import table
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
_ABUNDANCE = "abundance"


def recorded(dataset: str) -> dict[str, dict[float, results.Result]]:
    """Way -> share -> result."""
    found = {}
    for way, config in WAYS.items():
        read = {share: _read(dataset, replace(config, labels=share)) for share in SHARES}
        found[way] = {share: result for share, result in read.items() if result is not None}
    return found


def markdown() -> str:
    """GitHub tables: AUC of each way by the share of labels, mean and standard deviation over seeds; then of how many
    directions the fields' vectors are, where that was recorded."""
    found = {dataset: recorded(dataset) for dataset in DATASETS}
    tables = [_table("DGenCTR, AUC on the test part", "auc", found)]
    every = (one for by_way in found.values() for by_share in by_way.values() for one in by_share.values())
    if any(_ABUNDANCE in one.test for one in every):
        tables.append(_table("information abundance of the fields' vectors", _ABUNDANCE, found))
    return "\n\n".join(tables)


def _table(title: str, metric: str, found: Mapping[str, Mapping[str, Mapping[float, results.Result]]]) -> str:
    header = [title, "data", *(f"{share:.0%} of labels" for share in SHARES)]
    rows = [
        [
            way,
            dataset,
            *(_cell(by_share.get(share), metric) for share in SHARES),
        ]
        for dataset, by_way in found.items()
        for way, by_share in by_way.items()
    ]
    return "\n".join(table(header, rows))


def _read(dataset: str, config: GeneratorConfig) -> results.Result | None:
    return results.read(SYSTEM.task.name, dataset, results.named(SYSTEM.name, SYSTEM.variant(config)))


def _cell(result: results.Result | None, metric: str) -> str:
    return results.cell(None if result is None else result.test.get(metric))
