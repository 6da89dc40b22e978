"""The scorers of target attention, early fusion and DMAE's forms beside each other, in ONNX Runtime, one thread."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.artifacts import Source
from export.repository import publish
from recserve.results import named
from recserve.studies.dmae.cold import Case
from recserve.studies.lrea_length.measure import interleaved
from serving.backends import packing
from serving.direct import DirectModel
from training.data.click import ClickData
from training.interactions import Interactions
from training.registry import system
from training.servable import Signature
from training.system import Wanted, prepare

CASES: tuple[Case, ...] = (
    ("din", {}),
    ("early_fusion", {}),
    ("dmae", {"fusion": "none"}),
    ("dmae", {"fusion": "gate"}),
    ("dmae", {}),
)
"""The first is what the others are compared with."""
EVENTS = 50
"""Of the histories in every case."""
_USERS = 8

Report = Callable[[str], None]


def run(
    interactions: Interactions,
    candidates: Sequence[int],
    repetitions: int,
    report: Report = lambda line: None,
    *,
    cases: Sequence[Case] = CASES,
    events: int = EVENTS,
) -> dict[str, Any]:
    """Median milliseconds of the processor for one request of a user with a full history, and ratios to the first case,
    by candidates. Of the processor, as a clock also counts what else a busy machine does, and long calls more of it."""
    with tempfile.TemporaryDirectory(prefix="recserve-cost-") as folder:
        calls: dict[tuple[str, int], Callable[[int], object]] = {}
        names = []
        for name, settings in cases:
            signature, data, users = _scorer(interactions, name, {**settings, "max_length": events})
            names.append(signature.name)
            report(f"exporting {signature.name}")
            publish(Path(folder), (signature,), Source(kind="factory", name="recserve.studies.dmae.cost:run"))
            model = DirectModel.open(Path(folder) / signature.name)
            for number in candidates:
                calls[signature.name, number] = _call(model, data, users, number)
        timings = interleaved(
            calls, repetitions, lambda done, all_: report(f"timed {done:,} of {all_:,} calls"), time.process_time
        )
    p50 = {case: timing.percentiles.p50 for case, timing in timings.items()}
    rows = [
        {"model": name, "candidates": number, "cpu_ms": round(p50[name, number], 4)}
        | {
            "ratio": round(p50[name, number] / p50[names[0], number], 3),
            "repetitions": timings[name, number].repetitions,
        }
        for number in candidates
        for name in names
    ]
    return {"dataset": interactions.name, "events": events, "rows": rows}


def _scorer(interactions: Interactions, name: str, settings: dict[str, Any]) -> tuple[Signature, ClickData, Signature]:
    """The graph of an untrained model, no time depends on weights, and the step before it."""
    chosen = system(name)
    config = chosen.config(**settings)
    data = chosen.task.view(interactions, Wanted(chosen.reads, config.max_length, {}))
    torch.manual_seed(0)
    module = chosen.build(config, data.schema).eval()
    prepare(module, data)
    assert isinstance(data, ClickData)
    users, scorer, *_ = chosen.release(module, config, data)
    called = named(name, chosen.variant(config)).replace("-", "_")
    return replace(scorer, name=called, max_batch_size=1), data, users


def _call(model: DirectModel, data: ClickData, users: Signature, candidates: int) -> Callable[[int], object]:
    random = np.random.default_rng(0)
    starts, ends = data.log.all_of(np.arange(len(data.interactions.users)))
    full = np.flatnonzero(ends - starts >= data.max_length)
    feeds = []
    for user in random.choice(full, _USERS, replace=False).tolist():
        items = random.integers(1, len(data.interactions.items), candidates)
        rows = users.eager(
            torch.tensor([[user]]), torch.from_numpy(items), torch.tensor([candidates], dtype=torch.int32)
        )
        request = {spec.name: row.numpy() for spec, row in zip(users.outputs, rows, strict=True)}
        feeds.append(packing.pack(model.spec, [{"candidates": items[None], **request}]))
    return lambda number: model.session.run(["scores"], feeds[number % _USERS])
