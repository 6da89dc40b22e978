"""Picture of what an answer costs by the number of answers before it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from recserve.studies.tracing_cost.bench import WAYS

LABELS = {
    "step": "one answer into the state",
    "ask": "one question of the state",
    "whole": "one question of all answers",
}
_STYLES = ("-", "--", ":")


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A panel for each way, a line for each model; the suffix says the format."""
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    panels = figure.subplots(1, len(WAYS), sharey=True)
    models = [*dict.fromkeys(row["model"] for row in rows)]
    for axes, way in zip(panels, WAYS, strict=True):
        for number, model in enumerate(models):
            own = sorted((row["answers"], row["cpu_ms"]) for row in rows if (row["model"], row["way"]) == (model, way))
            lengths, cost = zip(*own, strict=True)
            style = _STYLES[number // 10 % len(_STYLES)]
            axes.plot(lengths, cost, f"o{style}", markersize=4, color=f"C{number % 10}", label=model)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(LABELS[way], fontsize=10)
        axes.set_xlabel("answers before")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
    panels[0].set_ylabel("CPU ms, one thread")
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)
