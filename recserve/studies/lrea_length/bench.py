"""`recserve study lrea-length`: all ways at all lengths in one run, the costs of the state, ratios and their bars."""

import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loadtest.server_side import Snapshot
from recserve.studies.lrea_length import state
from recserve.studies.lrea_length.checks import gaps
from recserve.studies.lrea_length.lab import Case, Lab, opened
from recserve.studies.lrea_length.measure import Timing, interleaved
from recserve.studies.lrea_length.models import CANDIDATES, name_of, sizes
from recserve.studies.lrea_length.raw import CHUNK
from serving.environment import UNTRAINED, circumstances
from serving.state.store import StateStore

LENGTHS = (128, 512, 2048, 8192, 16384)
SPLIT_REQUESTS = 200
PLACES = 4
"""Decimals of milliseconds and ratios in the result."""

Report = Callable[[str], None]


class Bar(NamedTuple):
    """A measured ratio and what it must keep to."""

    measured: float
    bound: float
    at_most: bool

    @property
    def ok(self) -> bool:
        """Whether the ratio is on the right side of the bound."""
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound


def run(lengths: Sequence[int], repetitions: int, report: Report = lambda line: None) -> dict[str, Any]:
    """The result; at most `repetitions` of each case.

    Raises:
        ValueError: a way answers differently than it must.
        StartupError: the server did not come up.
    """
    with tempfile.TemporaryDirectory(prefix="recserve-length-") as folder:
        with opened(lengths, Path(folder), report) as lab:
            return measured(lab, lengths, repetitions, report)


def measured(lab: Lab, lengths: Sequence[int], repetitions: int, report: Report = lambda line: None) -> dict[str, Any]:
    """The result of models that are served. Raises ValueError where a way answers differently than it must."""
    with tempfile.TemporaryDirectory(prefix="recserve-length-") as folder:
        with StateStore(Path(folder) / "own.state") as store:
            report("comparing the answers of all ways")
            asks = lab.asks()
            worst = gaps(lab, asks)
            calls = {**asks, **state.steps(lab, store)}
            before = Snapshot.of(lab.server, lab.client)
            timings = interleaved(calls, repetitions, lambda done, all_: report(f"timed {done:,} of {all_:,} calls"))
            reads = Snapshot.of(lab.server, lab.client).metrics_delta(before)
            report("where the time of the ranker goes")
            return {
                "scenario": "lrea-length",
                "kind": "length",
                "run": UNTRAINED,
                **circumstances(),
                "candidates": CANDIDATES,
                "sizes": {**sizes(), "raw_chunk": CHUNK},
                "gaps": {what: float(f"{gap:.3g}") for what, gap in worst.items()},
                "rows": [_row(case, timing) for case, timing in timings.items() if case.where != "state"],
                "state": [_state(lab, questions.length, timings) for questions in lab.questions],
                "state_reads": {name: value for name, value in reads.items() if "user_state_reads" in name},
                "split": [
                    {"length": length, **_split(lab, asks[Case("ranker", "server", length)], length)}
                    for length in lengths
                ],
                "peak_rss_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
                **_judged(timings, min(lengths), max(lengths)),
            }


def _row(case: Case, timing: Timing) -> dict[str, Any]:
    percentiles = {f"{name}_ms": round(value, PLACES) for name, value in timing.percentiles._asdict().items()}
    return {**case._asdict(), **percentiles, "repetitions": timing.repetitions}


def _state(lab: Lab, length: int, timings: Mapping[Case, Timing]) -> dict[str, Any]:
    """Median costs of one user's state, its size, and that of the history it stands for."""
    medians = {f"{step}_ms": round(_p50(timings, step, "state", length), PLACES) for step in state.STEPS}
    questions = next(one for one in lab.questions if one.length == length)
    return {"length": length, **medians, "bytes": state.state_bytes(questions), "history_bytes": 16 * length}


def _split(lab: Lab, ask: Callable[[int], object], length: int) -> dict[str, float]:
    """Where the time of the ranker's answers goes, mean microseconds per request.

    `model` is what the server counts for reading the state and scoring, which are one model on the target `cpu`;
    `rest` is gRPC both ways and the client.
    """
    before, start = Snapshot.of(lab.server, lab.client), time.perf_counter()
    for number in range(SPLIT_REQUESTS):
        ask(number)
    whole = 1e6 * (time.perf_counter() - start) / SPLIT_REQUESTS
    counted = Snapshot.of(lab.server, lab.client).server_split(before)[name_of("ranker", length)]
    queue, model = counted["queue_us"], sum(counted[f"{part}_us"] for part in ("input", "infer", "output"))
    parts = {"whole_us": whole, "queue_us": queue, "model_us": model, "rest_us": whole - queue - model}
    return {name: round(value, 1) for name, value in parts.items()}


def _judged(timings: Mapping[Case, Timing], shortest: int, longest: int) -> dict[str, Any]:
    """Ratios of medians, by the lengths that they are of, and whether they keep to their bars."""
    scorer = _p50(timings, "absorbed", "direct", longest)
    served = _p50(timings, "absorbed", "server", longest) / _p50(timings, "absorbed", "server", shortest)
    bars = {
        f"served_{longest}_over_{shortest}": Bar(served, 1.10, at_most=True),
        f"din_over_lrea_direct_{longest}": Bar(_p50(timings, "din", "direct", longest) / scorer, 50.0, at_most=False),
        "end_to_end_over_direct_scorer": Bar(_p50(timings, "ranker", "server", longest) / scorer, 2.0, at_most=True),
    }
    return {
        "ratios": {name: round(bar.measured, PLACES) for name, bar in bars.items()},
        "bars": {
            name: {"bar": bar.bound, "measured": round(bar.measured, PLACES), "ok": bar.ok}
            for name, bar in bars.items()
        },
    }


def _p50(timings: Mapping[Case, Timing], way: str, where: str, length: int) -> float:
    return timings[Case(way, where, length)].percentiles.p50
