"""`recserve study lrea-length`: LREA beside attention over all events, by the length of the history."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.lrea_length.bench import LENGTHS, run
from recserve.studies.lrea_length.plot import LABELS, draw
from training.checkpoint import write_json

_SHORTEST = 32
"""LREA's rank: a shorter history needs no compression."""


@dataclass(frozen=True, kw_only=True)
class LreaLength(Command):
    """Time DIN, softmax attention and LREA's forms against the length of the history, 1,000 candidates each.

    Exits with 1 where a ratio misses its bar. Writes the result, and a plot beside it (.svg).
    """

    lengths: tuple[int, ...] = LENGTHS
    """Events per user; the ratios compare the longest with the shortest."""
    repetitions: int = 1000
    """Repetitions of each case; slow ones get as many as fit 6 seconds, at least 5."""
    output: Path = STUDY_RESULTS / "lrea-length.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if len(set(self.lengths)) < 2 or min(self.lengths) < _SHORTEST:
            raise ValueError(f"--lengths must be two or more different ones of at least {_SHORTEST}")
        if self.repetitions < 1:
            raise ValueError(f"--repetitions is {self.repetitions}; it must be at least 1")

    def run(self) -> int:
        with self.console.status("study lrea-length") as status:
            result = run(sorted(set(self.lengths)), self.repetitions, status.update)
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(result, picture)
        self._tables(result)
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0 if all(bar["ok"] for bar in result["bars"].values()) else 1

    def _tables(self, result: dict[str, Any]) -> None:
        lengths = sorted({row["length"] for row in result["rows"]})
        columns = ["way", "where", *(f"{length:,}" for length in lengths)]
        title = f"p50 ms for {result['candidates']:,} candidates, by events in the history"
        show(self.console, table(title, columns, _ways(result["rows"], lengths)))
        columns = ["events", "build ms", "append ms", "write ms", "read ms", "state bytes", "history bytes"]
        show(self.console, table("one user's state", columns, [list(row.values()) for row in result["state"]]))
        columns = ["events", "whole us", "queue", "state and scorer", "gRPC, client"]
        show(self.console, table("the ranker's time", columns, [list(row.values()) for row in result["split"]]))
        rows = [
            [name, bar["bar"], bar["measured"], "ok" if bar["ok"] else "MISSED"] for name, bar in result["bars"].items()
        ]
        show(self.console, table("ratios of medians", ["ratio", "bar", "measured", ""], rows))


def _ways(rows: Iterable[dict[str, Any]], lengths: list[int]) -> list[list[str]]:
    """One line per way and place, one cell per length, empty where it was not timed."""
    lines: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        lines.setdefault((row["way"], row["where"]), {})[row["length"]] = row["p50_ms"]
    return [
        [LABELS[way], where, *(f"{cells[length]:.2f}" if length in cells else "" for length in lengths)]
        for (way, where), cells in lines.items()
    ]
