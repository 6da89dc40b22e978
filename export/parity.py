"""The parity ladder: is what the server answers what was trained?

    model       training form against served form, both in fp64, and the served fp32 against the training form
    tables      the answers before the tables were rounded, where they were, against those after, within the tolerance
                that the release names
    export      the eager answers against the model in this process (ONNX Runtime, and the steps of an ensemble one
                after the other), in batches of 1, 2, 7 and the largest
    fold        states to which events were added one after the other against those that the encoder reads from whole
                histories, where states take single events; also where the caller keeps the state
    recall      what an approximate index finds of the exact lists, against the least that its export promised
    served      the model in this process against the running server, one request at a time: not a bit may differ
                where it is one graph
    kernel      in place of `served` for the kernel form of a model: the running server against the ONNX form's
                graph in this process
    concurrent  each request alone against the same request among many clients, really batched by the server

Each rung takes the goldens of the model's newest version, whose files must be those that were published. The ladder
stops at the first rung that breaks.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from export import rungs
from export.rungs import Concurrency, Model, Row
from serving.configs import is_ensemble
from serving.options import Backend
from serving.readiness import models
from serving.server import ServerOptions, TritonServer


@dataclass(frozen=True, kw_only=True)
class ParityOptions:
    """What to walk, and how hard to press on the concurrent rung."""

    target: str = "cpu"
    backend: Backend = "python"
    requests: int = 256
    """Concurrent requests per model."""
    clients: int = 16
    backends: Path | None = None
    """Source folder of the Python-based backends; the project's own where None."""


class Ladder(NamedTuple):
    """All rungs that were walked."""

    rows: list[Row]
    concurrent: Concurrency
    """Summed over the models."""

    @property
    def ok(self) -> bool:
        return all(row.ok for row in self.rows)


def walk(repository: Path, options: ParityOptions, report: Callable[[Row], None] = lambda row: None) -> Ladder:
    """Walks all models of a repository; `report` hears of each rung as it is done.

    Raises ValueError for a repository that cannot be walked, StartupError for a server that does not come up.
    """
    rows: list[Row] = []
    total = Concurrency(0, 0)
    # What a part does is told of the part, before the ensemble that runs it.
    paths = sorted(models(repository, options.target), key=is_ensemble)
    opened = [rungs.opened(path, options.target) for path in paths]

    def passed(row: Row) -> bool:
        rows.append(row)
        report(row)
        return row.ok

    if not all(passed(row) for row in _offline(opened)):
        return Ladder(rows, total)
    with tempfile.TemporaryDirectory(prefix="recserve-parity-") as state, _server(repository, state, options) as server:
        with server.client() as client:
            for model in opened:
                row, alone = rungs.served(model, client)
                if not passed(row):
                    return Ladder(rows, total)
                row, counted = rungs.concurrent(model, alone, server, options.requests, options.clients)
                total = Concurrency(total.requests + counted.requests, total.executions + counted.executions)
                if not passed(row):
                    return Ladder(rows, total)
    return Ladder(rows, total)


def offline(repository: Path, target: str = "cpu") -> list[Row]:
    """The rungs that need no server, of all models of a repository. Raises ValueError as `walk` does."""
    return list(_offline([rungs.opened(path, target) for path in models(repository, target)]))


def _server(repository: Path, state: str, options: ParityOptions) -> TritonServer:
    # The ladder itself judges the goldens, so that a wrong model breaks a rung and not the start.
    return TritonServer(
        repository,
        ServerOptions(
            target=options.target,
            backend=options.backend,
            state=Path(state),
            backends=options.backends,
            check_golden=False,
        ),
    )


def _offline(opened: Sequence[Model]) -> Iterator[Row]:
    for model in opened:
        if model.goldens[0].reference64:
            yield rungs.trained(model)
        if any(one.unrounded for one in model.goldens):
            yield rungs.rounded(model)
        if model.direct is not None and not model.is_kernel_form:
            yield rungs.exported(model, model.direct)
        if model.fold is not None:
            yield rungs.folded(model, model.fold)
        if model.recall is not None:
            yield rungs.recalled(model, model.recall)
