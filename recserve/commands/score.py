"""`recserve score RUN table.parquet --out scores.parquet`: a table of pairs scored without a server, as it would be."""

import os
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recserve import runs, scoring
from recserve.commands.command import Command
from recserve.options import Positional
from recserve.pairs import dense_ids, further, read
from training.schema import Role

_ROLES: tuple[Role, ...] = ("user", "item")


@dataclass(frozen=True, kw_only=True)
class Score(Command):
    """Score a table of users and items with a finished run, offline; the scores are those that would be served."""

    folder: Positional[Path]
    """Folder of the run, as `recserve train` printed it."""
    table: Positional[Path]
    """Parquet or CSV file with columns user and item, by the ids of the data set, and what else a request carries."""
    out: Path
    """Parquet file to write: the table, and a column score."""

    def run(self) -> int:
        if self.out.suffix != ".parquet" or self.out.is_dir():
            raise ValueError(f"--out {self.out} is no file that ends in .parquet, as which the scores are written")
        pairs = read(self.table)
        trained = runs.load(self.folder)
        interactions = trained.data.interactions
        asked = scoring.ranker(runs.models(trained))
        user, item = (dense_ids(pairs.table, role, interactions) for role in _ROLES)
        given = {
            spec.name: further(pairs.table, spec, interactions)
            for spec in asked.inputs
            if spec.name not in ("user_id", "candidates") and spec.of is None
        }
        scores = scoring.offline(asked, user, item, given)
        self._write(pairs.frame.with_columns(score=pl.Series(scores)))
        unknown = {"users": int((user == 0).sum()), "items": int((item == 0).sum())}
        columns = pairs.frame.columns
        lacks = [name for name in given if name not in columns]
        unread = [name for name in columns if name not in (*_ROLES, *given)]
        self.console.print(
            f"{self.out}: {len(user)} rows scored by {asked.name} ({interactions.name}); rows of users who are "
            f"not known: {unknown['users']}, of items: {unknown['items']}",
            highlight=False,
            soft_wrap=True,
        )
        self._name("not in the table, scored as missing", lacks)
        self._name("not read", unread)
        facts = {"out": self.out, "rows": len(user), "unknown": unknown, "system": trained.system.name}
        self.emit(facts | {"inputs_missing": lacks, "columns_not_read": unread})
        return 0

    def _name(self, what: str, columns: list[str]) -> None:
        """A line, where there are any."""
        if columns:
            self.console.print(f"{what}: {', '.join(columns)}", highlight=False, markup=False, soft_wrap=True)

    def _write(self, frame: pl.DataFrame) -> None:
        """In one step, so that nobody reads half a file."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        partial = self.out.with_name(f".{self.out.name}.{os.getpid()}")
        frame.write_parquet(partial)
        partial.replace(self.out)
