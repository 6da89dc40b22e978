"""`recserve releases golden`: a release again, proven on real traffic."""

from dataclasses import dataclass
from pathlib import Path

from export.logged_goldens import publish_with_log
from recserve.commands.command import Command
from recserve.commands.releases.moving import chosen
from recserve.options import Positional
from serving import releases


@dataclass(frozen=True, kw_only=True)
class Golden(Command):
    """Publish a release again, with golden requests and the reference of its scores out of a log of requests.

    It comes beside what is served: its golden requests and some of the log, and the log's scores, from which drift is
    measured.

    The release computes the answers itself, in this process, alone and beside others; where the log has its own answer
    to a request, that must be the same. Nothing that was published is changed: promote the new one.
    """

    model: Positional[str]
    """Model that clients ask, or MODEL@VERSION; what is served by default."""
    repository: Path
    """The model repository."""
    log: Path
    """Folder of a log of requests, of `recserve serve --request-log`."""
    most: int = 32
    """Golden requests to add, evenly over the log."""

    def __post_init__(self) -> None:
        if not 1 <= self.most <= 512:
            raise ValueError(f"--most is {self.most}; it must be 1 to 512")

    def run(self) -> int:
        name, version = chosen(self.repository, self.model)
        version = version or releases.standing(self.repository, name).served
        made = publish_with_log(self.repository, name, version, self.log, self.most, self._say)
        of = "no scores" if made.reference is None else f"scores of {made.reference.requests} requests as its reference"
        same = (
            f"{made.compared} answered in the log as here" if made.compared else "none compared with the log's answers"
        )
        self._say(
            f"{name} {made.version} is {name} {version} with {made.added} golden requests more ({same}), "
            f"{made.goldens} in all, and {of}"
        )
        self._say(f"serve it: recserve releases promote {name}@{made.version} --repository {self.repository}")
        self.emit(
            {
                "release": name,
                "version": made.version,
                "of": version,
                "goldens": made.goldens,
                "added": made.added,
                "compared": made.compared,
                "reference": None if made.reference is None else made.reference.requests,
            }
        )
        return 0

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
