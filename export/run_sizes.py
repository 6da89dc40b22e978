"""How many elements a run of a graph should have at most, measured at export; our design.

A dynamic batch is answered by one run of its graph, which saves what a run costs by itself. But a run of many elements
works on more memory than a core's cache holds, pads requests of unlike length to the longest, and lets each request
wait for all. So batches of some kinds are answered as a server would answer them, in one run and in runs of several
sizes, and the size that takes least time over all of them is written into the configuration of a new model.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from google.protobuf import json_format

from export import eager
from export.goldens import cut_tensors
from export.kinds import MODEL_FILE, kind_of
from export.model_config import model_config
from serving.backends import packing
from serving.backends.onnxruntime import batching
from serving.backends.onnxruntime.model_spec import ModelSpec
from serving.backends.packing import Request
from training.servable import Signature

SIZES = (250, 500, 1000, 2000, 4000)
KINDS = ((1000,), (100,), (20,), (20, 1000))
"""Elements of the requests of a batch, in turn."""
_REQUESTS = 8
_REPEATS = 3
_BUDGET_S = 0.5
"""Of processor time, for a graph; what was measured by then decides."""
_WORTH = 0.95
"""Share of the time of one run that bounded runs must not exceed."""


def with_run_size(signature: Signature, folder: Path, report: Callable[[str], None]) -> Signature:
    """The signature with the bound for the graph in a version's folder; as it is where one run is best, where requests
    are rows and have no elements, and where nothing could be measured, of which the report hears."""
    if kind_of(signature).backend != "onnxruntime" or not any(spec.ragged for spec in signature.inputs):
        return signature
    try:
        return replace(signature, run_elements=measured(signature, folder / MODEL_FILE))
    except Exception as error:  # the errors of runtimes have no base class of their own
        # A request many times over is within all bounds that are declared, and may still be none for the graph.
        why = str(error).partition("\n")[0]
        report(f"{signature.name}: runs have no bound, as the graph refuses requests of more elements: {why}")
        return signature


def measured(signature: Signature, path: Path) -> int | None:
    """The bound, None for none. Raises what the graph does."""
    config: Any = model_config(replace(signature, run_elements=None), "cpu")
    spec = ModelSpec.parse(json_format.MessageToDict(config, preserving_proto_field_name=True))
    if spec.max_batch_size < 2:
        return None
    return _best(batching.load_session(path, spec), spec, list(_batches(signature, spec)))


def _best(session: onnxruntime.InferenceSession, spec: ModelSpec, batches: Sequence[Sequence[Request]]) -> int | None:
    start, shares = time.thread_time(), dict[int, list[float]]()
    for batch in batches:
        whole = _seconds(lambda batch=batch: batching.run(session, spec, batch))
        for size in SIZES:
            bounded = replace(spec, run_elements=size)
            seconds = _seconds(lambda batch=batch, bounded=bounded: batching.run(session, bounded, batch))
            shares.setdefault(size, []).append(seconds / whole)
        if time.thread_time() - start > _BUDGET_S:
            break
    means = {size: float(np.mean(of)) for size, of in shares.items()}
    best = min(means, key=lambda size: means[size], default=None)
    return best if best is not None and means[best] <= _WORTH else None


def stretched(spec: ModelSpec, request: Request, length: int) -> Request:
    """Its ragged inputs over and over, as often as the largest comes to `length` elements at most, and once at least:
    what goes together stays in proportion."""
    ragged = {field.name: field.max_elements for field in spec.inputs if field.ragged}
    times = length // max(1, packing.elements(spec, request))
    for name, most in ragged.items():
        times = times if most is None else min(times, most // max(1, request[name].size))
    return {name: np.tile(array, (1, max(1, times))) if name in ragged else array for name, array in request.items()}


def _batches(signature: Signature, spec: ModelSpec) -> Iterator[list[Request]]:
    inputs = eager.example(signature, _REQUESTS, 0)
    requests = cut_tensors(signature, signature.inputs, inputs, inputs)
    some = [one for one in requests if packing.elements(spec, one)]
    shortest = min(some, key=lambda one: packing.elements(spec, one), default=None)
    if shortest is not None:
        for kind in KINDS:
            yield [stretched(spec, shortest, length) for length in islice(cycle(kind), _REQUESTS)]


def _seconds(work: Callable[[], object]) -> float:
    """Processor time of this thread, the least of some."""
    return min(_once(work) for _ in range(_REPEATS))


def _once(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start
