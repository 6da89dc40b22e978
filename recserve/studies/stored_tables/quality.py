"""AUC and bytes of finished runs whose tables are rounded."""

import copy
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor, nn

from export.kinds import MODEL_FILE, kind_of
from export.stored import tables_of
from recserve import runs
from recserve.runs import Trained
from recserve.stored import marked
from training.fit import predict
from training.layers.stored import LEVELS, Form, store_tables

FORMS: tuple[Form, ...] = ("fp16", "int8")
WHOLE, CONTROL = "float32", "int8, one scale for a table"
METRICS = ("auc", "gauc")

Report = Callable[[str], None]


def of_runs(folders: tuple[Path, ...], report: Report) -> dict[str, Any]:
    """By form: metrics of each run, and bytes of the first one's graphs. Raises ValueError for a run that has none of
    the metrics."""
    chain = [runs.load(folder) for folder in folders]
    for one in chain:
        if missing := [name for name in METRICS if name not in one.metrics["test"]]:
            raise ValueError(f"{one.folder} is not measured by {missing[0]}; name runs of the task click")
    rows = []
    for form in (WHOLE, *FORMS, CONTROL):
        measured = [_measured(one, form, report) for one in chain]
        by_seed = {name: [test[name] for test in measured] for name in METRICS}
        rows.append({"form": form, "by_seed": by_seed, **_bytes(chain[0], form, report)})
    return {"system": chain[0].system.name, "dataset": chain[0].dataset, "rows": rows}


def _measured(trained: Trained, form: str, report: Report) -> dict[str, float]:
    report(f"measuring {trained.folder.name} with tables as {form}")
    return trained.system.measure(_rounded(trained, form), predict, trained.data.test)


def _rounded(trained: Trained, form: str) -> nn.Module:
    module = copy.deepcopy(trained.module)
    if form == CONTROL:
        for layer in module.modules():
            if isinstance(layer, nn.Embedding):
                layer.weight.data.copy_(by_one_scale(layer.weight.detach()))
    elif form in FORMS:
        store_tables(module, form)
    return module


def by_one_scale(table: Tensor) -> Tensor:
    """The nearest int8 levels of one scale."""
    scale = table.abs().max() / LEVELS
    return (table / scale).round() * scale


def _bytes(trained: Trained, form: str, report: Report) -> dict[str, int]:
    """Of the ONNX files of a release, and of the tables in them; the control is written by no release."""
    if form == CONTROL:
        return {}
    report(f"exporting {trained.folder.name} with tables as {form}")
    models = runs.models(trained._replace(module=_rounded(trained, form)))
    if form in FORMS:
        models = marked(models, (), form)
    files = tables = 0
    for one in models:
        if kind_of(one).backend == "onnxruntime":
            with TemporaryDirectory() as folder:
                kind_of(one).write(one, Path(folder))
                path = Path(folder) / MODEL_FILE
                files += path.stat().st_size
                found = tables_of(path)
                tables += sum(found.stored.values()) + sum(found.whole.values())
    return {"file_bytes": files, "table_bytes": tables}
