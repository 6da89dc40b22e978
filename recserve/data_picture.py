"""Picture of a data set: events over time, lengths of histories, popularity of items, shares of what is new."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from training.data.folder.parts import borders
from training.data.folder.times import ticks
from training.data.overview import LastPart, Overview
from training.interactions import Interactions

_TRAIN, _VALIDATION, _TEST, _OTHER = "#0b6e99", "#e0a100", "#b3261e", "#9a9a9a"
_BINS = 60
_SMALL = 0.001
"""Share below which a figure would read as none."""


def draw(data: Interactions, found: Overview, path: Path) -> None:
    """Four panels; the suffix says the format."""
    figure = Figure(figsize=(12.0, 7.6), layout="constrained")
    figure.suptitle(
        f"{data.name}: {found.events:,} events of {found.users:,} users with {found.items:,} items",
        fontsize=13,
        fontweight="bold",
    )
    # Rows of their own, so that long names in the lower one move no panel of the upper one.
    rows = figure.add_gridspec(2, 1)
    panels = [axes for row in (0, 1) for axes in figure.add_subfigure(rows[row, 0]).subplots(1, 2)]
    _times(panels[0], data, found)
    _histories(panels[1], data)
    _popularity(panels[2], data)
    _shares(panels[3], found)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _times(axes: Axes, data: Interactions, found: Overview) -> None:
    """The legend stands above the highest bar."""
    if found.first is None:
        axes.set_title("events over time", loc="left", fontsize=11)
        axes.text(0.5, 0.5, "no times", ha="center", transform=axes.transAxes, color=_OTHER)
        return
    names = ["first 80 %", "next 10 %", "last 10 %"]
    if task := found.test and found.test.task:
        names = ["training, 80 %", "validation, 10 %", "test, 10 %"]
    axes.set_title("events over time" + (f", parts of {task}" if task else ""), loc="left", fontsize=11)
    times = data.events["time"].to_numpy()
    edges, days = borders(times), times / (ticks(data.events["time"]) * 86_400)
    parts = (times <= edges.train, (times > edges.train) & (times <= edges.validation), times > edges.validation)
    axes.hist(
        [days[part] for part in parts],
        bins=np.histogram_bin_edges(days, _BINS).tolist(),
        stacked=True,
        color=[_TRAIN, _VALIDATION, _TEST],
        label=names,
    )
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_ylabel("events")
    axes.set_ylim(top=1.15 * axes.get_ylim()[1])
    axes.legend(frameon=False, loc="upper center", ncols=3, fontsize=9)


def _histories(axes: Axes, data: Interactions) -> None:
    lengths = np.sort(data.events.group_by("user").len()["len"].to_numpy())
    axes.plot(lengths, np.arange(len(lengths), 0, -1) / len(lengths), color=_TRAIN, drawstyle="steps-post")
    middle = int(np.median(lengths))
    axes.axvline(middle, color=_OTHER, linestyle="--", linewidth=1)
    axes.set_xscale("log")
    _whole_numbers(axes.xaxis, lengths)
    axes.set_title("users with at least so many events", loc="left", fontsize=11)
    axes.set_xlabel(f"events of a user (dashed: median {middle:,})")
    axes.set_ylabel("share of users")
    axes.grid(color="#e4e4e4", linewidth=0.8)


def _popularity(axes: Axes, data: Interactions) -> None:
    counts = np.sort(data.events.group_by("item").len()["len"].to_numpy())[::-1]
    ranks = np.arange(1, len(counts) + 1)
    axes.loglog(ranks, counts, color=_TRAIN)
    half = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2)) + 1
    axes.axvline(half, color=_OTHER, linestyle="--", linewidth=1)
    _whole_numbers(axes.xaxis, ranks)
    _whole_numbers(axes.yaxis, counts)
    axes.set_title("events of each item, most popular first", loc="left", fontsize=11)
    axes.set_xlabel(f"rank of the item (dashed: {half:,} items have half of all events)")
    axes.set_ylabel("events")
    axes.grid(color="#e4e4e4", linewidth=0.8)


def _whole_numbers(axis: Axis, values: np.ndarray) -> None:
    """Marks of a logarithmic axis at numbers that are easily read, as many as fit."""
    decades = np.log10(values.max() / values.min())
    narrow = MaxNLocator(5, integer=True)
    axis.set_major_locator(narrow if decades < 1 else LogLocator(subs=(1, 2, 5) if decades < 3 else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def _shares(axes: Axes, found: Overview) -> None:
    axes.set_title("shares", loc="left", fontsize=11)
    bars: list[tuple[str, float, str]] = []
    if found.positives is not None:
        bars.append(("positives, all events", found.positives, _OTHER))
    if found.test:
        bars += _last_part(found.test)
    for field in found.fields:
        if field.missing:
            bars.append((f"{field.role}s without {field.name}", field.missing, _OTHER))
    names, shares, colours = zip(*bars[::-1], strict=True) if bars else ((), (), ())
    drawn = axes.barh(names, shares, color=colours, height=0.6)
    labels = [f"< {_SMALL:.1%}" if 0 < share < _SMALL else f"{share:.1%}" for share in shares]
    axes.bar_label(drawn, labels=labels, padding=3, fontsize=9)
    axes.set_xlim(0, 1.12)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])


def _last_part(one: LastPart) -> list[tuple[str, float, str]]:
    """Bars of the last 10 % in time."""
    where = f"test part of {one.task}" if one.task else "last 10 % in time"
    bars = [(f"positives, {where}", one.positives)] if one.positives is not None else []
    bars += [(f"of new users, {where}", one.cold_user_events), (f"with new items, {where}", one.cold_item_events)]
    return [(name, share, _TEST) for name, share in bars]
