"""Everything that is asked: published models, a running server, the same graphs in this process, and the requests."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from export.artifacts import Source
from export.repository import publish
from loadtest.cores import split, started_on
from recserve.studies.lrea_length.models import CANDIDATES, ITEMS, RAW, STORED, USERS, Models, build, name_of
from serving.admin import Admin
from serving.backends import packing
from serving.direct import DirectModel
from serving.server import ServerOptions, TritonServer
from training.layers.prestored import histories_of
from training.servable import Signature

LONGEST_SERVED_RAW = 2048
"""Raw-history ways are served up to this length: beyond it their own work hides the server, which is what a served
figure shows (DIN at 16,384 takes seconds)."""
TAIL = 20
"""Candidates whose raw-history answers are compared with PyTorch's."""
DEADLINE_S = 60.0

Tensors = dict[str, np.ndarray]


class Case(NamedTuple):
    """One thing that is timed."""

    way: str
    where: str
    """direct (in this process), server, or state (cost of the user's side)."""
    length: int


Ask = Callable[[int], np.ndarray]
"""Number of a request -> scores [C]."""


class Questions(NamedTuple):
    """The requests of one length, one per user, by way; and what PyTorch says of raw histories."""

    length: int
    requests: dict[str, list[Tensors]]
    without: list[Tensors]
    """The requests of `absorbed` with a state that says nothing: what the history changes is the scale of a gap."""
    trusted: dict[str, np.ndarray]
    """Raw way -> scores [TAIL] of the first request's last candidates."""


class Lab(NamedTuple):
    """Ready to be asked."""

    questions: tuple[Questions, ...]
    direct: dict[str, DirectModel]
    served: frozenset[str]
    repository: Path
    server: TritonServer
    client: Admin

    def asks(self) -> dict[Case, Ask]:
        """Every way at every length, in this process and through the server; the lengths of a way take turns."""
        ways = [(way, where) for where in ("direct", "server") for way in (*RAW, *STORED)] + [("ranker", "server")]
        asks: dict[Case, Ask] = {}
        for way, where in ways:
            for questions in self.questions:
                model = name_of(way, questions.length)
                if where == "direct":
                    asks[Case(way, where, questions.length)] = self._directly(model, questions.requests[way])
                elif model in self.served:
                    asks[Case(way, where, questions.length)] = self._by_server(model, questions.requests[way])
        return asks

    def without_history(self, length: int) -> Ask:
        """The absorbed scorer on a state of zeros."""
        questions = next(one for one in self.questions if one.length == length)
        return self._directly(name_of("absorbed", length), questions.without)

    def _directly(self, model: str, requests: Sequence[Tensors]) -> Ask:
        session, spec = self.direct[model].session, self.direct[model].spec
        feeds = [packing.pack(spec, [request]) for request in requests]
        return lambda number: np.asarray(session.run(None, feeds[number % len(feeds)])[0]).reshape(-1)

    def _by_server(self, model: str, requests: Sequence[Tensors]) -> Ask:
        client = self.client
        return lambda number: client.infer(model, requests[number % len(requests)])["scores"].reshape(-1)


@contextmanager
def opened(lengths: Sequence[int], folder: Path, report: Callable[[str], None]) -> Iterator[Lab]:
    """Builds and publishes the models of all lengths in `folder`, starts the server, opens the graphs.

    The server runs on all cores but the last, this process meanwhile on the last one.

    Raises ValueError where a graph answers differently than its module, StartupError where the server does.
    """
    questions, served, direct = [], set(), set()
    for length in lengths:
        models = build(length)
        alone = () if length <= LONGEST_SERVED_RAW else models.raw
        together = (*models.stored, *(models.raw if not alone else ()))
        report(f"exporting the graphs for {length:,} events")
        publish(folder / "served", together, Source(kind="factory", name="recserve.studies.lrea_length.models:build"))
        if alone:
            publish(folder / "direct", alone, Source(kind="factory", name="recserve.studies.lrea_length.models:build"))
        served |= {signature.name for signature in together}
        direct |= {signature.name for signature in (*models.stored, *models.raw) if signature.is_graph}
        questions.append(_questions(models))
    report(f"starting tritonserver with {len(served)} models")
    with ExitStack() as stack:
        server = TritonServer(folder / "served", ServerOptions(log=folder / "server.log"))
        with started_on(split().server):
            stack.enter_context(server)
        stack.enter_context(started_on(split().load))
        client = stack.enter_context(Admin(server.url, deadline_s=DEADLINE_S, admin_key=server.admin_key))
        opened_models = {
            name: DirectModel.open(folder / ("served" if name in served else "direct") / name) for name in direct
        }
        yield Lab(tuple(questions), opened_models, frozenset(served), folder / "served", server, client)


def _questions(models: Models) -> Questions:
    random = np.random.default_rng(models.length)
    candidates = [random.integers(1, ITEMS + 1, (1, CANDIDATES)) for _ in range(USERS)]
    stored = histories_of(models.data)
    histories = [
        {name: rows[user : user + 1] for name, rows in stored.items() if name != "user_ids"} for user in range(USERS)
    ]
    encoder = models.stored[0]
    states, products = ([_encoded(one, history) for history in histories] for one in (encoder, models.full_encoder))
    nothing = [
        {**state, **{name: np.zeros_like(state[name]) for name in ("keys", "values", "bias")}} for state in states
    ]
    of_raw = _joined(candidates, histories)
    return Questions(
        length=models.length,
        requests={
            **dict.fromkeys(RAW, of_raw),
            "absorbed": _joined(candidates, states),
            "fully_absorbed": _joined(candidates, products),
            "ranker": _joined(candidates, [{"user_id": user[None, None]} for user in stored["user_ids"]]),
        },
        without=_joined(candidates, nothing),
        trusted={
            way: raw.eager(*(torch.from_numpy(part) for part in (candidates[0][:, -TAIL:], *histories[0].values())))[0][
                0
            ].numpy()
            for way, raw in zip(RAW, models.raw, strict=True)
        },
    )


def _joined(candidates: Sequence[np.ndarray], others: Sequence[Tensors]) -> list[Tensors]:
    return [{"candidates": ids, **other} for ids, other in zip(candidates, others, strict=True)]


def _encoded(encoder: Signature, history: Tensors) -> Tensors:
    answer = encoder.eager(*(torch.from_numpy(history[spec.name]) for spec in encoder.inputs))
    return {spec.name: part.numpy() for spec, part in zip(encoder.outputs, answer, strict=True)}
