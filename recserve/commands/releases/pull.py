"""`recserve releases pull`."""

from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command
from recserve.options import Positional
from serving.pulling.objects import Objects
from serving.pulling.pull import pull


@dataclass(frozen=True, kw_only=True)
class Pull(Command):
    """Pull what an object store serves into a repository, which then serves it; cut off, the next one goes on.

    Endpoint and credentials are those of the environment: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, or the identity of the machine.
    """

    source: Positional[str]
    """A copy of a repository, s3://bucket/prefix."""
    repository: Path
    """The model repository; made where it does not exist."""

    def run(self) -> int:
        objects = Objects.at(self.source)
        with self.console.status(f"pulling {objects.url}"):
            done = pull(objects, self.repository, self._say)
        if not done.added:
            self._say("nothing new")
        for name, version in done.served.items():
            self._say(f"{name} {version} is served of {self.repository}")
        self.emit({"source": objects.url, **done._asdict()})
        return 0

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
