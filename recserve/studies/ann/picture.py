"""The log-log picture of a result: processor time of a request by the number of items."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

COLOURS = {"clustered": "#0b6e99", "blurred": "#6a4c93", "isotropic": "#c77700"}
_EXACT = "#b3261e"


def draw(result: dict[str, Any], path: Path) -> None:
    """One panel for requests alone, one for requests answered together; the suffix says the format."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, suffix, title in zip(
        panels, ("", "_of_16"), ("one request in a run", "16 requests in a run"), strict=True
    ):
        _panel(axes, result, suffix)
        axes.set_title(title, loc="left", fontsize=10)
    panels[0].set_ylabel("CPU ms of a request, median")
    panels[0].legend(frameon=False, fontsize=8.5, loc="upper left")
    title = f"The best {result['top']} of N items of {result['width']} numbers, one thread"
    figure.suptitle(title, fontsize=11, fontweight="bold")
    figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)


def _panel(axes: Axes, result: dict[str, Any], suffix: str) -> None:
    rows = result["rows"]
    for kind, colour in COLOURS.items():
        own = [row for row in rows if row["kind"] == kind]
        if not own:
            continue
        counts, taken = ([row[name] for row in own] for name in ("items", f"ann_cpu_ms{suffix}"))
        label = f"index, {kind} vectors: recall {min(row['recall'] for row in own):.3f} or more"
        axes.plot(counts, taken, "o-", color=colour, markersize=4, label=label)
    first = [row for row in rows if row["kind"] == rows[0]["kind"]]
    counts, taken = ([row[name] for row in first] for name in ("items", f"exact_cpu_ms{suffix}"))
    axes.plot(counts, taken, "s-", color=_EXACT, markersize=4, label="product with all")
    axes.axvline(result["exact_items"], color="#777777", linestyle=":", linewidth=1)
    axes.annotate(
        "  index beyond",
        (result["exact_items"], 0.02),
        xycoords=("data", "axes fraction"),
        fontsize=8.5,
        color="#555555",
    )
    axes.set(xscale="log", yscale="log", xlabel="items")
    axes.xaxis.set_major_locator(FixedLocator(counts))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
