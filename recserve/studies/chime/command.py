"""`recserve study chime`: cost by the length of the history, beside LREA and DIN."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.chime.models import STEPS, WAYS, Case, build
from recserve.studies.chime.picture import LABELS, draw
from recserve.studies.lrea_length.measure import Timing, interleaved
from recserve.studies.lrea_length.models import CANDIDATES, sizes
from serving.environment import UNTRAINED, circumstances
from training.checkpoint import write_json

LENGTHS = (128, 512, 2048, 8192, 16384)
BAR = 1.1
"""Most that scoring with the longest history may take of scoring with the shortest."""
TOLERANCE = 1e-5
_SHORTEST = 64
_PLACES = 4


@dataclass(frozen=True, kw_only=True)
class Chime(Command):
    """Time CHIME's scorer, LREA's and DIN against the length of the history, and what CHIME's states cost.

    Exits with 1 where CHIME's scorer takes more than 1.1 times as long for the longest history as for the shortest.
    Writes the result, and a picture beside it (.svg).
    """

    lengths: tuple[int, ...] = LENGTHS
    """Events per user; the ratio compares the longest with the shortest."""
    repetitions: int = 1000
    """Repetitions of each case; slow ones get as many as fit 6 seconds, at least 5."""
    output: Path = STUDY_RESULTS / "chime-length.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if len(set(self.lengths)) < 2 or min(self.lengths) < _SHORTEST:
            raise ValueError(f"--lengths must be two or more different ones of at least {_SHORTEST}")
        if self.repetitions < 1:
            raise ValueError(f"--repetitions is {self.repetitions}; it must be at least 1")

    def run(self) -> int:
        with self.console.status("study chime") as status, tempfile.TemporaryDirectory() as folder:
            lab = build(sorted(set(self.lengths)), Path(folder), status.update)
            if not lab.gap <= TOLERANCE:
                raise ValueError(f"the scorer answers {lab.gap:.3g} from its module; nothing was timed")
            timings = interleaved(lab.calls, self.repetitions, lambda done, all_: None)
        result = self._result(timings, lab.states, lab.gap)
        write_json(self.output, result)
        picture = self.output.with_suffix(".svg")
        draw(result, picture)
        lengths = sorted(set(self.lengths))
        cells = {(row["way"], row["length"]): f"{row['p50_ms']:.2f}" for row in result["rows"]}
        rows = [[LABELS[way], *(cells[way, length] for length in lengths)] for way in (*WAYS, *STEPS)]
        title = f"p50 ms, {CANDIDATES:,} candidates, by events in the history"
        show(self.console, table(title, ["", *(f"{length:,}" for length in lengths)], rows))
        self.console.print(f"longest of shortest: {result['ratio']} (bar {BAR})\n{self.output}\n{picture}")
        self.emit(result)
        return 0 if result["ratio"] <= BAR else 1

    def _result(self, timings: dict[Case, Timing], states: dict[str, int], gap: float) -> dict[str, Any]:
        shortest, longest = (timings[Case("chime", pick(self.lengths))].percentiles.p50 for pick in (min, max))
        return {
            "scenario": "chime-length",
            "kind": "length",
            "run": UNTRAINED,
            **circumstances(),
            "candidates": CANDIDATES,
            "sizes": sizes(),
            "gap": float(f"{gap:.3g}"),
            "rows": [_row(case, timing) for case, timing in sorted(timings.items(), key=_order)],
            "state_bytes": states,
            "ratio": round(longest / shortest, _PLACES),
        }


def _order(entry: tuple[Case, Timing]) -> tuple[int, int]:
    return (*WAYS, *STEPS).index(entry[0].way), entry[0].length


def _row(case: Case, timing: Timing) -> dict[str, Any]:
    percentiles = {f"{name}_ms": round(value, _PLACES) for name, value in timing.percentiles._asdict().items()}
    return {**case._asdict(), **percentiles, "repetitions": timing.repetitions}
