"""`recserve study stored-tables`: what tables in float16 and int8 cost and save."""

from dataclasses import dataclass
from pathlib import Path

from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.results import spread
from recserve.studies.stored_tables.lookups import Plan, timed
from recserve.studies.stored_tables.quality import METRICS, of_runs
from serving.environment import circumstances
from training.checkpoint import write_json


@dataclass(frozen=True, kw_only=True)
class StoredTables(Command):
    """Measure finished click runs with tables in float32, float16 and int8, their graphs' bytes, and look-ups in turn.

    int8 with one scale for a whole table is the control of int8 with one for each row.
    """

    runs: Positional[tuple[Path, ...]]
    """Folders of the runs, one for each seed."""
    rows: int = 500_000
    """Rows of the table whose look-ups are timed."""
    width: int = 64
    """Width of that table."""
    ids: int = 1000
    """Ids of a call."""
    turns: int = 200
    """Calls in each form, one after the other."""
    output: Path = STUDY_RESULTS / "quantised-tables.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if min(self.rows, self.width, self.ids, self.turns) < 1:
            raise ValueError("--rows, --width, --ids and --turns must be at least 1")

    def run(self) -> int:
        with self.console.status("study stored-tables") as status:
            found = of_runs(self.runs, status.update)
            status.update("timing look-ups")
            plan = Plan(self.rows, self.width, self.ids, self.turns)
            result = {
                "scenario": "quantised-tables",
                "kind": "quantised-tables",
                "run": ", ".join(f"{one.parent.name}/{one.name}" for one in self.runs),
                **circumstances(),
                **found,
                "look_ups": {**plan._asdict(), "forms": timed(plan)},
            }
        write_json(self.output, result)
        shown = [
            [row["form"], *(spread(row["by_seed"][name])["mean"] for name in METRICS), row.get("file_bytes", "")]
            for row in found["rows"]
        ]
        show(self.console, table(f"{found['system']} on {found['dataset']}", ["tables", *METRICS, "bytes"], shown))
        timings = [[one["form"], one["median_us"], one["of_float32"]] for one in result["look_ups"]["forms"]]
        show(self.console, table(f"{self.ids:,} look-ups", ["table", "us", "of float32"], timings))
        self.console.print(str(self.output), highlight=False, soft_wrap=True)
        self.emit(result)
        return 0
