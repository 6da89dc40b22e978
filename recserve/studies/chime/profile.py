"""`recserve study chime-profile`: which share of the time of CHIME's graphs assignment and histogram take.

A kernel of their own would pay from a fifth on.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import NodeProto

from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.chime.models import asked_of, chime_data, config_of, opened, requests_of, small, untrained
from recserve.studies.lrea_length.models import CANDIDATES
from recserve.studies.profile import classes_of, shares
from serving.backends import packing
from serving.environment import UNTRAINED, circumstances
from serving.versions import served_version
from training.checkpoint import write_json
from training.systems.chime.servables import servables

ASSIGNMENT, HISTOGRAM = "assignment", "histogram"
_LEVELS, _WITH_HISTOGRAM = "ResidualLevels", ("Encoder", "Observer")
_COUNTING = ("ScatterElements", "ScatterND")
_GRAPHS = {"build": "chime_encoder", "observe": "chime_observer", "chime": "chime_scorer"}


@dataclass(frozen=True, kw_only=True)
class ChimeProfile(Command):
    """Profile CHIME's graphs in ONNX Runtime: which share of their time assignment to words and histogram take."""

    lengths: tuple[int, ...] = (128, 2048)
    """Events per user."""
    repetitions: int = 20
    """Runs of each graph."""
    output: Path = STUDY_RESULTS / "chime-profile.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if not self.lengths or min(self.lengths) < 1 or self.repetitions < 1:
            raise ValueError("--lengths must be at least one, and they and --repetitions at least 1")

    def run(self) -> int:
        with self.console.status("study chime-profile"):
            rows = [row for length in self.lengths for row in profiled(length, self.repetitions)]
        result = {
            "scenario": "chime-profile",
            "kind": "profile",
            "run": UNTRAINED,
            **circumstances(),
            "candidates": CANDIDATES,
            "repetitions": self.repetitions,
            "rows": rows,
        }
        write_json(self.output, result)
        show(self.console, table("share of a graph's time", list(rows[0]), [list(row.values()) for row in rows]))
        self.console.print(str(self.output), highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


def profiled(length: int, repetitions: int) -> list[dict[str, Any]]:
    """A row for each graph, asked by a user with so many events."""
    data = chime_data(length)
    release = {one.name: one for one in servables("chime", untrained(data), config_of(length), data)}
    asked = asked_of(release, requests_of(data, release[_GRAPHS["build"]]))
    rows = []
    with tempfile.TemporaryDirectory(prefix="recserve-profile-") as folder:
        models = opened(Path(folder), [small(release[name]) for name in _GRAPHS.values()])
        for way, name in _GRAPHS.items():
            feeds = packing.pack(models[name].spec, [asked[way][0]])
            found = shares(served_version(Path(folder) / name) / "model.onnx", feeds, group_of, repetitions)
            parts = {part: round(found.get(part, 0.0), 4) for part in (ASSIGNMENT, HISTOGRAM)}
            rows.append({"graph": name, "events": length, **parts})
    return rows


def group_of(node: NodeProto) -> str | None:
    """Nodes of the levels are the assignment. All that encoder and observer have themselves counts as histogram, the
    state's few other numbers too; of the scorer, whose own nodes are the attention, what counts the newest codes."""
    classes = classes_of(node)
    if _LEVELS in classes:
        return ASSIGNMENT
    own = classes[-1:] and classes[-1] in _WITH_HISTOGRAM
    return HISTOGRAM if own or node.op_type in _COUNTING else None
