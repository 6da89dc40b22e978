"""The tables of the pages that are made from committed results: `python -m recserve.pages` writes all of them anew.

Each stands between `<!-- name -->` and `<!-- /name -->` in its page.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from loadtest import published
from recserve import watched_tables
from recserve.commands import systems
from recserve.studies import elsewhere, robustness, scenario_tables, sizing, tracing_tables
from recserve.studies import published as studies
from recserve.studies.label_share import fields, points
from recserve.studies.objectives import points as objectives
from recserve.studies.recall_curves import points as recall_curves
from recserve.studies.stored_tables import tables as stored_tables
from training.registry import SYSTEMS, TASKS

ROOT = Path(__file__).parents[1]


class Region(NamedTuple):
    """A marked place of a page, and what must stand there."""

    page: str
    name: str
    content: Callable[[], str]


def _tasks() -> str:
    """A GitHub table of the tasks with their systems and measures."""
    lines = ["| task | systems | default data set | measured by |", "| --- | --- | --- | --- |"]
    for task in TASKS:
        names = ", ".join(system.name for system in SYSTEMS.values() if system.task is task)
        measures = "; ".join(f"**{one.title}**" if one.judges else one.title for one in task.columns)
        lines.append(f"| `{task.name}` | {names} | {task.default} | {measures} |")
    return "\n".join(lines)


REGIONS = (
    Region("docs/architecture.md", "tasks", _tasks),
    Region("docs/results.md", "systems", systems.markdown),
    Region("docs/results.md", "scenarios", scenario_tables.markdown),
    Region("docs/results.md", "paths", lambda: f"{robustness.markdown()}\n\n{studies.paths_markdown()}"),
    Region("docs/results.md", "mending", studies.mending_markdown),
    Region("docs/results.md", "labels", points.markdown),
    Region("docs/results.md", "fields", fields.markdown),
    Region("docs/results.md", "recall", recall_curves.markdown),
    Region("docs/results.md", "objectives", objectives.markdown),
    Region("docs/results.md", "counts", studies.counts_markdown),
    Region("docs/results.md", "generation", studies.generation_markdown),
    Region("docs/results.md", "elsewhere", elsewhere.markdown),
    Region("docs/results.md", "finding", studies.finding_markdown),
    Region("docs/results.md", "calls", studies.calls_markdown),
    Region("docs/results.md", "freshness", studies.freshness_markdown),
    Region("docs/results.md", "tracing", tracing_tables.markdown),
    Region("docs/results.md", "content", studies.content_markdown),
    Region("docs/results.md", "load", lambda: f"{studies.length_markdown()}\n\n{published.peers_markdown()}"),
    Region("docs/operations.md", "faults", published.faults_markdown),
    Region("docs/operations.md", "edge", published.edge_markdown),
    Region("docs/operations.md", "histories", published.histories_markdown),
    Region("docs/operations.md", "live", published.live_markdown),
    Region("docs/operations.md", "families", watched_tables.families_markdown),
    Region("docs/operations.md", "alerts", watched_tables.alerts_markdown),
    Region("docs/operations.md", "sizing", sizing.markdown),
    Region("docs/operations.md", "stored", stored_tables.markdown),
)


def written(region: Region, text: str) -> str:
    """The page's text with the region's content in its place. Raises ValueError where the page has no such place."""
    start, end = f"<!-- {region.name} -->\n", f"\n<!-- /{region.name} -->"
    pattern = re.escape(start) + ".*?" + re.escape(end)
    content = start + region.content() + end
    new, places = re.subn(pattern, lambda _: content, text, flags=re.DOTALL)
    if places != 1:
        raise ValueError(f"{region.page} has {places} places for '{region.name}'; mark one")
    return new


def main() -> None:
    """Writes all regions into their pages."""
    for region in REGIONS:
        page = ROOT / region.page
        page.write_text(written(region, page.read_text()))


if __name__ == "__main__":
    main()
