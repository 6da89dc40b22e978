"""Tables of what a server tells of itself: families of metrics, and alerts with what to do."""

import re
from pathlib import Path

import yaml

from serving.watch.families import FAMILIES

RULES = Path(__file__).parents[1] / "deploy" / "prometheus" / "rules.yml"


def families_markdown() -> str:
    """A GitHub table of our families."""
    lines = ["| family | labels | kind | what |", "| --- | --- | --- | --- |"]
    for one in FAMILIES:
        lines.append(f"| `{one.name}` | {', '.join(one.labels)} | {one.kind} | {one.help} |")
    return "\n".join(lines)


def alerts_markdown() -> str:
    """A GitHub table of the alerts."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    lines = ["| alert | severity | says | do |", "| --- | --- | --- | --- |"]
    for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
        said = rule["annotations"]
        cells = (rule["alert"], rule["labels"]["severity"], _plain(said["summary"]), _plain(said["do"]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _plain(template: str) -> str:
    """A text with its templates as words."""
    named = re.sub(r"{{ \$labels\.(\w+) }}", r"`\1`", template)
    return re.sub(r"<(\w+)>", r"\1", re.sub(r"{{.*?}}", "N", named))
