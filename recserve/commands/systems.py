"""`recserve systems`: what can be trained and served, and what it reaches."""

from dataclasses import dataclass

from recserve import results
from recserve.commands.command import Command, show, table
from training.registry import SYSTEMS
from training.system import System

COLUMNS = ["system", "what", "data", "served", "AUC", "served AUC", "GAUC", "log loss", "against its baseline"]


@dataclass(frozen=True, kw_only=True)
class Systems(Command):
    """List all systems with their published results (mean and standard deviation over seeds)."""

    markdown: bool = False
    """As the README's table."""

    def run(self) -> int:
        entries = published()
        if self.markdown:
            self.console.out(markdown([row(*entry) for entry in entries]), highlight=False)
        elif not self.json:
            rows = [[entry[0].name, entry[0].title, *row(*entry)[2:]] for entry in entries]
            show(self.console, table("systems", COLUMNS, rows))
        self.emit([facts(*entry) for entry in entries])
        return 0


def published() -> list[tuple[System, str]]:
    """Each system with each data set on which it has a published result, and with its own where it has none."""
    return [
        (system, dataset)
        for system in SYSTEMS.values()
        for dataset in results.datasets(system.name) or [system.dataset]
    ]


def facts(system: System, dataset: str) -> dict[str, object]:
    """What `row` says, for programs; `test` is {metric: {mean, std}}, empty where nothing was recorded."""
    result = results.read(system.name, dataset)
    return {
        "system": system.name,
        "title": system.title,
        "paper": system.paper,
        "provenance": system.provenance,
        "dataset": dataset,
        "served": bool(system.servables),
        "seeds": result.seeds if result else [],
        "test": result.test if result else {},
        "baseline": system.baseline,
    }


def row(system: System, dataset: str) -> list[str]:
    """One line of the table."""
    result = results.read(system.name, dataset)
    test = result.test if result else {}

    def mean_and_spread(name: str) -> str:
        return f"{test[name]['mean']:.4f} ± {test[name]['std']:.4f}" if name in test else ""

    return [
        system.name,
        f"[{system.title}]({system.paper}); {system.provenance}"
        if system.paper
        else f"{system.title}; {system.provenance}",
        f"{dataset}, {len(result.seeds)} seeds" if result else dataset,
        "yes" if system.servables else "",
        mean_and_spread("auc"),
        mean_and_spread("served_auc"),
        mean_and_spread("gauc"),
        mean_and_spread("log_loss"),
        _margin(system, dataset),
    ]


def _margin(system: System, dataset: str) -> str:
    if system.baseline is None:
        return ""
    own, other = results.read(system.name, dataset), results.read(system.baseline, dataset)
    if own is None or other is None:
        return f"{system.baseline}: not measured"
    return f"{own.test['auc']['mean'] - other.test['auc']['mean']:+.4f} AUC over {system.baseline}"


def markdown(rows: list[list[str]]) -> str:
    """A GitHub table."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
