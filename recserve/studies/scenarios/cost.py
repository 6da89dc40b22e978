"""`recserve study sfpnet-cost`: SFPNet's two graphs beside one graph of the same module, in one interleaved run."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.artifacts import Source
from export.repository import publish
from recserve.commands.command import Command, show, table
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.lrea_length.measure import interleaved
from recserve.studies.matt_cost.bench import graph_call
from serving.direct import DirectModel
from serving.environment import UNTRAINED, circumstances
from training import datasets
from training.checkpoint import write_json
from training.data.click import ClickData
from training.layers.click_context import moments
from training.servable import Signature
from training.system import Wanted, prepare
from training.systems.sfpnet import SYSTEM, Config
from training.tasks.click import CLICK

CANDIDATES = (1, 10, 100, 500)
_ONE, _TWO = "sfpnet_one", "sfpnet_two"
_TIMED = ("one graph", "two graphs", "scene", "scorer")


@dataclass(frozen=True, kw_only=True)
class SfpnetCost(Command):
    """Time SFPNet's two graphs and one graph of the same module in turn, CPU time of one request in this process."""

    dataset: str = "kuairand"
    """Data set, whose user with the longest history asks."""
    candidates: tuple[int, ...] = CANDIDATES
    """Candidates of the requests."""
    max_length: int = 64
    """Events of a history that are kept."""
    repetitions: int = 200
    """Repetitions of each case; slow ones get as many as fit 6 seconds, at least 5."""
    output: Path = STUDY_RESULTS / "sfpnet-cost.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if min(self.repetitions, self.max_length) < 1 or not self.candidates or min(self.candidates) < 1:
            raise ValueError("--repetitions, --max-length and --candidates must be at least 1")

    def run(self) -> int:
        config = Config(max_length=self.max_length)
        data = CLICK.view(datasets.read(self.dataset), Wanted(SYSTEM.reads, config.max_length, {}))
        with self.console.status("study sfpnet-cost"):
            rows = timed(config, data, self.candidates, self.repetitions)
        result = {
            "scenario": "sfpnet-cost",
            "kind": "sfpnet-cost",
            "run": UNTRAINED,
            **circumstances(),
            "dataset": self.dataset,
            "max_length": self.max_length,
            "repetitions": self.repetitions,
            "rows": rows,
        }
        write_json(self.output, result)
        names = list(rows[0])
        show(
            self.console,
            table("median CPU time of one request, one thread", names, [[row[name] for name in names] for row in rows]),
        )
        self.console.print(str(self.output), highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


def timed(config: Config, data: ClickData, candidates: tuple[int, ...], repetitions: int) -> list[dict[str, Any]]:
    """A row for each number of candidates: milliseconds of the processor for one graph, for each of the two, for both
    together, and the ratio. Of the processor, as a clock also counts what else a busy machine does, and long calls more
    of it. All cases are spread over one run."""
    torch.manual_seed(0)
    module = SYSTEM.build(config, data.schema).eval()
    prepare(module, data)
    assert SYSTEM.served is not None
    two, one = SYSTEM.served(_TWO, module, config, data), CLICK.release(_ONE, module, data)
    with tempfile.TemporaryDirectory(prefix="recserve-scenes-") as folder:
        repository = Path(folder) / "repository"
        publish(repository, (*two, *one), Source(kind="factory", name="recserve.studies.scenarios.cost"))
        graphs = {
            name: DirectModel.open(repository / name) for name in (f"{_ONE}_scorer", f"{_TWO}_scene", f"{_TWO}_scorer")
        }
        calls = {
            (name, number): call for number in candidates for name, call in _calls(graphs, two, data, number).items()
        }
        timings = interleaved(calls, repetitions, lambda done, all_: None, time.process_time)
    found = []
    for number in candidates:
        cpu = {name: round(timings[name, number].percentiles.p50, 4) for name in _TIMED}
        row = {"candidates": number, **{f"{name}, CPU ms": cpu[name] for name in _TIMED}}
        found.append(row | {"two of one": round(cpu["two graphs"] / cpu["one graph"], 3)})
    return found


def _calls(
    graphs: dict[str, DirectModel], two: tuple[Signature, ...], data: ClickData, number: int
) -> dict[str, Callable[[int], object]]:
    """A request of the user with the longest history."""
    users, scene = two[0], two[1]
    starts, ends = data.log.all_of(np.arange(len(data.interactions.users)))
    user_id = data.interactions.raws("user", np.array([int(np.argmax(ends - starts))]))
    items = 1 + np.random.default_rng(0).integers(0, len(data.interactions.items) - 1, number)
    asked = {"candidates": np.array([data.interactions.raws("item", items)])}
    dense = torch.tensor([[int(np.argmax(ends - starts))]])
    rows = users.eager(dense, torch.from_numpy(items), torch.tensor([number]))
    named = {spec.name: row.numpy() for spec, row in zip(users.outputs, rows, strict=True)}
    context = {field.name: moments(field, data.interactions.events[field.name][:1]) for field in data.context}
    named |= context
    made = scene.eager(*(torch.from_numpy(named[spec.name]) for spec in scene.inputs))
    tailored = {spec.name: part.numpy() for spec, part in zip(scene.outputs[:2], made[:2], strict=True)}
    assert len(user_id) == 1
    one = graph_call(graphs[f"{_ONE}_scorer"], asked | named)
    first = graph_call(graphs[f"{_TWO}_scene"], named, list(tailored))
    length = {"history_length": named["history_length"]}
    second = graph_call(graphs[f"{_TWO}_scorer"], asked | tailored | length | context)
    return {
        "one graph": lambda _: one(),
        "two graphs": lambda _: (first(), second()),
        "scene": lambda _: first(),
        "scorer": lambda _: second(),
    }
