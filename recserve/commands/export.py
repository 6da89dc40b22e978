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
from recserve.commands.command import Command
from training.generate_then_rank import generate_then_rank, refuse_other_items
from training.registry import SYSTEMS
from training.system import Schema, Signature

Schemas = dict[str, Schema]
"""By model."""


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Export a run, or the models of package.module:factory, and publish them as a new version."""

    source: Positional[str | None] = None
    """Folder of a finished run, or package.module:factory."""
    repository: Path | None = None
    """The model repository to publish into."""
    kernel_form: bool = False
    """Publish the kernel form of models with hot ops as well."""
    then_rank: Path | None = None
    """Folder of a finished run of lrea: publish its models as well, and generate_then_rank, which scores what SOURCE
    generates for a history with lrea_ranker, in one call."""
    check: Path | None = None
    """Only check this repository: dims, batching, threads, queues, versions, goldens, checksums."""

    def run(self) -> int:
        if self.check is not None:
            return self._check(self.check)
        if self.source is None or self.repository is None:
            raise ValueError("say what to export and where: recserve export RUN --repository DIR")
        signatures, source, schemas = self._signatures(self.source)
        if self.kernel_form:
            forms = kernel_forms(signatures)
            signatures += forms
            schemas |= {form.name: schemas[form.form_of] for form in forms if form.form_of in schemas}
        console = self.console
        version = publish(
            self.repository, signatures, source, schemas, report=lambda line: console.print(line, highlight=False)
        )
        names = [signature.name for signature in signatures]
        self.emit({"repository": self.repository, "version": version, "models": names})
        return 0

    def _signatures(self, source: str) -> tuple[tuple[Signature, ...], Source, Schemas]:
        if ":" in source:
            if self.then_rank is not None:
                raise ValueError("--then-rank joins two runs; export a run, not a factory")
            return load_factory(source), Source(kind="factory", name=source), {}
        signatures, schemas = _of_run(Path(source))
        if self.then_rank is None:
            return signatures, Source(kind="run", name=source), schemas
        ranker, ranked = _of_run(self.then_rank)
        joint = generate_then_rank(signatures[-1], ranker)
        refuse_other_items(schemas[signatures[-1].name], ranked[ranker[-1].name])
        named = Source(kind="run", name=f"{source}, {self.then_rank}")
        return (*signatures, *ranker, joint), named, schemas | ranked | {joint.name: schemas[signatures[-1].name]}

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


def _of_run(folder: Path) -> tuple[tuple[Signature, ...], Schemas]:
    """A run's models, and the schema of each."""
    trained = runs.load(folder)
    if trained.system.servables is None:
        served = [name for name, system in SYSTEMS.items() if system.servables]
        raise ValueError(f"system '{trained.system.name}' has no served models; export one of: {', '.join(served)}")
    signatures = trained.system.servables(trained.module, trained.config, trained.data)
    return signatures, {signature.name: trained.data.schema for signature in signatures}
