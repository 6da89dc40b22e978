"""A repository that goes from one release to the next while it is served, made from one with several."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from loadtest.pool import Pool, Request
from loadtest.scenario import Scenario

_MODEL_FILES = shutil.ignore_patterns("[0-9]*", ".*")


class Releases:
    """Serves the oldest of a repository's releases first; every later one is a copy under the next number."""

    def __init__(self, source: Path, live: Path) -> None:
        """`live` is a new folder. Raises ValueError where `source` has fewer than two releases."""
        self.source = source
        self.live = live
        self.models = sorted(path.parent.name for path in source.glob("*/config.pbtxt"))
        self.numbers = _common_versions(source, self.models)
        if len(self.numbers) < 2:
            raise ValueError(
                f"{source} has {len(self.numbers)} release(s), and a roll-out needs two: train another seed and export "
                "it into the same repository"
            )
        for model in self.models:
            shutil.copytree(source / model, live / model, ignore=_MODEL_FILES)
        self.published = 0
        self.publish()

    def publish(self, origin: int | None = None) -> int:
        """Reveals the next release and returns its number: that of the source with the number `origin`, or else each in
        turn."""
        origin = self.numbers[self.published % len(self.numbers)] if origin is None else origin
        self.published += 1
        for model in self.models:
            shutil.copytree(self.source / model / str(origin), self.live / model / f".{self.published}.staged")
        for model in self.models:
            (self.live / model / f".{self.published}.staged").rename(self.live / model / str(self.published))
        return self.published

    def pool(self, scenario: Scenario, seed: int) -> Pool:
        """The scenario's requests with the answers of all releases, computed in this process."""
        requests = scenario.requests(self.live, seed)
        answers = []
        for number in self.numbers:
            with _only(self.source, self.models, number) as folder:
                direct = scenario.direct(folder)
                answers.append([direct.run(direct.prepare(inputs)) for inputs in requests])
        expected = zip(*answers, strict=True)
        return Pool(scenario.model, [Request(*pair) for pair in zip(requests, expected, strict=True)])


def _common_versions(repository: Path, models: list[str]) -> list[int]:
    found = [{int(path.name) for path in (repository / model).glob("[1-9]*")} for model in models]
    return sorted(set.intersection(*found)) if found else []


@contextmanager
def _only(repository: Path, models: list[str], number: int) -> Iterator[Path]:
    """The repository with one release."""
    with TemporaryDirectory() as folder:
        for model in models:
            shutil.copytree(repository / model, Path(folder) / model, ignore=_MODEL_FILES)
            (Path(folder) / model / str(number)).symlink_to((repository / model / str(number)).resolve())
        yield Path(folder)
