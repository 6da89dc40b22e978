"""The graph and the index, published as they are served, asked the same in this process, in turn.

Legend: N items, D width of vectors, K listed items.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from export.artifacts import Source
from export.repository import publish
from recserve.studies.ann.mixture import mixture
from recserve.studies.ann.requests import example, fresh, inputs
from recserve.studies.lrea_length.measure import interleaved
from serving.ann_index import INDEX_FILE, VECTORS_FILE, Listed, facts_of, recall
from serving.direct import DirectModel
from serving.in_process import Here
from serving.steps.ann import AnnStep
from serving.steps.step import Refusal, Tensors
from serving.versions import served_version
from training.servable import TensorSpec
from training.steps.ann import EXACT_ITEMS, ann, build
from training.tasks.retrieval_by_user import exact

WAYS = ("exact", "ann")
BATCHES = (1, 16)
"""Requests that are answered in one run."""
ASKED = 192
"""Users whose lists are compared, and who are asked in turn."""

Report = Callable[[str], None]
Answer = Callable[[Sequence[Tensors]], Sequence[Tensors | Refusal]]


class Size(NamedTuple):
    """Of a case."""

    items: int
    width: int
    top: int


def measured(kind: str, size: Size, repetitions: int, report: Report) -> dict[str, Any]:
    """Medians of processor time for one request, by way and by requests in a run; recall, bytes and build."""
    source = mixture(kind, size.items, size.width)
    vectors = np.concatenate([np.zeros((1, size.width), np.float32), source.draw(size.items, 1)])
    about = f"{size.items:,} items, {kind}"
    report(f"{about}: building")
    start = time.process_time()
    build(vectors)
    built = time.process_time() - start
    with tempfile.TemporaryDirectory(prefix="recserve-ann-") as name:
        folder = Path(name)
        report(f"{about}: publishing")
        _publish(folder, vectors, size, example(vectors, source, size.top))
        answers: dict[str, Answer] = {
            "exact": DirectModel.open(folder / "exact").run,
            "ann": AnnStep(Here(folder, "cpu"), served_version(folder / "ann")).answer,
        }
        asked = fresh(vectors, source, ASKED)
        del vectors
        report(f"{about}: comparing lists")
        met = recall(*(_lists(answers[way], asked) for way in reversed(WAYS)))
        report(f"{about}: timing")
        calls = {(way, batch): _call(answers[way], asked, batch) for way in WAYS for batch in BATCHES}
        timings = interleaved(calls, repetitions, lambda done, all_: None, time.process_time)
        cpu = {case: timing.percentiles.p50 / case[1] for case, timing in timings.items()}
        return {
            "kind": kind,
            "items": size.items,
            "rule": "exact" if size.items <= EXACT_ITEMS else "ann",
            **_of_index(served_version(folder / "ann")),
            "recall": round(met, 4),
            **{f"{way}_cpu_ms": round(cpu[way, 1], 4) for way in WAYS},
            "exact_of_ann": round(cpu["exact", 1] / cpu["ann", 1], 2),
            **{f"{way}_cpu_ms_of_{batch}": round(cpu[way, batch], 4) for batch in BATCHES[1:] for way in WAYS},
            **{f"{way}_repetitions": timings[way, 1].repetitions for way in WAYS},
            "graph_bytes": sum(path.stat().st_size for path in served_version(folder / "exact").glob("*.onnx*")),
            "build_cpu_s": round(built, 2),
        }


def _publish(folder: Path, vectors: np.ndarray, size: Size, drawn: Callable[[int, int], Any]) -> None:
    items = TensorSpec(name="items", dtype="int64", shape=(size.top,))
    for way, make in zip(WAYS, (exact, ann), strict=True):
        model = make(way, vectors, {}, size.top, inputs(size.width), items, drawn)
        publish(folder, (model,), Source(kind="factory", name="recserve.studies.ann.bench:measured"))


def _of_index(folder: Path) -> dict[str, Any]:
    facts = facts_of(folder)
    files = {"index_bytes": INDEX_FILE, "vectors_bytes": VECTORS_FILE}
    sizes = {name: (folder / file).stat().st_size for name, file in files.items()}
    return {"factory": facts.factory, "nprobe": facts.nprobe, "recall_when_made": round(facts.recall, 4), **sizes}


def _call(answer: Answer, asked: Sequence[Tensors], batch: int) -> Callable[[int], object]:
    groups = [asked[start : start + batch] for start in range(0, len(asked), batch)]
    return lambda number: answer(groups[number % len(groups)])


def _lists(answer: Answer, asked: Sequence[Tensors]) -> list[Listed]:
    found = []
    for request in asked:
        (told,) = answer([request])
        assert not isinstance(told, Refusal), told
        items, scores = told["items"][0], told["scores"][0]
        found.append(Listed(items[items > 0], scores[items > 0]))
    return found
