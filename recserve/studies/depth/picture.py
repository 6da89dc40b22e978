"""Picture of the quality against the number of blocks."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from recserve.results import Result
from recserve.studies.depth.points import LAYERS, METRIC

_COLOURS = ("#0b6e99", "#c77f1a")


def draw(found: Mapping[str, Mapping[int, Result]], dataset: str, path: Path) -> None:
    """NDCG@10 with its spread over seeds; the suffix says the format."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    for (way, by_layers), colour in zip(found.items(), _COLOURS, strict=True):
        if by_layers:
            quality = [one.test[METRIC] for one in by_layers.values()]
            axes.errorbar(
                [*by_layers],
                [one["mean"] for one in quality],
                yerr=[one["std"] for one in quality],
                fmt="o-",
                markersize=4,
                capsize=3,
                color=colour,
                label=way,
            )
    axes.set_xscale("log", base=2)
    axes.set_xticks(LAYERS, [str(layers) for layers in LAYERS])
    axes.set_xlabel("blocks of attention and feed-forward")
    axes.set_ylabel("NDCG@10 on the test part")
    seeds = max(len(one.seeds) for of in found.values() for one in of.values())
    axes.set_title(f"HeterRec on {dataset}, {seeds} seed{'s' * (seeds > 1)}", fontsize=12, fontweight="bold")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=120)
