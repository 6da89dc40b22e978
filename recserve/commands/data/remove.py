"""`recserve data remove`."""

from dataclasses import dataclass

from recserve.commands.command import Command
from recserve.options import Positional
from training.data.folder.registry import forget, registered


@dataclass(frozen=True, kw_only=True)
class Remove(Command):
    """Take own tables out of the list of data sets; the files stay where they are."""

    name: Positional[str]
    """Name of an own data set."""

    def run(self) -> int:
        place = registered().get(self.name)
        forget(self.name)
        self.console.print(f"{self.name} is no data set any more; its files are still in {place}", highlight=False)
        self.emit({"name": self.name, "folder": place})
        return 0
