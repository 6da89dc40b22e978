"""`recserve study codebooks RUN [RUN ...]`: how tokenizers use their codebooks."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import check_picture
from recserve.runs import load
from recserve.studies.codebooks.picture import draw_codebooks
from training import checkpoint
from training.data import amazon_sequences
from training.layers.codebook_report import Use, collision_rate, use
from training.layers.tokenizer import Tokenizer
from training.systems.mmq2 import MMQ2

LETTER = "letter"
LETTER_WORDS = 256


class Codes(NamedTuple):
    """A catalogue's semantic ids."""

    name: str
    folder: Path | None
    """Of the run; None for published ids."""
    codes: np.ndarray
    """int64 [N, P]"""
    uses: list[Use]
    """Of each position."""
    active: np.ndarray | None
    """float32 [N, 2]: information richness and the number of active behaviour ids, where ids have weights."""


@dataclass(frozen=True, kw_only=True)
class Codebooks(Command):
    """Show how runs of tokenizers use their codebooks, beside LETTER's published ids where the data set is beauty."""

    runs: Positional[tuple[Path, ...]]
    """Folders of finished runs of one data set, as `recserve train` prints them."""
    out: Path | None = None
    """File of the picture; .png, .svg or .pdf."""

    def __post_init__(self) -> None:
        if self.out:
            check_picture(self.out)
        if not self.runs:
            raise ValueError("give at least one folder of a finished run of a tokenizer")

    def run(self) -> int:
        datasets, found = (list(part) for part in zip(*map(of_run, self.runs), strict=True))
        dataset, found = datasets[0], told_apart(found)
        if any(other != dataset for other in datasets):
            raise ValueError(
                f"the runs are of different data sets {sorted(set(datasets))}; show those of one at a time"
            )
        if dataset == "beauty":
            found.append(describe(LETTER, None, amazon_sequences.letter_codes()[1:], LETTER_WORDS))
        rows = [row for one in found for row in lines(one)]
        columns = ["ids", "codebook", "words", "utilisation", "entropy", "perplexity", "collision rate"]
        show(self.console, table(f"codebooks on {dataset}, entropy in nats", columns, rows))
        if self.out:
            draw_codebooks(found, self.out)
            self.console.print(f"picture: {self.out}", highlight=False)
        self.emit([facts(one) for one in found])
        return 0


def of_run(folder: Path) -> tuple[str, Codes]:
    """Data set and learnt ids of a finished run, without an id that numbers collisions.

    Raises ValueError for a run of something else than a tokenizer.
    """
    trained = load(folder)
    products = checkpoint.load_run(folder).products or {}
    if not isinstance(trained.module, Tokenizer) or "codes" not in products:
        raise ValueError(
            f"{folder} is a run of '{trained.system.name}', which is no tokenizer; give runs of tokenizers"
        )
    codes = products["codes"][1:, : trained.module.num_positions].numpy()
    active = None
    if isinstance(trained.module, MMQ2):
        routed = products["weights"][1:, -trained.module.config.behaviour :]
        richness = trained.module.richness.of(trained.module.behaviour[1:].norm(dim=1))
        active = np.stack([richness.numpy(), (routed > 0).sum(1).numpy()], axis=1)
    described = describe(trained.system.name, folder, codes, trained.module.num_words, active)
    return trained.data.schema.dataset, described


def told_apart(found: list[Codes]) -> list[Codes]:
    """Of several runs of one system each is named with its folder."""
    names = [one.name for one in found]
    return [
        one._replace(name=f"{one.name} {one.folder.name}") if one.folder and names.count(one.name) > 1 else one
        for one in found
    ]


def describe(
    name: str, folder: Path | None, codes: np.ndarray, num_words: int, active: np.ndarray | None = None
) -> Codes:
    """The use of each position of ids int64 [N, P]."""
    return Codes(name, folder, codes, [use(column, num_words) for column in codes.T], active)


def lines(one: Codes) -> list[list[object]]:
    """Rows of the table: each codebook, then all."""
    rows: list[list[object]] = [
        [one.name, number, len(use.counts), use.utilisation, use.entropy, use.perplexity, ""]
        for number, use in enumerate(one.uses)
    ]
    return [*rows, [one.name, "all", "", *means(one), collision_rate(one.codes)]]


def means(one: Codes) -> list[float]:
    """Utilisation, entropy and perplexity over the positions."""
    columns = [(use.utilisation, use.entropy, use.perplexity) for use in one.uses]
    return np.mean(columns, axis=0).tolist()


def facts(one: Codes) -> dict[str, object]:
    """For programs."""
    utilisation, entropy, perplexity = means(one)
    return {
        "name": one.name,
        "folder": one.folder,
        "codebooks": [
            {
                "words": len(use.counts),
                "utilisation": use.utilisation,
                "entropy": use.entropy,
                "perplexity": use.perplexity,
            }
            for use in one.uses
        ],
        "utilisation": utilisation,
        "entropy": entropy,
        "perplexity": perplexity,
        "collision_rate": collision_rate(one.codes),
    }
