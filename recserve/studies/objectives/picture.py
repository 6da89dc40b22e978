"""Picture of owners of weights, and of recall by objective and stage."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recserve.studies.objectives.points import WAYS, Course
from training.systems.csmf.config import Way

_COLOURS = ("#0b6e99", "#c77f1a", "#6a9f3c", "#6a4c93", "#b3261e", "#5f6b73", "#2a9d8f", "#9c6644")

_LAYERS = {"user": "hidden,\nuser tower", "item": "hidden,\nitem tower", "outputs": "outputs\nof both"}


def draw(found: Mapping[Way, Course], dataset: str, path: Path) -> None:
    """Owners of the weights of each layer; then recall@50 on the test part after each stage, one panel for each way,
    with its spread over seeds; the suffix says the format."""
    figure = Figure(figsize=(12.5, 4.6), layout="constrained")
    panels = figure.subplots(1, 1 + len(found), width_ratios=(0.7, *(1 for _ in found)), squeeze=False)[0]
    _owners(panels[0], found["masks"])
    for axes, (way, course) in zip(panels[1:], found.items(), strict=True):
        _recall(axes, course)
        axes.set_title(WAYS[way], loc="left", fontsize=11)
        axes.sharey(panels[1])
    panels[1].set_ylabel("recall@50")
    panels[1].margins(y=0.15)
    panels[-1].legend(frameon=False, fontsize=9, loc="lower left")
    seeds = len(found["masks"].result.seeds)
    title = f"One vector for {len(found['masks'].objectives)} objectives, {dataset}, {seeds} seeds"
    figure.suptitle(title, fontsize=12, fontweight="bold")
    figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)


def _owners(axes: Axes, course: Course) -> None:
    bottoms = [0.0] * len(course.owned)
    for place, (name, colour) in enumerate(zip(course.objectives, _COLOURS, strict=False)):
        shares = [of[place] for of in course.owned.values()]
        axes.bar([*course.owned], shares, bottom=bottoms, color=colour, label=name, width=0.6)
        for column, share in enumerate(shares):
            axes.text(column, bottoms[column] + share / 2, f"{share:.0%}", ha="center", va="center", color="white")
        bottoms = [bottom + share for bottom, share in zip(bottoms, shares, strict=True)]
    axes.set_xticks(range(len(course.owned)), [_LAYERS[name] for name in course.owned], fontsize=9)
    axes.set_title("owners of weights by layer", loc="left", fontsize=11)
    axes.set_ylim(0, 1)
    axes.spines[["top", "right"]].set_visible(False)


def _recall(axes: Axes, course: Course) -> None:
    places = range(len(course.stages))
    for name, colour in zip(course.objectives, _COLOURS, strict=False):
        points = [course.figure("recall50", name, stage) for stage in course.stages]
        means, deviations = ([point[part] for point in points] for part in ("mean", "std"))
        axes.errorbar(places, means, yerr=deviations, fmt="o-", markersize=4, capsize=3, color=colour, label=name)
    labels = [*(stage.replace(", ", ",\n") for stage in course.stages[:-1]), course.objectives[-1]]
    axes.set_xticks([*places], labels, fontsize=8)
    axes.set_xlabel("after the stage")
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
