"""`recserve releases list`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from serving import manifest, releases
from serving.releases import Standing
from serving.steps import USER_EVENTS, kind_of
from training.registry import SYSTEMS
from training.system import Column

_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class List(Command):
    """List the releases of a repository, with which is served, what they are of and what they reach."""

    repository: Path
    """The model repository."""

    def run(self) -> int:
        if not self.repository.is_dir():
            raise ValueError(f"{self.repository} is no directory; name a model repository")
        names = [name for name in releases.names(self.repository) if kind_of(self.repository / name) != USER_EVENTS]
        if not names:
            raise ValueError(f"{self.repository} has no release; recserve releases publish RUN makes one")
        found = {name: _facts_of(self.repository, name) for name in names}
        for name, facts in found.items():
            self._show(name, facts)
        self.emit([one for facts in found.values() for one in facts])
        return 0

    def _show(self, name: str, facts: Sequence[dict[str, Any]]) -> None:
        columns = _columns(facts)
        rows = [
            [
                one["version"],
                one["mark"],
                ", ".join(Path(run).name for run in one["runs"]) or one["source"],
                *(_value(one, column.metric) for column in columns),
                one["published"][:10],
                f"{one['bytes'] / _MIB:.1f}",
            ]
            for one in facts
        ]
        newest = facts[0]
        of = ", ".join(f"{what} {newest[what]}" for what in ("system", "dataset") if newest[what])
        head = ["version", "mark", "run", *(column.title for column in columns), "published", "MiB"]
        show(self.console, table(f"{name} ({of})" if of else name, head, rows))
        if (refused := releases.standing(self.repository, name).refused) is not None:
            line = f"{name} {refused.version} was refused: {refused.why}"
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def _facts_of(repository: Path, name: str) -> list[dict[str, Any]]:
    """Of each release of a name, the newest first."""
    standing = releases.standing(repository, name)
    return [_facts(repository, name, number, standing) for number in reversed(releases.numbers(repository, name))]


def _facts(repository: Path, name: str, number: int, standing: Standing) -> dict[str, Any]:
    said = manifest.read(repository / name / str(number))
    identity, measured = said.get("identity") or {}, said.get("measured") or []
    models = releases.models_of(repository, name, number)
    return {
        "release": name,
        "version": number,
        "mark": _mark(number, standing),
        "since": standing.since if number == standing.served else None,
        "models": list(models),
        "system": identity.get("system"),
        "task": identity.get("task"),
        "dataset": identity.get("dataset"),
        "source": said["source"]["name"],
        "runs": [one["run"] for one in measured],
        "test": {one["system"]: one["test"] for one in measured},
        "published": said["created"],
        "bytes": sum(_bytes(repository / model / str(number)) for model in models),
    }


def _mark(number: int, standing: Standing) -> str:
    if number == standing.served:
        return "served"
    return "before" if standing.before[:1] == (number,) else ""


def _bytes(version: Path) -> int:
    return sum(int(one["bytes"]) for one in manifest.read(version)["files"].values())


def _columns(facts: Sequence[dict[str, Any]]) -> list[Column]:
    """Columns that judge, of all systems whose metrics are known."""
    systems = dict.fromkeys(name for one in facts for name in one["test"] if name in SYSTEMS)
    columns = (column for name in systems for column in SYSTEMS[name].task.columns if column.judges)
    return list(dict.fromkeys(columns))


def _value(one: dict[str, Any], metric: str) -> float | str:
    return next((test[metric] for test in one["test"].values() if metric in test), "")
