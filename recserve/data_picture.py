"""Picture of a data set: events over time, lengths of histories, popularity of items, shares of what is new."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from training.data.folder.parts import borders
from training.data.folder.times import ticks
from training.data.overview import Overview
from training.interactions import Interactions

_TRAIN, _VALIDATION, _TEST, _OTHER = "#0b6e99", "#e0a100", "#b3261e", "#9a9a9a"
_BINS = 60


def draw(data: Interactions, found: Overview, path: Path) -> None:
    """Four panels; the suffix says the format."""
    figure = Figure(figsize=(12.0, 7.6), layout="constrained")
    figure.suptitle(
        f"{data.name}: {found.events:,} events of {found.users:,} users with {found.items:,} items",
        fontsize=13,
        fontweight="bold",
    )
    panels = figure.subplots(2, 2).flatten()
    _times(panels[0], data)
    _histories(panels[1], data)
    _popularity(panels[2], data)
    _shares(panels[3], found)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
    figure.savefig(path, dpi=120)


def _times(axes: Axes, data: Interactions) -> None:
    axes.set_title("events over time, by part", loc="left", fontsize=11)
    if "time" not in data.events.columns:
        axes.text(0.5, 0.5, "no times", ha="center", transform=axes.transAxes, color=_OTHER)
        return
    times = data.events["time"].to_numpy()
    edges, days = borders(times), times / (ticks(data.events["time"]) * 86_400)
    parts = (times <= edges.train, (times > edges.train) & (times <= edges.validation), times > edges.validation)
    axes.hist(
        [days[part] for part in parts],
        bins=np.histogram_bin_edges(days, _BINS).tolist(),
        stacked=True,
        color=[_TRAIN, _VALIDATION, _TEST],
        label=["training, 80 %", "validation, 10 %", "test, 10 %"],
    )
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_ylabel("events")
    axes.legend(frameon=False)


def _histories(axes: Axes, data: Interactions) -> None:
    lengths = np.sort(data.events.group_by("user").len()["len"].to_numpy())
    axes.plot(lengths, np.arange(len(lengths), 0, -1) / len(lengths), color=_TRAIN, drawstyle="steps-post")
    middle = int(np.median(lengths))
    axes.axvline(middle, color=_OTHER, linestyle="--", linewidth=1)
    axes.annotate(f"median {middle}", (middle, 0.9), xytext=(4, 0), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title("users with at least so many events", loc="left", fontsize=11)
    axes.set_xlabel("events of a user")
    axes.set_ylabel("share of users")
    axes.grid(color="#e4e4e4", linewidth=0.8)


def _popularity(axes: Axes, data: Interactions) -> None:
    counts = np.sort(data.events.group_by("item").len()["len"].to_numpy())[::-1]
    axes.loglog(np.arange(1, len(counts) + 1), counts, color=_TRAIN)
    half = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2)) + 1
    axes.axvline(half, color=_OTHER, linestyle="--", linewidth=1)
    note = f"{half:,} items have half of all events"
    axes.annotate(note, (half, counts[-1]), xytext=(-4, 4), textcoords="offset points", fontsize=9, ha="right")
    axes.set_title("events of each item, most popular first", loc="left", fontsize=11)
    axes.set_xlabel("rank of the item")
    axes.set_ylabel("events")
    axes.grid(color="#e4e4e4", linewidth=0.8)


def _shares(axes: Axes, found: Overview) -> None:
    axes.set_title("shares", loc="left", fontsize=11)
    bars: list[tuple[str, float, str]] = []
    if found.positives is not None:
        bars.append(("positives, all events", found.positives, _OTHER))
    if one := found.test:
        if one.positives is not None:
            bars.append(("positives, test part", one.positives, _TEST))
        bars += [
            ("test events of new users", one.cold_user_events, _TEST),
            ("test events with new items", one.cold_item_events, _TEST),
        ]
    for field in found.fields:
        if field.missing:
            bars.append((f"{field.role}s without {field.name}", field.missing, _OTHER))
    names, shares, colours = zip(*bars[::-1], strict=True) if bars else ((), (), ())
    drawn = axes.barh(names, shares, color=colours, height=0.6)
    axes.bar_label(drawn, labels=[f"{share:.1%}" for share in shares], padding=3, fontsize=9)
    axes.set_xlim(0, 1.12)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
