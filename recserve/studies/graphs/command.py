"""`recserve study graphs`: where the time of a repository's graphs goes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.artifacts import GOLDEN_FILE
from export.run_sizes import stretched
from recserve.commands.command import Command, show, table
from recserve.options import Positional
from recserve.pictures import STUDY_RESULTS, check_output
from recserve.studies.graphs.machine import Machine, measured
from recserve.studies.graphs.profile import timed, work_of
from recserve.studies.graphs.tables import COLUMNS, cells
from serving import golden
from serving.backends import packing
from serving.configs import read_config
from serving.direct import DirectModel
from serving.environment import circumstances
from serving.versions import served_version
from training.checkpoint import write_json

TARGET = "cpu"


@dataclass(frozen=True, kw_only=True)
class Graphs(Command):
    """Profile the graphs of a repository, one request each: nodes, share of products, distance to the floor.

    The floor is what the products' operations take at the speed of one large product, or the bytes at the speed of
    memory, whichever is longer. Processor time of one thread.
    """

    models: Positional[tuple[str, ...]] = ()
    """Names of models that are graphs; all by default."""
    repository: Path = Path("model_repository")
    """A model repository."""
    elements: int = 1000
    """Candidates, or events of a history, of the request, where the model takes so many."""
    repetitions: int = 100
    """Runs of each graph."""
    output: Path = STUDY_RESULTS / "graphs.json"
    """File of the result."""

    def __post_init__(self) -> None:
        check_output(self.output)
        if min(self.elements, self.repetitions) < 1:
            raise ValueError("--elements and --repetitions must be at least 1")

    def run(self) -> int:
        found = graphs_of(self.repository, self.models)
        rows = []
        with self.console.status("study graphs") as status:
            status.update("measuring the machine")
            machine = measured()
            for path in found:
                status.update(f"profiling {path.name}")
                rows.append(row(path, self.elements, self.repetitions, machine))
        result = {
            "scenario": "graphs",
            "kind": "graphs",
            **circumstances(),
            "elements": self.elements,
            "machine": machine._asdict(),
            "rows": rows,
        }
        write_json(self.output, result)
        title = f"one request of up to {self.elements:,} elements, one thread"
        show(self.console, table(title, list(COLUMNS), [cells(one) for one in rows]))
        self.console.print(str(self.output), highlight=False, soft_wrap=True)
        self.emit(result)
        return 0


def graphs_of(repository: Path, names: tuple[str, ...]) -> list[Path]:
    """Folders of the models that are graphs. Raises ValueError for a name that is none of them, or where there is
    none."""
    there = {path.name: path for path in _graphs(repository)}
    if unknown := [name for name in names if name not in there]:
        raise ValueError(f"{repository} has no graph '{unknown[0]}'; it has {', '.join(sorted(there)) or 'none'}")
    if not there:
        raise ValueError(f"{repository} has no graph; export a run into it, or name another --repository")
    return [there[name] for name in names or sorted(there)]


def _graphs(repository: Path) -> Iterator[Path]:
    for path in repository.glob("*/config.pbtxt"):
        if read_config(path.parent, TARGET).backend == "onnxruntime":
            yield path.parent


def row(path: Path, elements: int, repetitions: int, machine: Machine) -> dict[str, Any]:
    """Of one graph: its first golden request with as many elements as it may have."""
    folder = served_version(path)
    model = DirectModel.open(path, TARGET)
    spec = model.spec
    (request, *_) = (one.inputs for one in golden.read(folder / GOLDEN_FILE))
    request = stretched(spec, request, elements)
    feeds = packing.pack(spec, [request])
    seconds, work = timed(model, feeds, repetitions), work_of(model, folder / spec.filename, feeds, repetitions)
    return {
        "graph": path.name,
        "elements": packing.elements(spec, request) if spec.ragged else None,
        "nodes": work.nodes,
        "us": round(1e6 * seconds, 1),
        "products": round(work.products, 4),
        "mflop": round(work.flops / 1e6, 3),
        "kilobytes": round(work.bytes / 1e3, 1),
        "floor_us": float(f"{1e6 * machine.floor(work.flops, work.bytes):.3g}"),
        "slowest": [name for name, _ in sorted(work.seconds.items(), key=lambda pair: -pair[1])[:3]],
    }
