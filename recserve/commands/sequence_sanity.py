"""`recserve sanity-sequences`: our sequence models beside published figures on the same split."""

from dataclasses import dataclass

from recserve import results
from recserve.commands.command import Command, show, table
from training.sequential_sanity import METRICS, PUBLISHED, WITHIN_REACH, Published, reach


@dataclass(frozen=True, kw_only=True)
class SequenceSanity(Command):
    """Show recorded results of SASRec, TIGER and REG4Rec on LETTER's ids beside published ones; trains nothing.

    On Amazon Beauty and Sports, where both are there.

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
    result = results.read(system, dataset)
    return {name: value["mean"] for name, value in result.test.items()} if result else {}


def published_row(one: Published, ours: dict[str, float]) -> tuple[object, ...]:
    """Source, figures, and how far ours reaches; not for a figure on other targets or ids."""
    return (one.source, *(getattr(one, name) for name in METRICS), reach(ours, one) if one.comparable else "")
