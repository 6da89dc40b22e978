"""`recserve events load`."""

from dataclasses import dataclass

from rich.progress import Progress

from export.histories import facts_of, load, longest_read
from export.user_events import add_user_events
from recserve.commands.events.stores import StoreCommand
from recserve.options import Positional
from serving.histories.histories import MOST_EVENTS
from training import datasets


@dataclass(frozen=True, kw_only=True)
class Load(StoreCommand):
    """Load the events of a data set as histories, and make a repository take more of them through gRPC."""

    dataset: Positional[str]
    """Name of the data set."""
    most: int | None = None
    """Events of one user that are kept, the newest; 1024 by default, or what a model of the repository reads where that
    is more."""

    def run(self) -> int:
        most = self._most()
        interactions = datasets.read(self.dataset)
        facts_of(interactions, most)
        histories, users = self.opened(), len(interactions.users) - 1
        try:
            with Progress(console=self.console, transient=True) as progress:
                task = progress.add_task("users", total=users)
                done = 0
                for done in load(histories, interactions, most):
                    progress.update(task, completed=done)
        finally:
            histories.close()
        self.console.print(f"{done} histories of {self.dataset} are in {self.name}", highlight=False, soft_wrap=True)
        added = self.repository is not None and add_user_events(self.repository)
        if added:
            self.console.print(f"{self.repository} has the model user_events now, which takes more", highlight=False)
        self.emit({"dataset": self.dataset, "users": done, "most": most, "histories": self.name, "model_added": added})
        return 0

    def _most(self) -> int:
        read = longest_read(self.repository, self.dataset) if self.repository is not None else 0
        if self.most is not None and self.most < max(1, read):
            reads = f", as a model of {self.repository} reads so many" if read else ""
            raise ValueError(f"--most is {self.most}; it must be at least {max(1, read)}{reads}")
        return self.most or max(MOST_EVENTS, read)
