"""The rungs of the parity ladder, each over one model with its goldens; `export.parity` says what they are."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from export.fold import Fold
from export.fold_steps import StepFold
from export.kinds import KERNEL_BACKEND
from export.recall import Recall
from export.stored import gaps
from recserve_client.errors import ServingError
from serving import golden, manifest
from serving.admin import Admin
from serving.configs import read_config
from serving.golden import Gap, Golden
from serving.in_process import InProcessModel, runs_here
from serving.server import TritonServer
from serving.steps import ANN, USER_STATE, kind_of
from serving.versions import served_version

FP64_TOLERANCE = 1e-10
FP32_TOLERANCE = 1e-5
EXACT = 0.0
BATCH_SIZES = (1, 2, 7)
_MOST_ROUNDS = 6
"""Of the concurrent rung: 63 times its requests in all."""
DEADLINE_S = 30.0
Answer = dict[str, np.ndarray]


class Row(NamedTuple):
    """One rung of one model; `worst` and `absolute` are of its worst element."""

    model: str
    rung: str
    ok: bool
    worst: float
    """|actual - expected| / max(1, |expected|)."""
    absolute: float
    where: str
    """The output element, and the request that shows it."""


class Concurrency(NamedTuple):
    """Proof that the concurrent rung met real batches."""

    requests: int
    executions: int


@dataclass(frozen=True)
class Model:
    """A model of the repository with its goldens; `direct` is the model in this process, of a kernel form the model
    that it is a form of, and None for a Python model of somebody's own."""

    name: str
    goldens: list[Golden]
    direct: InProcessModel | None
    is_graph: bool
    """Of ONNX."""
    is_kernel_form: bool
    batched: str
    """The model whose statistics show the batching: itself, or an ensemble's last step."""
    max_batch_size: int
    fold: Fold | StepFold | None
    """Of a user-state model whose states take one event, and of one that is published answer by answer as well."""
    recall: Recall | None
    """Of an index that finds approximately."""
    tolerance: float
    """Of the answers of rounded tables."""


def opened(path: Path, target: str) -> Model:
    config = read_config(path, target)
    goldens = served_version(path) / "golden.safetensors"
    if not goldens.is_file():
        raise ValueError(f"{goldens} is missing: nothing to compare with; export the model again")
    manifest.verify(goldens.parent)
    kept, steps = golden.read(goldens), config.ensemble_scheduling.step
    return Model(
        name=path.name,
        goldens=kept,
        direct=_direct(path, config.backend, target),
        is_graph=config.backend == "onnxruntime",
        is_kernel_form=config.backend == KERNEL_BACKEND,
        batched=steps[-1].model_name if steps else path.name,
        max_batch_size=config.max_batch_size,
        fold=_fold(path, config.backend, target, kept),
        recall=Recall(served_version(path)) if kind_of(path) == ANN else None,
        tolerance=manifest.read(goldens.parent).get("tables", {}).get("tolerance", EXACT),
    )


def _direct(path: Path, backend: str, target: str) -> InProcessModel | None:
    if backend == KERNEL_BACKEND:
        return InProcessModel.open(path.parent / _form_of(path), target)
    return InProcessModel.open(path, target) if runs_here(path, target) else None


def _form_of(path: Path) -> str:
    """Name of the ONNX model that a kernel form must equal."""
    version = served_version(path)
    form_of = manifest.read(version).get("form_of")
    if not isinstance(form_of, str):
        raise ValueError(
            f"{version / manifest.MANIFEST_FILE} does not say which model this is a form of; export it again"
        )
    return form_of


def trained(model: Model) -> Row:
    gaps = []
    for number, one in enumerate(model.goldens):
        if not one.reference64:
            continue  # out of a log of requests, computed by the release itself
        shape = {name: array.shape for name, array in one.outputs.items()}
        served = {name: array.reshape(shape[name]) for name, array in one.served64.items()}
        trained = {name: array.reshape(shape[name]) for name, array in one.reference64.items()}
        gaps.append((number, golden.compare(trained, served, FP64_TOLERANCE), trained, served))
        rounded = {name: array.astype(one.outputs[name].dtype) for name, array in trained.items()}
        gaps.append((number, golden.compare(rounded, one.outputs, FP32_TOLERANCE), rounded, one.outputs))
    return _worst(model, "model", gaps)


def rounded(model: Model) -> Row:
    known = [(number, one) for number, one in enumerate(model.goldens) if one.unrounded]
    found = zip(known, gaps(model.goldens, model.tolerance), strict=True)
    return _worst(model, "tables", [(number, gap, one.unrounded, one.outputs) for (number, one), gap in found])


def exported(model: Model, direct: InProcessModel) -> Row:
    gaps = []
    for size in (*BATCH_SIZES, model.max_batch_size):
        repeated = [number % len(model.goldens) for number in range(max(size, len(model.goldens)))]
        for start in range(0, len(repeated) - size + 1, size):
            numbers = repeated[start : start + size]
            answers = direct.run([model.goldens[number].inputs for number in numbers])
            for number, answer in zip(numbers, answers, strict=True):
                expected = model.goldens[number].outputs
                gaps.append((number, golden.compare(expected, answer, FP32_TOLERANCE), expected, answer))
    return _worst(model, "export", gaps)


