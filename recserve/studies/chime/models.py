"""The graphs and the requests of the study: LREA and DIN as in `lrea_length`, CHIME with the same width and network.

CHIME's scorer and its observer are one graph each for all lengths, as nothing of them knows a length; what differs is
the states that they are asked with. Weights are random, histories and contents made up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from export.artifacts import Source
from export.repository import publish
from recserve.studies.lrea_length import models as others
from recserve.studies.lrea_length.models import CANDIDATES, ITEMS, USERS
from serving.backends import packing
from serving.direct import DirectModel
from training.data.click import AGES, HISTORY, ClickData, click_data
from training.interactions import Content
from training.layers.prestored import histories_of
from training.servable import Packed, Signature
from training.system import Wanted
from training.systems.chime import CHIME, Config
from training.systems.chime.servables import servables

MAX_BATCH_SIZE = 8
WAYS = ("din", "lrea", "chime")
"""Scores of 1,000 candidates: from the history, and out of the two kinds of state."""
STEPS = ("build", "observe")
"""CHIME's state from the whole history, and from the state before one more event."""

Tensors = dict[str, np.ndarray]
Call = Callable[[int], object]


class Case(NamedTuple):
    """One thing that is timed."""

    way: str
    length: int


class Lab(NamedTuple):
    """Ready to be asked."""

    calls: dict[Case, Call]
    states: dict[str, int]
    """Bytes of one user's state, by way."""
    gap: float
    """The farthest that a served score of CHIME is from PyTorch's."""


def config_of(length: int) -> Config:
    """CHIME with the width and the network of the others."""
    return Config(dim=64, hidden=(200, 80), max_length=length)


def chime_data(length: int) -> ClickData:
    """The histories of the other ways, with contents of the items."""
    plain = others.histories(length, 0).interactions
    wanted = Wanted(frozenset({HISTORY, AGES}), length, {})
    return click_data(replace(plain, load_content=_content), wanted)


def _content() -> Content:
    random = np.random.default_rng(3)
    return Content(*(random.standard_normal((ITEMS + 1, width), np.float32) for width in (384, 128)))


def build(lengths: Sequence[int], folder: Path, report: Callable[[str], None]) -> Lab:
    """Exports all graphs and opens them in this process. Raises ValueError where one answers otherwise than its
    module."""
    calls: dict[Case, Call] = {}
    gaps, states = [], {}
    model: CHIME | None = None
    shared: dict[str, DirectModel] = {}
    for length in lengths:
        report(f"exporting the graphs for {length:,} events")
        data = chime_data(length)
        model = model or untrained(data)
        release = {one.name: one for one in servables("chime", model, config_of(length), data)}
        encoder = small(release["chime_encoder"].renamed(lambda name: f"{name}_{length}"))  # noqa: B023
        if not shared:
            parts = [small(release[name]) for name in ("chime_scorer", "chime_observer")]
            shared = opened(folder, parts)
        own = {**shared, **opened(folder, [encoder])}
        requests = requests_of(data, encoder)
        calls |= _chime(length, own, release, requests)
        gaps.append(_gap(own["chime_scorer"], release["chime_scorer"], requests[0]))
        built = others.build(length)
        lrea, din = built.stored[1], built.raw[0]
        there = opened(folder, [lrea, din])
        plain = _others(built, requests)
        states["chime"] = _bytes(requests[0].state)
        states["lrea"] = _bytes({name: array for name, array in plain["lrea"][0].items() if name != "candidates"})
        for way, signature in (("lrea", lrea), ("din", din)):
            calls[Case(way, length)] = _asking(there[signature.name], plain[way])
    return Lab(calls, states, max(gaps))


class Request(NamedTuple):
    """Of one user."""

    candidates: np.ndarray
    history: Tensors
    state: Tensors


def untrained(data: ClickData) -> CHIME:
    """With weights that follow from a fixed seed, as no time depends on them."""
    torch.manual_seed(0)
    built = CHIME(config_of(data.max_length), data.schema)
    built.prepare(data)
    return built.eval()


