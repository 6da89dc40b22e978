"""`recserve export`: a run or your own model into a model repository, or a repository under the linter."""

from dataclasses import dataclass
from pathlib import Path

from export import lint
from export.artifacts import Source
from export.factory import load_factory
from export.kernel_form import kernel_forms
from export.renaming import refuse_taken_parts, under_name
from export.repository import publish
from recserve import runs
from recserve.commands.command import Command
from recserve.options import Positional
from training.generate_then_rank import generate_then_rank, refuse_other_items
from training.servable import Signature


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Export a run, or the models of package.module:factory, and publish them as a new version."""

    source: Positional[str | None] = None
    """Folder of a finished run, or package.module:factory."""
    repository: Path | None = None
    """The model repository to publish into."""
    name: str | None = None
    """Name of the model that clients ask for, in place of its own; the others of the release become NAME_<part>."""
    kernel_form: bool = False
    """Kernel form of models with hot ops, published as well."""
    then_rank: Path | None = None
    """Folder of a finished run of lrea: its models are published as well, and generate_then_rank, which scores what
    SOURCE generates for a history with lrea_ranker, in one call."""
    check: Path | None = None
    """Repository to check, and nothing else: dims, batching, threads, queues, versions, goldens, checksums."""

    def run(self) -> int:
        if self.check is not None:
            return self._check(self.check)
        if self.source is None or self.repository is None:
            raise ValueError("say what to export and where: recserve export RUN --repository DIR")
        signatures, source = self._signatures(self.source)
        if self.name is not None:
            signatures = under_name(signatures, self.name)
            refuse_taken_parts(self.repository, signatures)
        if self.kernel_form:
            signatures += kernel_forms(signatures)
        console = self.console
        version = publish(self.repository, signatures, source, report=lambda line: console.print(line, highlight=False))
        names = [signature.name for signature in signatures]
        self.emit({"repository": self.repository, "version": version, "models": names})
        return 0

    def _signatures(self, source: str) -> tuple[tuple[Signature, ...], Source]:
        if ":" in source:
            if self.then_rank is not None:
                raise ValueError("--then-rank joins two runs; export a run, not a factory")
            return load_factory(source), Source(kind="factory", name=source)
        trained = runs.load(Path(source))
        signatures = runs.models(trained)
        if self.then_rank is None:
            return signatures, Source(kind="run", name=source)
        other = runs.load(self.then_rank)
        ranker = runs.models(other)
        joint = generate_then_rank(signatures[-1], ranker)
        refuse_other_items(trained.data.schema, other.data.schema)
        return (*signatures, *ranker, joint), Source(kind="run", name=f"{source}, {self.then_rank}")

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
