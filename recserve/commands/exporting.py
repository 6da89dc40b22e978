"""What `export` and `releases publish` share: a run, or models of one's own, as the models of a release."""

from dataclasses import dataclass
from pathlib import Path

from export.artifacts import Source
from export.factory import load_factory
from export.kinds import kernel_forms
from export.renaming import refuse_taken_parts, under_name
from recserve import runs
from recserve.commands.command import Command
from training.retrieve_then_rank import joined, refuse_other_ids
from training.servable import Signature


@dataclass(frozen=True, kw_only=True)
class Exporting(Command):
    """What a release is made of."""

    name: str | None = None
    """Name of the model that clients ask for, in place of its own; the others of the release become NAME_<part>."""
    kernel_form: bool = False
    """Kernel form of models with hot ops, published as well."""
    then_rank: Path | None = None
    """Folder of a finished run that ranks: retrieve_then_rank is published, which scores what SOURCE retrieves for a
    user with it, in one call."""
    retrieve: int = 200
    """Items that SOURCE retrieves for the ranker."""

    def release(self, source: str, repository: Path) -> tuple[tuple[Signature, ...], Source]:
        """The models, and where they come from. Raises ValueError for what is no source."""
        signatures, said = self._signatures(source)
        if self.name is not None:
            signatures = under_name(signatures, self.name)
            refuse_taken_parts(repository, signatures)
        if self.kernel_form:
            signatures += kernel_forms(signatures)
        return signatures, said

    def _signatures(self, source: str) -> tuple[tuple[Signature, ...], Source]:
        if ":" in source:
            if self.then_rank is not None:
                raise ValueError("--then-rank joins two runs; export a run, not a factory")
            return load_factory(source), Source(kind="factory", name=source)
        trained = runs.load(Path(source))
        measured = runs.measured(trained)
        if self.then_rank is None:
            return runs.models(trained), Source(kind="run", name=source, measured=(measured,))
        other = runs.load(self.then_rank)
        refuse_other_ids(trained.data.schema, other.data.schema)
        both = Source(kind="run", name=f"{source}, {self.then_rank}", measured=(measured, runs.measured(other)))
        return joined(runs.retriever(trained, self.retrieve), runs.models(other)), both