def small(signature: Signature) -> Signature:
    """With few requests in a run."""
    return replace(signature, max_batch_size=MAX_BATCH_SIZE)


def opened(folder: Path, signatures: Sequence[Signature]) -> dict[str, DirectModel]:
    """Exported, in this process."""
    publish(folder, signatures, Source(kind="factory", name="recserve.studies.chime.models:build"))
    return {one.name: DirectModel.open(folder / one.name) for one in signatures}


def requests_of(data: ClickData, encoder: Signature) -> list[Request]:
    """One for each user, with the state that the encoder gives."""
    random = np.random.default_rng(data.max_length)
    stored = histories_of(data)
    found = []
    for user in range(USERS):
        history = {name: rows[user : user + 1] for name, rows in stored.items() if name != "user_ids"}
        answer = encoder.eager(*(torch.from_numpy(history[spec.name]) for spec in encoder.inputs))
        state = {spec.name: part.numpy() for spec, part in zip(encoder.outputs, answer, strict=True)}
        found.append(Request(random.integers(1, ITEMS + 1, (1, CANDIDATES)), history, state))
    return found


def asked_of(release: Mapping[str, Signature], requests: Sequence[Request]) -> dict[str, list[Tensors]]:
    """What CHIME's graphs are asked: one request for each user to the scorer, to the encoder, and to the observer."""
    tail = release["chime_observer"].inputs[0].shape[0]
    assert isinstance(tail, int)
    scored = [{"candidates": one.candidates, **one.state} for one in requests]
    arrived = []
    for one in requests:
        newest = {spec.name: one.history[spec.name][:, :tail] for spec in release["chime_observer"].inputs[:3]}
        before = {f"before_{name}": array for name, array in one.state.items()}
        arrived.append({**newest, "history_length": np.array([[tail]]), **before})
    return {"chime": scored, "build": [one.history for one in requests], "observe": arrived}


def _chime(
    length: int, own: Mapping[str, DirectModel], release: Mapping[str, Signature], requests: Sequence[Request]
) -> dict[Case, Call]:
    asked = asked_of(release, requests)
    graphs = {"chime": "chime_scorer", "build": f"chime_encoder_{length}", "observe": "chime_observer"}
    return {Case(way, length): _asking(own[graph], asked[way]) for way, graph in graphs.items()}


def _others(built: others.Models, requests: Sequence[Request]) -> dict[str, list[Tensors]]:
    encoder = built.stored[0]
    stored = histories_of(built.data)
    asked: dict[str, list[Tensors]] = {"lrea": [], "din": []}
    for user, one in enumerate(requests):
        history = {name: rows[user : user + 1] for name, rows in stored.items() if name != "user_ids"}
        answer: Packed = encoder.eager(*(torch.from_numpy(history[spec.name]) for spec in encoder.inputs))
        state = {spec.name: part.numpy() for spec, part in zip(encoder.outputs, answer, strict=True)}
        asked["lrea"].append({"candidates": one.candidates, **state})
        asked["din"].append({"candidates": one.candidates, **history})
    return asked


def _asking(model: DirectModel, requests: Sequence[Tensors]) -> Call:
    feeds = [packing.pack(model.spec, [request]) for request in requests]
    return lambda number: model.session.run(None, feeds[number % len(feeds)])


def _gap(direct: DirectModel, scorer: Signature, request: Request) -> float:
    ends = torch.tensor([CANDIDATES], dtype=torch.int32)
    state = (torch.from_numpy(array) for array in request.state.values())
    (expected,) = scorer.eager(torch.from_numpy(request.candidates[0]), ends, *state)
    found = direct.run([{"candidates": request.candidates, **request.state}])[0]["scores"].reshape(-1)
    return float(np.abs(found - expected.numpy()).max())


def _bytes(state: Mapping[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in state.values())
