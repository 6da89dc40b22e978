"""`recserve study planted collapse|pairs`: DEA on data with planted structure, with a picture."""

from dataclasses import asdict, dataclass
from pathlib import Path

from recserve.commands.command import Command, show, table
from recserve.pictures import check_picture
from recserve.studies.planted import experiments
from recserve.studies.planted.picture import draw_collapse, draw_pairs


@dataclass(frozen=True, kw_only=True)
class Planted(Command):
    """A planted experiment."""

    out: Path
    """File of the picture; .png, .svg or .pdf."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        check_picture(self.out)
        if self.seed < 0:
            raise ValueError(f"--seed is {self.seed}; it must not be negative")


@dataclass(frozen=True, kw_only=True)
class Collapse(Planted):
    """Train DEA, make one field's table rank one, and show how the filter closes on that field (10 s)."""

    def run(self) -> int:
        with self.console.status("planted collapse"):
            result = experiments.collapse(self.seed)
        draw_collapse(result, self.out)
        place = result.fields.index(result.collapsed)
        rows = []
        for state in result.states:
            others = [n for n in range(len(result.fields)) if n != place]
            weight = sum(state.weight[n][place] for n in others) / len(others)
            pruned = sum(state.pruned[n][place] for n in others) / len(others)
            healthy = max(state.pruned[i][j] for i in others for j in others)
            rows.append([state.title, state.rho[place], weight, pruned, healthy, state.auc])
        columns = [
            "state",
            f"rho of {result.collapsed}",
            "its mean weight",
            "its pairs pruned",
            "others' at most",
            "AUC",
        ]
        show(self.console, table("one field collapses to rank one", columns, rows))
        self.console.print(str(self.out), highlight=False, soft_wrap=True)
        self.emit(asdict(result))
        return 0


@dataclass(frozen=True, kw_only=True)
class Pairs(Planted):
    """Train DEA with and without codebooks on labels that only pairs of ids explain (20 s)."""

    def run(self) -> int:
        with self.console.status("planted pairs"):
            result = experiments.pairs(self.seed)
        draw_pairs(result, self.out)
        rows = [
            ["with codebooks", result.with_codebooks],
            ["the same, codebooks emptied", result.zeroed],
            ["trained without codebooks", result.without],
            [f"memory alone, two gated codebooks, {result.rows} rows", result.gated_two],
            [f"memory alone, one codebook, {result.rows} rows", result.one_codebook],
        ]
        show(self.console, table("labels that follow from pairs alone", ["model", "test AUC"], rows))
        self.console.print(str(self.out), highlight=False, soft_wrap=True)
        self.emit(asdict(result))
        return 0
