"""`recserve events show` and `recserve events drop`."""

from dataclasses import dataclass

from recserve.commands.command import show, table
from recserve.commands.events.stores import StoreCommand
from recserve.options import Positional
from serving.histories.keys import Whose, facts_key, prefix
from training import datasets


@dataclass(frozen=True, kw_only=True)
class Show(StoreCommand):
    """Show what the store holds: of one user, or in all."""

    user: Positional[str | None] = None
    """User id, as a client sends it; without one, sizes are shown."""
    dataset: str | None = None
    """Name of the data set that the user belongs to."""
    newest: int = 20
    """Events to show, the newest."""

    def run(self) -> int:
        return self._sizes() if self.user is None else self._events(self.user)

    def _sizes(self) -> int:
        histories = self.opened()
        stat = histories.store.stat()
        histories.close()
        most = "no bound" if stat.max_bytes is None else f"at most {stat.max_bytes:,}"
        self.console.print(f"{stat.url}: {stat.histories} entries, {stat.used_bytes:,} bytes ({most})", highlight=False)
        self.emit(stat._asdict())
        return 0

    def _events(self, user: str) -> int:
        if self.dataset is None:
            raise ValueError("say of which data set: --dataset NAME")
        interactions = datasets.read(self.dataset)
        histories = self.opened()
        (found,) = histories.of([Whose(self.dataset, interactions.named("user", user))])
        histories.close()
        events = [] if found is None else [*zip(*(column.tolist() for column in found), strict=True)]
        shown = events[::-1][: self.newest]
        rows = [
            [interactions.titles[interactions.dense("item", item)], item, value, time]
            for item, value, time, *_ in shown
        ]
        self.console.print(f"user {user} ({self.dataset}): {len(events)} events, newest first", highlight=False)
        if rows:
            show(self.console, table("history", ["title", "item", "value", "time"], rows))
        names = ("item", "value", "time", "order")
        self.emit(
            {"user": user, "number": len(events), "events": [dict(zip(names, one, strict=False)) for one in shown]}
        )
        return 0


@dataclass(frozen=True, kw_only=True)
class Drop(StoreCommand):
    """Forget the histories of a data set, or of one of its users; what a server is asked next, it answers without."""

    dataset: Positional[str]
    """Name of the data set."""
    user: str | None = None
    """User id, as a client sends it; all by default, and what is known of the data set."""

    def run(self) -> int:
        histories = self.opened()
        if self.user is None:
            keys = [*histories.store.keys(prefix(self.dataset)), facts_key(self.dataset)]
            number = len(keys) - 1
        else:
            keys = [Whose(self.dataset, datasets.read(self.dataset).named("user", self.user)).key]
            number = sum(one is not None for one in histories.store.heads(keys))
        histories.store.drop(keys)
        histories.close()
        self.console.print(f"{number} histories of {self.dataset} dropped from {self.name}", highlight=False)
        self.emit({"dropped": number, "histories": self.name})
        return 0
