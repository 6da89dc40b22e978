"""`recserve study gsvr-cells RUN`: how sure GSVR is of its cells by how often training met them, with a picture."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from recserve import runs
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.corp.command import origin
from training.checkpoint import write_json
from training.data.click import ClickData
from training.systems.gsvr import GSVR

_EDGES = (1, 2, 3, 5, 10, 20, 50, 100, 10**9)
_COLOURS = ("#0b6e99", "#b3261e")


class Bin(NamedTuple):
    """Cells of one side that training met about as often."""

    side: str
    samples: str
    cells: int
    deviation: float
    """Mean deviation along an axis."""
    prior_deviation: float
    """The same of their priors' components, which is where a cell without samples would be."""


@dataclass(frozen=True, kw_only=True)
class GsvrCells(Command):
    """Show the deviation of GSVR's cells by their training samples, and draw it."""

    source: Positional[Path]
    """Folder of a finished run of gsvr."""
    output: Path = STUDY_RESULTS / "gsvr-cells.json"
    """File of the result; the picture lies beside it, as .svg."""

    def __post_init__(self) -> None:
        check_output(self.output)

    def run(self) -> int:
        trained = runs.load(self.source)
        if not isinstance(trained.module, GSVR) or trained.module.config.cells != "variational":
            raise ValueError(f"{self.source} has no distributions; name a run of gsvr that is no control")
        assert isinstance(trained.data, ClickData)
        found = spreads(trained.module)
        bins = [
            one
            for side, (counts, deviations, prior) in found.items()
            for one in binned(side, counts, deviations, prior)
        ]
        result = {"scenario": "gsvr-cells", "kind": "cells", **origin(trained)}
        result["bins"] = [one._asdict() for one in bins]
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(found, f"GSVR, {trained.data.schema.dataset}", picture)
        show(self.console, table("deviation of cells by their training samples", list(Bin._fields), bins))
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


@torch.no_grad()
def spreads(module: GSVR) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """By side: training samples and deviation of each cell that training met, and the deviation of the prior."""
    found = {}
    bases = torch.zeros(module.users.cells.num_entities, module.config.dim), module.host.tables.items()
    for name, side, base in zip(("user", "item"), (module.users, module.items), bases, strict=True):
        cell = torch.nonzero(side.cells.counts)[:, 0]
        entity, scenario = cell // side.cells.num_scenarios, cell % side.cells.num_scenarios
        log_variance = side.posterior(entity, scenario, base[entity]).log_variance
        prior = float((side.prior.log_variance / 2).exp().mean())
        found[name] = side.cells.counts[cell].numpy(), (log_variance / 2).exp().mean(dim=1).numpy(), prior
    return found


def binned(side: str, counts: np.ndarray, deviations: np.ndarray, prior: float) -> list[Bin]:
    """By ranges of the samples; those without cells are left out."""
    found = []
    for least, beyond in pairwise(_EDGES):
        inside = (counts >= least) & (counts < beyond)
        if inside.any():
            said = f"{least}" if beyond == least + 1 else f"{least} to {counts[inside].max()}"
            found.append(Bin(side, said, int(inside.sum()), float(deviations[inside].mean()), prior))
    return found


def draw(found: dict[str, tuple[np.ndarray, np.ndarray, float]], title: str, path: Path) -> None:
    """A point for each cell, the mean of each range of samples, and a line for the prior; the suffix says the format.

    Heights are those of most cells: the few that lie far from the others are outside.
    """
    figure = Figure(figsize=(11.0, 4.2), layout="constrained")
    figure.suptitle(f"Deviation of a cell against its training samples: {title}", fontsize=13, fontweight="bold")
    for axes, (side, (counts, deviations, prior)), colour in zip(
        figure.subplots(1, 2), found.items(), _COLOURS, strict=True
    ):
        axes.scatter(counts, deviations, s=5, alpha=0.25, color=colour, linewidths=0, rasterized=True)
        ranges = [(counts >= least) & (counts < beyond) for least, beyond in pairwise(_EDGES)]
        means = [(counts[one].mean(), deviations[one].mean()) for one in ranges if one.any()]
        axes.plot(*zip(*means, strict=True), "o-", color="#222222", markersize=4, label="mean of a range of samples")
        axes.axhline(prior, color="#555555", linestyle="--", label="components of the prior")
        axes.set(xscale="log", title=f"({side}, scenario)", xlabel="training samples", ylabel="mean deviation")
        low, high = np.quantile([*deviations, *(deviation for _, deviation in means), prior], (0.005, 0.995))
        low, high = min(low, prior), max(high, prior)
        axes.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
