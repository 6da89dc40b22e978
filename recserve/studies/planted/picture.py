"""Pictures of the planted experiments."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recserve.studies.planted.experiments import CollapseResult, CollapseState, PairResult

_WITH, _WITHOUT, _OTHER = "#0b6e99", "#b3261e", "#9a9a9a"
_ROOM = 1.5
"""The colour scale ends at so many times the largest weight of the first state."""
_DARK = 0.6
"""Share of the colour scale above which text on it must be light."""


def draw_collapse(result: CollapseResult, path: Path) -> None:
    """Mean pair weights as heat maps, one per state; the suffix says the format."""
    figure = Figure(figsize=(5.6 * len(result.states), 6.6), layout="constrained")
    figure.suptitle(
        f"Mean attention weight of pairs before and after '{result.collapsed}' collapses to rank one",
        fontsize=13,
        fontweight="bold",
    )
    highest = _ROOM * max(max(row) for row in result.states[0].weight)
    for axes, state in zip(figure.subplots(1, len(result.states)), result.states, strict=True):
        _heat_map(axes, state, result.fields, highest)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def draw_pairs(result: PairResult, path: Path) -> None:
    """AUC with and without codebooks, over the epochs and on the test part; the suffix says the format."""
    figure = Figure(figsize=(12.5, 5.0), layout="constrained")
    figure.suptitle("Labels that follow from a pair of ids alone", fontsize=13, fontweight="bold")
    curves, bars, collisions = figure.subplots(1, 3, width_ratios=(5, 4, 3))
    for epochs, label, colour in (
        (result.epochs_with, "with codebooks", _WITH),
        (result.epochs_without, "without", _WITHOUT),
    ):
        curves.plot(range(1, len(epochs) + 1), epochs, "o-", color=colour, label=label, markersize=4)
    curves.axhline(result.best, color=_OTHER, linestyle="--", linewidth=1, label="all pairs known (test)")
    curves.set_xlabel("epoch")
    curves.set_title("validation", loc="left", fontsize=11)
    curves.set_ylabel("AUC")
    curves.legend(frameon=False, loc="center right")
    heights = (result.with_codebooks, result.without, result.zeroed)
    _bars(bars, "test", ("with\ncodebooks", "trained\nwithout", "codebooks\nemptied"), heights)
    heights = (result.gated_two, result.one_codebook)
    _bars(collisions, f"test, memory alone, {result.rows} rows", ("two, gated", "one"), heights)
    for axes in (curves, bars, collisions):
        axes.set_ylim(0.4, 1.0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _heat_map(axes: Axes, state: CollapseState, fields: list[str], highest: float) -> None:
    axes.imshow(state.weight, cmap="Blues", vmin=0.0, vmax=highest)
    for row, (weights, pruned) in enumerate(zip(state.weight, state.pruned, strict=True)):
        for column, (weight, closed) in enumerate(zip(weights, pruned, strict=True)):
            text = f"{weight:.2f}" if closed < 1 else "pruned"
            colour = "white" if weight > _DARK * highest else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8.5)
    labels = [f"{name}\nrho {rho:.2f}" for name, rho in zip(fields, state.rho, strict=True)]
    axes.set_xticks(range(len(fields)), fields, rotation=45, ha="right")
    axes.set_yticks(range(len(fields)), labels)
    axes.set_title(f"{state.title}\ntest AUC {state.auc:.3f}", loc="left", fontsize=11)
    axes.set_xlabel("weight given to")


def _bars(axes: Axes, title: str, labels: tuple[str, ...], heights: tuple[float, ...]) -> None:
    colours = (_WITH, _WITHOUT, _OTHER)[: len(heights)]
    drawn = axes.bar(range(len(heights)), heights, color=colours, width=0.6)
    axes.bar_label(drawn, fmt="%.3f", padding=2)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_title(title, loc="left", fontsize=11)
