"""Tables of the results on data sets with scenarios: AUC within each, by how often training met a cell, with one
scenario made sparse; and what two graphs cost."""

import json
from pathlib import Path
from typing import Any

from loadtest import RESULTS
from loadtest.published import table
from recserve import results
from recserve.results import Result, cell, spread
from training.registry import SYSTEMS
from training.systems.gsvr.evaluation import CELLS
from training.tasks.click import CLICK

_AUC = "auc "
_EARLIER = " after "
"""Of a metric of an earlier stage, in which hardly any system has trained what answers."""


def markdown() -> str:
    """GitHub tables: one by scenario for each data set, then one by the cells of users."""
    found = [one for system in SYSTEMS.values() if system.task is CLICK for one in results.of_system(system)]
    sets = sorted({one.dataset for one in found if "s_gauc" in one.test})
    tables = [_by_scenario([one for one in found if one.dataset == name and "s_gauc" in one.test]) for name in sets]
    cells = [one for one in found if CELLS[-1][0] in one.test]
    return "\n\n".join(
        [
            *tables,
            _by_cell(cells),
            _sparse(_read("sparse-scenario")),
            _cost(_read("sfpnet-cost")),
        ]
    )


def _read(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text())


def _sparse(result: dict[str, Any]) -> str:
    metrics = [name for name in next(iter(result["test"].values())) if name.startswith(_AUC)]
    kept = f"{result['dataset']}, {result['share']:.0%} of scenario {result['sparse']} in training"
    header = [kept, "AUC", *(name.replace(_AUC, "AUC, ", 1) for name in metrics), "AUC, unseen"]
    rows = [
        [name, *(cell(spread(one[metric])) for metric in ("auc", *metrics, "auc_unseen"))]
        for name, one in result["test"].items()
    ]
    return "\n".join(table(header, rows))


def _cost(result: dict[str, Any]) -> str:
    names = list(result["rows"][0])
    header = ["SFPNet, candidates of a request", *names[1:]]
    return "\n".join(table(header, [[str(row[name]) for name in names] for row in result["rows"]]))


def _by_scenario(found: list[Result]) -> str:
    names = sorted(
        {metric for one in found for metric in one.test if metric.startswith(_AUC) and _EARLIER not in metric}
    )
    header = [
        found[0].dataset,
        "S-GAUC",
        *(name.replace("auc ", "AUC, ", 1) for name in names),
        "AUC, cold",
        "AUC, unseen",
    ]
    metrics = ["s_gauc", *names, "auc_cold", "auc_unseen"]
    return "\n".join(table(header, [[one.name, *_figures(one, metrics)] for one in found]))


def _by_cell(found: list[Result]) -> str:
    header = ["training samples of the user in the scenario", "data", *(name for _, name, _, _ in CELLS)]
    rows = []
    for dataset in sorted({one.dataset for one in found}):
        own = [one for one in found if one.dataset == dataset]
        rows += [["test samples", dataset, *_samples(own)]]
        rows += [[one.name, dataset, *_figures(one, [metric for metric, *_ in CELLS])] for one in own]
    return "\n".join(table(header, rows))


def _samples(found: list[Result]) -> list[str]:
    """Of each column, from a result that says it; they are the data set's."""
    names = [metric.replace("auc", "samples", 1) for metric, *_ in CELLS]
    said = next((one.test for one in found if names[0] in one.test), None)
    return [f"{said[name]['mean']:,.0f}" if said else "" for name in names]


def _figures(one: Result, metrics: list[str]) -> list[str]:
    return [cell(one.test.get(name)) for name in metrics]
