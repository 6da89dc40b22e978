"""`recserve study sanity-sequences`: are our sequence models what others call so?

Published figures on the very split that ours are measured on: S3-Rec's split of Amazon Beauty and Sports: the last item
of each user is the test target, ranked among all items that are not in the history. HR@k and Recall@k are the same, as
there is one target. The SASRec of these tables learns from one sampled negative per place; ours learns from the whole
catalogue. A public rerun that does so too reaches much more, but it shuffled the reviews of one day, so that it has
other targets: it shows what the loss is worth, and is no measure for ours. LETTER's ids are published, so that REG4Rec
on them stands beside LETTER's own generator (a T5).
"""

from dataclasses import dataclass
from typing import NamedTuple

from recserve import results
from recserve.commands.command import Command, show, table
from training.tasks.next_item import NEXT_ITEM

METRICS = ("recall5", "ndcg5", "recall10", "ndcg10")
WITHIN_REACH = 0.95
"""Of the published recall@10 and ndcg@10: what is left to the seed."""


class Published(NamedTuple):
    """One row of somebody's table."""

    dataset: str
    system: str
    """Ours of the same kind: <system>[-variant]."""
    source: str
    recall5: float
    ndcg5: float
    recall10: float
    ndcg10: float
    comparable: bool = True
    """Same targets and same ids as ours."""


_S3REC, _TIGER = "Zhou et al. 2020 (S3-Rec)", "Rajput et al. 2023 (TIGER)"
PUBLISHED = (
    Published("beauty", "sasrec", _S3REC, 0.0387, 0.0249, 0.0605, 0.0318),
    Published("beauty", "sasrec", "public rerun, cross-entropy, days shuffled", 0.0601, 0.0420, 0.0859, 0.0503, False),
    Published("beauty", "tiger", _TIGER, 0.0454, 0.0321, 0.0648, 0.0384),
    Published("beauty", "reg4rec-letter", "Wang et al. 2024 (LETTER), 20 beams", 0.0431, 0.0286, 0.0672, 0.0364),
    Published("beauty", "reg4rec-letter", "LETTER in cornac 3.0.1, 20 beams", 0.0420, 0.0279, 0.0656, 0.0354),
    Published("sports", "sasrec", _S3REC, 0.0233, 0.0154, 0.0350, 0.0192),
    Published("sports", "tiger", _TIGER, 0.0264, 0.0181, 0.0400, 0.0225),
)


@dataclass(frozen=True, kw_only=True)
class SanitySequences(Command):
    """Show recorded results of sequence models beside published ones; trains nothing.

    SASRec, TIGER and REG4Rec on LETTER's ids, on Amazon Beauty and Sports, where both are there.

    Exit code 1 where ours is not within reach of a comparable figure.
    """

    def run(self) -> int:
        recorded = {(one.dataset, one.system): means(one.system, one.dataset) for one in PUBLISHED}
        measured = {key: ours for key, ours in recorded.items() if ours}
        if not measured:
            raise ValueError(
                "nothing is recorded yet; recserve train sasrec --seeds 3 --record does it, tiger likewise"
            )
        rows = []
        for (dataset, system), ours in measured.items():
            rows += [(dataset, system, *published_row(one, ours)) for one in PUBLISHED if one[:2] == (dataset, system)]
            rows.append((dataset, system, "ours, mean over seeds", *(ours[name] for name in METRICS), ""))
        columns = ["data set", "system", "source", *METRICS, "smaller of recall10, ndcg10: ours/published"]
        show(self.console, table("Leave one out, all items ranked, test part", columns, rows))
        short = sorted(
            {
                f"{one.system} on {one.dataset}"
                for one in PUBLISHED
                if one.comparable and one[:2] in measured and reach(measured[one[:2]], one) < WITHIN_REACH
            }
        )
        said = f"[red]below[/] {WITHIN_REACH} of what is published: {', '.join(short)}" if short else "all within reach"
        self.console.print(said, highlight=False)
        ours = [{"dataset": dataset, "system": system, **test} for (dataset, system), test in measured.items()]
        self.emit({"published": [one._asdict() for one in PUBLISHED], "ours": ours, "below": short})
        return 1 if short else 0


def means(system: str, dataset: str) -> dict[str, float]:
    """Test metric -> mean over the recorded seeds; empty where nothing is recorded."""
    result = results.read(NEXT_ITEM.name, dataset, system)
    return {name: value["mean"] for name, value in result.test.items()} if result else {}


def published_row(one: Published, ours: dict[str, float]) -> tuple[object, ...]:
    """Source, figures, and how far ours reaches; not for a figure on other targets or ids."""
    return (one.source, *(getattr(one, name) for name in METRICS), reach(ours, one) if one.comparable else "")


def reach(ours: dict[str, float], published: Published) -> float:
    """The smaller of ours / published, of recall@10 and ndcg@10."""
    return min(ours["recall10"] / published.recall10, ours["ndcg10"] / published.ndcg10)
