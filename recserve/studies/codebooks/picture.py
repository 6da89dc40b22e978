"""The picture of `recserve study codebooks`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.layers.codebook_report import Use

_LINES = ("#0b6e99", "#b3261e", "#4f7f3f", "#8a5aa8", "#c77f1a", "#3f3f3f", "#2aa198", "#9a9a9a")
_BINS = 10
_PER_ROW = 3


class Drawn(Protocol):
    """Ids to draw."""

    @property
    def name(self) -> str: ...

    @property
    def uses(self) -> list[Use]: ...

    @property
    def active(self) -> np.ndarray | None: ...


def draw_codebooks(found: Sequence[Drawn], path: Path) -> None:
    """Sorted frequency of the words of each codebook, and active behaviour ids against richness where there are any."""
    panels = len(found) + sum(one.active is not None for one in found)
    columns = min(_PER_ROW, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(5.0 * columns, 3.9 * rows), layout="constrained")
    figure.suptitle("Use of the words of each codebook over the catalogue", fontsize=13, fontweight="bold")
    axes = iter(np.atleast_1d(figure.subplots(rows, columns)).flatten())
    for one in found:
        _frequencies(next(axes), one)
    for one in found:
        if one.active is not None:
            _active(next(axes), one.name, one.active)
    for unused in axes:
        unused.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _frequencies(axes: Axes, one: Drawn) -> None:
    for number, (use, colour) in enumerate(zip(one.uses, _LINES * len(one.uses), strict=False)):
        shares = np.sort(use.counts)[::-1] / use.counts.sum()
        label = f"{number}: {use.utilisation:.0%} used, {use.entropy:.2f} nats"
        axes.plot(np.arange(1, len(shares) + 1), shares, color=colour, linewidth=1.4, label=label)
    words = len(one.uses[0].counts)
    axes.axhline(1 / words, color="#9a9a9a", linestyle="--", linewidth=1, label=f"all alike: {np.log(words):.2f} nats")
    axes.set_yscale("log")
    axes.set_title(one.name, loc="left", fontsize=11)
    axes.set_xlabel("word, by frequency")
    axes.set_ylabel("share of the items")
    axes.legend(frameon=False, fontsize=7.5)
    _tidy(axes)


def _active(axes: Axes, name: str, active: np.ndarray) -> None:
    richness, number = active.T
    bins = np.minimum((richness * _BINS).astype(int), _BINS - 1)
    filled = np.unique(bins)
    means = [number[bins == one].mean() for one in filled]
    drawn = axes.bar((filled + 0.5) / _BINS, means, width=0.8 / _BINS, color=_LINES[0])
    axes.bar_label(drawn, [str(int((bins == one).sum())) for one in filled], fontsize=7.5, padding=2)
    axes.set_title(f"{name}: active behaviour ids (items above the bars)", loc="left", fontsize=11)
    axes.set_xlabel("information richness N_norm")
    axes.set_ylabel("active behaviour ids, mean")
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
