"""CSMF and its controls from recorded results: figures of each objective stage by stage, and who owns the weights.

A result that was not recorded leaves a gap.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from loadtest.published import table
from recserve import results
from training.systems.csmf import SYSTEM, Config
from training.systems.csmf.config import Way
from training.systems.csmf.stages import asked

DATASETS = ("kuairand", "ml-100k-objectives")
WAYS: dict[Way, str] = {
    "masks": "CSMF",
    "naive": "fine-tuned without masks",
    "mixed": "all objectives at once",
    "last": "last objective alone",
    "towers": "a narrow pair of towers each",
}
METRICS = ("recall50", "ndcg50")
_OWNED, _AFTER = " owned by ", " after "


class Course(NamedTuple):
    """What a system reached after each stage."""

    result: results.Result
    stages: tuple[str, ...]
    """The earlier ones by name, then "", the end."""
    objectives: tuple[str, ...]

    def figure(self, metric: str, objective: str, stage: str) -> dict[str, float]:
        """Mean and std of an objective's metric, in the list that asks for it, or, before its turn, in the one that
        there is."""
        test, end = self.result.test, _AFTER + stage if stage else ""
        own = asked(metric, objective) + end
        return test[own if own in test else f"{metric} of {objective}{end}"]

    @property
    def owned(self) -> dict[str, list[float]]:
        """Layer -> the mean share of each objective at the end; empty for a control."""
        shares = {name: value["mean"] for name, value in self.result.test.items() if _OWNED in name}
        layers = dict.fromkeys(name.split(_OWNED)[0] for name in shares)
        return {layer: [shares[f"{layer}{_OWNED}{one}"] for one in self.objectives] for layer in layers}


def recorded(dataset: str, ways: Sequence[Way] = (*WAYS,)) -> dict[Way, Course]:
    """The ways that were recorded on a data set."""
    found: dict[Way, Course] = {}
    for way in ways:
        name = results.named(SYSTEM.name, SYSTEM.variant(replace(Config(), way=way)))
        if result := results.read(SYSTEM.task.name, dataset, name):
            found[way] = _course(result)
    return found


def _course(result: results.Result) -> Course:
    start, end = asked("recall50", "|").split("|")
    at_end = [name for name in result.test if name.startswith(start) and name.endswith(end)]
    # What a run measures is in the order of its stages, what is later named by a stage comes behind.
    stages = dict.fromkeys(name.split(_AFTER, 1)[1] for name in result.test if _AFTER in name)
    objectives = tuple(name.removeprefix(start).removesuffix(end) for name in at_end)
    return Course(result, (*stages, ""), objectives)


def markdown() -> str:
    """GitHub tables: each objective's figures at the end, mean and standard deviation over seeds, and what the first
    had after its own stages."""
    return "\n\n".join(_table(dataset, found) for dataset in DATASETS if (found := recorded(dataset)))


def _table(dataset: str, found: dict[Way, Course]) -> str:
    names = next(iter(found.values())).objectives
    header = [dataset, *(f"{metric} of {name}" for metric in METRICS for name in names)]
    header.append(f"recall50 of {names[0]} before the others")
    rows = []
    for way, course in found.items():
        cells = [results.cell(course.figure(metric, name, "")) for metric in METRICS for name in names]
        earlier = [stage for stage in course.stages if stage.split(",")[0] == names[0]]
        cells.append(results.cell(course.figure("recall50", names[0], earlier[-1])) if earlier else "")
        rows.append([WAYS[way], *cells])
    return "\n".join(table(header, rows))