def _fold(path: Path, backend: str, target: str, goldens: Sequence[Golden]) -> Fold | StepFold | None:
    if kind_of(path) == USER_STATE:
        return Fold.of(path, target)
    return StepFold.of(path, target, goldens) if backend == "onnxruntime" else None


def folded(model: Model, fold: Fold | StepFold) -> Row:
    worst = Row(model.name, "fold", True, 0.0, 0.0, "no user has a history")
    for what, expected, answer in fold.pairs():
        gap = golden.compare(expected, answer, FP32_TOLERANCE)
        if worst.ok and (not gap.ok or gap.relative >= worst.worst):
            where = f"{what}, {gap.output}{list(gap.index)}"
            worst = Row(model.name, "fold", gap.ok, gap.relative, gap.absolute, where)
    return worst


def recalled(model: Model, recall: Recall) -> Row:
    found, least = recall.of([one.inputs for one in model.goldens])
    return Row(model.name, "recall", found >= least, 1 - found, 1 - found, f"{found:.4f} found, {least} is the least")


def served(model: Model, client: Admin) -> tuple[Row, list[Answer]]:
    rung = "kernel" if model.is_kernel_form else "served"
    tolerance = EXACT if model.is_graph else FP32_TOLERANCE
    gaps, alone = [], []
    for number, one in enumerate(model.goldens):
        expected = one.outputs if model.direct is None else model.direct.run([one.inputs])[0]
        try:
            answer = client.infer(model.name, one.inputs, deadline_s=DEADLINE_S)
        except ServingError as error:
            return _failed(model, rung, number, error), alone
        alone.append(answer)
        gaps.append((number, golden.compare(expected, answer, tolerance), expected, answer))
    return _worst(model, rung, gaps), alone


def concurrent(
    model: Model, alone: Sequence[Answer], server: TritonServer, requests: int, clients: int
) -> tuple[Row, Concurrency]:
    """Asks anew, twice as many requests each time, where no two met, as on a machine that is busy elsewhere."""
    counted, gaps = Concurrency(0, 0), []
    for seed in range(_MOST_ROUNDS):
        asked, found = _round(model, server, requests << seed, clients, seed)
        counted = Concurrency(counted.requests + found.requests, counted.executions + found.executions)
        for number, future in asked:
            error = future.exception()
            if error is not None:
                return _failed(model, "concurrent", number, error), counted
            expected, answer = alone[number], future.result()
            gaps.append((number, golden.compare(expected, answer, FP32_TOLERANCE), expected, answer))
        if counted.executions < counted.requests:
            break
    row = _worst(model, "concurrent", gaps)
    if counted.executions >= counted.requests:
        idle = f"{counted.requests} requests took {counted.executions} executions: nothing was batched, nothing proved"
        return row._replace(ok=False, where=idle), counted
    batched = f"{counted.requests} requests in {counted.executions} executions; {row.where}"
    return row._replace(where=batched), counted


def _round(
    model: Model, server: TritonServer, requests: int, clients: int, seed: int
) -> tuple[list[tuple[int, Future[Answer]]], Concurrency]:
    """Requests of many clients at once, by the number of their golden, and what the server counted of them."""
    numbers = np.random.default_rng(seed).integers(0, len(model.goldens), size=requests).tolist()
    with server.client() as client:
        before = client.statistics(model.batched)
        with ThreadPoolExecutor(clients) as pool:
            asked = [
                (number, pool.submit(client.infer, model.name, model.goldens[number].inputs, deadline_s=DEADLINE_S))
                for number in numbers
            ]
        after = client.statistics(model.batched)
    return asked, Concurrency(after.requests - before.requests, after.executions - before.executions)


def _worst(model: Model, rung: str, gaps: Sequence[tuple[int, Gap, Answer, Answer]]) -> Row:
    number, gap, expected, actual = max(gaps, key=lambda entry: (not entry[1].ok, entry[1].relative))
    return Row(
        model.name,
        rung,
        gap.ok,
        gap.relative,
        gap.absolute,
        _describe(model.goldens[number], number, gap, expected, actual),
    )


def _failed(model: Model, rung: str, number: int, error: BaseException) -> Row:
    return Row(model.name, rung, False, float("inf"), float("inf"), f"golden {number} was not answered: {error}")


def _describe(one: Golden, number: int, gap: Gap, expected: Answer, actual: Answer) -> str:
    element = f"golden {number}, {gap.output}{list(gap.index)}"
    if gap.ok:
        return element
    if not gap.index:
        found = actual.get(gap.output)
        shape = "nothing" if found is None else f"{found.dtype} {list(found.shape)}"
        wanted = expected[gap.output]
        return f"{element}: expected {wanted.dtype} {list(wanted.shape)}, got {shape}"
    values = f"expected {_shown(expected[gap.output][gap.index])}, got {_shown(actual[gap.output][gap.index])}"
    request = ", ".join(
        f"{name}={np.array2string(array.reshape(-1)[:4], separator=',')}{list(array.shape)}"
        for name, array in one.inputs.items()
    )
    return f"{element}: {values}; request: {request}"


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else f"{value:.9g}"
