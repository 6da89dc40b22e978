"""`recserve systems`: what can be trained and served, and what it reaches."""

from dataclasses import dataclass

from recserve import results
from recserve.commands.command import Command, show, table
from training.registry import SYSTEMS
from training.system import System, Task

HEAD = ["system", "what", "data", "served"]
METRICS: dict[Task, dict[str, str]] = {
    "click prediction": {"AUC": "auc", "served AUC": "served_auc", "GAUC": "gauc", "log loss": "log_loss"},
    "next item": {
        "recall@5": "recall5",
        "NDCG@5": "ndcg5",
        "recall@10": "recall10",
        "NDCG@10": "ndcg10",
        "NDCG@10 before stage 2": "ndcg10 after supervised",
        "NDCG@10 with CORP": "corp_ndcg10",
        "pruned share": "pruned_share",
    },
    "semantic ids": {
        "utilisation": "utilisation",
        "entropy, nats": "entropy",
        "collisions": "collision_rate",
        "reconstruction loss": "recon_loss",
    },
}
"""Column -> metric, for each task; a system is compared with its baseline by `JUDGES`."""
JUDGES: dict[Task, tuple[str, ...]] = {
    "click prediction": ("AUC", "GAUC"),
    "next item": ("NDCG@10",),
    "semantic ids": ("utilisation",),
}


@dataclass(frozen=True, kw_only=True)
class Systems(Command):
    """List all systems with their published results (mean and standard deviation over seeds)."""

    markdown: bool = False
    """Tables of Markdown, as the documents have them."""

    def run(self) -> int:
        if self.markdown:
            self.console.out(markdown(), highlight=False)
        elif not self.json:
            for task in METRICS:
                rows = [[entry[0].name, entry[0].title, *row(*entry)[2:]] for entry in published(task)]
                show(self.console, table(task, columns(task), rows))
        self.emit([facts(*entry) for task in METRICS for entry in published(task)])
        return 0


def published(task: Task) -> list[tuple[System, str]]:
    """Each system of a task with each data set on which it has a published result, and with its own where it has
    none."""
    return [
        (system, dataset)
        for system in SYSTEMS.values()
        if system.task == task
        for dataset in results.datasets(system.name) or [system.dataset]
    ]


def facts(system: System, dataset: str) -> dict[str, object]:
    """What `row` says, for programs; `test` is {metric: {mean, std}}, empty where nothing was recorded."""
    result = results.read(system.name, dataset)
    return {
        "system": system.name,
        "title": system.title,
        "task": system.task,
        "paper": system.paper,
        "provenance": system.provenance,
        "dataset": dataset,
        "served": bool(system.servables),
        "seeds": result.seeds if result else [],
        "test": result.test if result else {},
        "baseline": system.baseline,
    }


def columns(task: Task) -> list[str]:
    """Of the task's table."""
    return [*HEAD, *METRICS[task], "against its baseline"]


def row(system: System, dataset: str) -> list[str]:
    """One line of the table."""
    result = results.read(system.name, dataset)
    test = result.test if result else {}

    def mean_and_spread(name: str) -> str:
        return f"{test[name]['mean']:.4f} ± {test[name]['std']:.4f}" if name in test else ""

    return [
        system.name,
        f"[{system.title}]({system.paper})" if system.paper else system.title,
        f"{dataset}, {len(result.seeds)} seeds" if result else dataset,
        "yes" if system.servables else "",
        *(mean_and_spread(metric) for metric in METRICS[system.task].values()),
        _margin(system, dataset),
    ]


def _margin(system: System, dataset: str) -> str:
    own = results.read(system.name, dataset)
    if system.baseline is None or own is None:
        return ""
    other = results.read(system.baseline, dataset)
    if other is None:
        return f"{system.baseline}: not measured"
    gains = (
        f"{own.test[metric]['mean'] - other.test[metric]['mean']:+.4f} {name}"
        for name, metric in METRICS[system.task].items()
        if name in JUDGES[system.task]
    )
    return f"{', '.join(gains)} over {system.baseline}"


def markdown() -> str:
    """A GitHub table for each task, and below what each system has from its source."""
    return "\n\n".join([*(_markdown(task) for task in METRICS if published(task)), _provenance()])


def _markdown(task: Task) -> str:
    lines = [columns(task), ["---"] * len(columns(task)), *(row(*entry) for entry in published(task))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _provenance() -> str:
    names: dict[str, list[str]] = {}
    for system in SYSTEMS.values():
        names.setdefault(system.provenance, []).append(system.name)
    return "\n".join(f"- {', '.join(same)}: {provenance}." for provenance, same in names.items())
