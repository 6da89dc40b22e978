"""Picture of attention and learnt table against how much two items share."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recserve.studies.code_overlap.points import Point

_COLOURS = ("#0b6e99", "#6a9f3c", "#c77f1a", "#b3261e", "#6b4c9a", "#555555")
_LINES = ("o-", "s--", "^:", "v-.")
_APART = 0.05
"""Between points of one place, in codes."""


def draw(found: Sequence[Point], title: str, path: Path) -> None:
    """A column for each head: attention above, what the table adds below; a line for each source of each
    configuration, the mean over its seeds with the least and the greatest. The suffix says the format."""
    heads = sorted({(one.block, one.head) for one in found})
    figure = Figure(figsize=(2.9 * len(heads) + 0.6, 5.4), layout="constrained")
    grid = figure.subplots(2, len(heads), squeeze=False, sharex=True, sharey="row")
    for column, (block, head) in enumerate(heads):
        mine = [one for one in found if (one.block, one.head) == (block, head)]
        _lines(grid[0, column], mine, "bent")
        _lines(grid[1, column], mine, "added")
        grid[0, column].axhline(1.0, color="#999999", linewidth=0.8)
        grid[1, column].axhline(0.0, color="#999999", linewidth=0.8)
        grid[0, column].set_title(f"block {block + 1}, head {head + 1}", fontsize=10)
        grid[1, column].set_xlabel("codes that two items share")
    grid[0, 0].set_ylabel("mean attention, 1 = even")
    grid[1, 0].set_ylabel("learnt, beside none shared")
    grid[0, 0].legend(frameon=False, fontsize=7)
    figure.suptitle(title, fontsize=12, fontweight="bold")
    figure.savefig(path, dpi=120)


def _lines(axes: Axes, found: Sequence[Point], quantity: str) -> None:
    sources = [*dict.fromkeys((one.codes, one.source) for one in found)]
    runs = [*dict.fromkeys(run for run, _ in sources)]
    for number, (run, source) in enumerate(sources):
        by_bucket: dict[int, list[float]] = {}
        for one in found:
            if (one.codes, one.source) == (run, source) and one.bent is not None:
                by_bucket.setdefault(one.bucket, []).append(getattr(one, quantity))
        means = [sum(values) / len(values) for values in by_bucket.values()]
        below = [mean - min(values) for mean, values in zip(means, by_bucket.values(), strict=True)]
        above = [max(values) - mean for mean, values in zip(means, by_bucket.values(), strict=True)]
        axes.errorbar(
            [bucket + _APART * (number - len(sources) / 2) for bucket in by_bucket],
            means,
            yerr=(below, above),
            fmt=_LINES[runs.index(run) % len(_LINES)],
            color=_COLOURS[number % len(_COLOURS)],
            markersize=3.5,
            linewidth=1.2,
            elinewidth=0.7,
            capsize=2,
            label=run if source in run else f"{run}, {source}",
        )
    axes.set_xticks(sorted({one.bucket for one in found}))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
