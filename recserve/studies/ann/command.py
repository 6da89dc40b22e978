"""`recserve study ann`: lists from a product with all items and from an index, by the number of items."""

from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.ann import bench
from recserve.studies.ann.mixture import NOISE, PER_CENTRE
from recserve.studies.ann.picture import draw
from serving.environment import UNTRAINED, circumstances
from training.checkpoint import write_json
from training.steps.ann import EXACT_ITEMS

_COLUMNS = {
    "kind": "vectors",
    "items": "items",
    "nprobe": "lists",
    "recall": "recall",
    "exact_cpu_ms": "exact CPU ms",
    "ann_cpu_ms": "index CPU ms",
    "exact_of_ann": "exact of index",
    "exact_cpu_ms_of_16": "exact, of 16",
    "ann_cpu_ms_of_16": "index, of 16",
    "index_bytes": "index bytes",
    "build_cpu_s": "build CPU s",
    "rule": "rule",
}
_FEWEST = 1_000


@dataclass(frozen=True, kw_only=True)
class Ann(Command):
    """Time exact lists and those of an index in turn, by the number of items; recall, bytes and the build.

    Vectors are drawn: near centres, farther from them, and of all directions. Writes the result, and a picture beside
    it (.svg).
    """

    items: tuple[int, ...] = (10_000, 100_000, 200_000, 1_000_000)
    """Items of the cases."""
    kinds: tuple[str, ...] = tuple(NOISE)
    """Kinds of vectors."""
    width: int = 64
    """Numbers of a vector."""
    top: int = 200
    """Items of a list."""
    repetitions: int = 400
    """Repetitions of each timing; slow ones get as many as fit 6 seconds, at least 5."""
    output: Path = STUDY_RESULTS / "ann.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if not self.items or min(self.items) < _FEWEST:
            raise ValueError(f"--items must be at least {_FEWEST:,} each")
        if not self.kinds or not {*self.kinds} <= {*NOISE}:
            raise ValueError(f"--kinds is {' '.join(self.kinds)}; there are {', '.join(NOISE)}")
        if min(self.width, self.top, self.repetitions) < 1 or self.top > min(self.items) // 2:
            raise ValueError("--width, --top and --repetitions must be at least 1, --top at most half of --items")

    def run(self) -> int:
        rows = []
        with self.console.status("study ann") as status:
            for number in self.items:
                size = bench.Size(number, self.width, self.top)
                rows += [bench.measured(kind, size, self.repetitions, status.update) for kind in self.kinds]
        result = {
            "scenario": "ann",
            "kind": "ann",
            "run": UNTRAINED,
            **circumstances(),
            "width": self.width,
            "top": self.top,
            "exact_items": EXACT_ITEMS,
            "asked": bench.ASKED,
            "mixture": {"noise": NOISE, "items of a centre": PER_CENTRE},
            "rows": rows,
        }
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(result, picture)
        title = f"median CPU time of a request, one thread, the best {self.top}"
        shown = [[row[name] for name in _COLUMNS] for row in rows]
        show(self.console, table(title, list(_COLUMNS.values()), shown))
        self.console.print(f"{self.output}\n{picture}", highlight=False, soft_wrap=True)
        self.emit(result)
        return 0
