"""`recserve events load`."""

from dataclasses import dataclass

from rich.progress import Progress

from export.histories import facts_of, load
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
    most: int = MOST_EVENTS
    """Events of one user that are kept, the newest; at least as many as a model reads."""

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"--most is {self.most}; it must be at least 1")

    def run(self) -> int:
        interactions = datasets.read(self.dataset)
        facts_of(interactions, self.most)
        histories, users = self.opened(), len(interactions.users) - 1
        try:
            with Progress(console=self.console, transient=True) as progress:
                task = progress.add_task("users", total=users)
                done = 0
                for done in load(histories, interactions, self.most):
                    progress.update(task, completed=done)
        finally:
            histories.close()
        self.console.print(f"{done} histories of {self.dataset} are in {self.url}", highlight=False, soft_wrap=True)
        added = self.repository is not None and add_user_events(self.repository)
        if added:
            self.console.print(f"{self.repository} has the model user_events now, which takes more", highlight=False)
        self.emit({"dataset": self.dataset, "users": done, "histories": self.url, "model_added": added})
        return 0
