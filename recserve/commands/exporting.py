"""What `export` and `releases publish` share: a run, or models of one's own, as the models of a release."""

from dataclasses import dataclass
from pathlib import Path

from export.artifacts import Source
from export.factory import load_factory
from export.kinds import kernel_forms
from export.renaming import refuse_taken_parts, under_name
from recserve import runs
from recserve.commands.command import Command, show, table
from recserve.runs import Trained
from recserve.stored import Storing, marked, prices, stored
from training.layers.stored import Form
from training.retrieve_then_rank import joined, refuse_other_ids
from training.servable import Signature

_RETRIEVED = 200
_MOST_LOSS = 0.001


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
    retrieve: int | None = None
    """Items that SOURCE retrieves for the ranker; 200 by default, or all where there are fewer."""
    tables: Form | None = None
    """Form of tables by id that a graph does nothing with but look up: fp16, or int8 with a scale for each row; float32
    by default."""
    tables_max_loss: float | None = None
    """Loss of a metric that judges the task, on the test part, above which --tables is refused; 0.001 by default."""

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
            if self.tables is not None:
                raise ValueError("--tables is measured on the test part of a run; round a factory's own tables in it")
            return load_factory(source), Source(kind="factory", name=source)
        if self.retrieve is not None and self.then_rank is None:
            raise ValueError("--retrieve says how many items the ranker of --then-rank scores; name its run too")
        chain = [runs.load(Path(source))]
        if self.then_rank is not None:
            chain.append(runs.load(self.then_rank))
            refuse_other_ids(chain[0].data.schema, chain[1].data.schema)
        name = ", ".join(map(str, (source, self.then_rank)[: len(chain)]))
        if self.tables is None:
            if self.tables_max_loss is not None:
                raise ValueError("--tables-max-loss bounds what --tables may cost; say --tables fp16 or int8 too")
            return self._models(chain), _source(name, chain)
        rounded = [self._rounded(one) for one in chain]
        return marked(self._models(rounded), self._models(chain), self.tables), _source(name, rounded)

    def _models(self, chain: list[Trained]) -> tuple[Signature, ...]:
        """Of one run, or of a retriever's and a ranker's."""
        if len(chain) == 1:
            return runs.models(chain[0])
        retriever, ranker = chain
        listed = self._retrieved(len(retriever.data.interactions.items) - 1)
        return joined(runs.retriever(retriever, listed), runs.models(ranker))

    def _rounded(self, trained: Trained) -> Trained:
        """With its price, which is shown."""
        assert self.tables is not None
        most = _MOST_LOSS if self.tables_max_loss is None else self.tables_max_loss
        if most < 0:
            raise ValueError(f"--tables-max-loss is {most:g}; it must not be negative")
        found = stored(trained, Storing(form=self.tables, most_loss=most))
        rows = [[one.title, one.unrounded, one.rounded, f"{one.loss:+.5f}"] for one in prices(found)]
        columns = ["", "float32", self.tables, "loss"]
        show(self.console, table(f"{trained.system.name} on the test part of {trained.dataset}", columns, rows))
        return found

    def _retrieved(self, items: int) -> int:
        """Raises ValueError for none, and for more than there are."""
        if self.retrieve is None:
            return min(_RETRIEVED, items)
        if not 0 < self.retrieve <= items:
            raise ValueError(f"--retrieve is {self.retrieve}; retrieve 1 to {items} items, which the data set has")
        return self.retrieve


def _source(name: str, chain: list[Trained]) -> Source:
    return Source(kind="run", name=name, measured=tuple(map(runs.measured, chain)))
