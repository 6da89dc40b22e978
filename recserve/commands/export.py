"""`recserve export`: a run or your own model into a model repository, or a repository under the linter."""

from dataclasses import dataclass
from pathlib import Path

from export import lint
from export.repository import publish
from recserve.commands.exporting import Exporting
from recserve.options import Positional


@dataclass(frozen=True, kw_only=True)
class Export(Exporting):
    """Export a run, or the models of package.module:factory, and publish them as a new version."""

    source: Positional[str | None] = None
    """Folder of a finished run, or package.module:factory."""
    repository: Path | None = None
    """The model repository to publish into."""
    check: Path | None = None
    """Repository to check, and nothing else: dims, batching, threads, queues, versions, goldens, checksums."""

    def run(self) -> int:
        if self.check is not None:
            return self._check(self.check)
        if self.source is None or self.repository is None:
            raise ValueError("say what to export and where: recserve export RUN --repository DIR")
        signatures, source = self.release(self.source, self.repository)
        console = self.console
        version = publish(self.repository, signatures, source, report=lambda line: console.print(line, highlight=False))
        names = [signature.name for signature in signatures]
        self.emit({"repository": self.repository, "version": version, "models": names})
        return 0

    def _check(self, repository: Path) -> int:
        if not repository.is_dir():
            raise ValueError(f"{repository} is not a directory; name a model repository")
        findings = lint.check(repository)
        errors = [finding for finding in findings if finding.severity == "error"]
        for finding in findings:
            self.console.print(f"{lint.text(finding)}\n", highlight=False, markup=False)
        summary = (
            f"{len(errors)} errors, {len(findings) - len(errors)} warnings" if findings else "nothing to complain about"
        )
        self.console.print(f"{repository}: {summary}", highlight=False)
        self.emit([finding._asdict() for finding in findings])
        return 1 if errors else 0
