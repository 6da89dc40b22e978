"""`recserve events push`."""

from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.progress import Progress

from recserve.commands.connected import Connected
from recserve.event_rows import rows_of
from recserve.options import Positional
from recserve_client import Client
from serving.events.pushing import Pusher
from serving.histories.pushed import MOST
from training import datasets

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Push(Connected):
    """Push the events of a file into a running server; 1 where some are refused. Pushing twice changes nothing."""

    table: Positional[Path]
    """Parquet or CSV file with the columns of the data set's events, or user, item, time, value, order, event_id."""
    dataset: str
    """Name of the data set that the events belong to."""
    url: tuple[str, ...] = ("127.0.0.1:8001",)
    """Addresses of the servers that share a store of histories, host:port each; one that is away is left out."""

    def run(self) -> int:
        rows = [*rows_of(self.table, datasets.read(self.dataset))]
        refused: list[tuple[int, str]] = []
        with (
            Client(*self.url, headers=self.sent, tls=self.security) as client,
            Progress(console=self.console, transient=True) as progress,
        ):
            task = progress.add_task("events", total=len(rows))
            pusher = Pusher(client, self.dataset, waiting=lambda why: progress.console.print(f"waiting: {escape(why)}"))
            for start in range(0, len(rows), MOST):
                told = pusher.push(rows[start : start + MOST])
                refused += [(start + place, one) for place, one in enumerate(told) if one.startswith("refused")]
                progress.update(task, completed=start + len(told))
        counts = dict(pusher.counts)
        said = ", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "no events"
        self.console.print(f"{self.table}: {said}", highlight=False, soft_wrap=True)
        for place, why in refused[:_SHOWN]:
            self.console.print(f"  user {escape(rows[place].user)}: {escape(why)}", highlight=False, soft_wrap=True)
        if len(refused) > _SHOWN:
            self.console.print(f"  and {len(refused) - _SHOWN} more", highlight=False)
        told_of = [{"user": rows[place].user, "item": rows[place].item, "why": why} for place, why in refused]
        self.emit({"table": self.table, "counts": counts, "refused": told_of})
        return 1 if refused else 0
