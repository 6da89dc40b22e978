"""`recserve export`: a run or your own model into a model repository, or a repository under the linter."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from export import lint
from export.artifacts import Source
from export.factory import load_factory
from export.kernel_form import kernel_forms
from export.repository import publish
from recserve import runs
from recserve.commands.command import Command, show, table
from training.system import Schema, Signature


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Export a run, or the models of package.module:factory, and publish them as a new version."""

    source: Positional[str | None] = None
    """Folder of a finished run, or package.module:factory."""
    repository: Path | None = None
    """The model repository to publish into."""
    kernel_form: bool = False
    """Publish the kernel form of models with hot ops as well."""
    check: Path | None = None
    """Only check this repository: dims, batching, threads, queues, versions, goldens, checksums."""

    def run(self) -> int:
        if self.check is not None:
            return self._check(self.check)
        if self.source is None or self.repository is None:
            raise ValueError("say what to export and where: recserve export RUN --repository DIR")
        signatures, source, schema = self._signatures(self.source)
        if self.kernel_form:
            signatures += kernel_forms(signatures)
        console = self.console
        version = publish(
            self.repository, signatures, source, schema, report=lambda line: console.print(line, highlight=False)
        )
        names = [signature.name for signature in signatures]
        self.emit({"repository": self.repository, "version": version, "models": names})
        return 0

    def _signatures(self, source: str) -> tuple[tuple[Signature, ...], Source, Schema | None]:
        if ":" in source:
            return load_factory(source), Source(kind="factory", name=source), None
        trained = runs.load(Path(source))
        if trained.system.servables is None:
            raise ValueError(f"system '{trained.system.name}' is a baseline without served models; export lrea instead")
        signatures = trained.system.servables(trained.module, trained.config, trained.data)
        return signatures, Source(kind="run", name=source), trained.data.schema

    def _check(self, repository: Path) -> int:
        if not repository.is_dir():
            raise ValueError(f"{repository} is not a directory; name a model repository")
        findings = lint.check(repository)
        errors = [finding for finding in findings if finding.severity == "error"]
        columns = ["severity", "file", "field", "reason", "remedy"]
        if findings:
            show(self.console, table(f"{len(findings)} findings in {repository}", columns, findings))
        else:
            self.console.print(f"{repository}: nothing to complain about", highlight=False)
        self.emit([finding._asdict() for finding in findings])
        return 1 if errors else 0
