"""What holds for every system, on its task's planted data: it learns, resumes, batches, exports, and is what it was.

A paper's own file tests its mechanism; nothing here knows any of them. `System.quick` makes slow ones small.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from export.artifacts import Source
from export.parity import offline
from export.repository import publish
from tests.once import once_at
from training.fit import FitOptions, FitResult, fit, predict
from training.registry import SYSTEMS, system
from training.schema import Schema
from training.servable import Signature
from training.system import Data, Split, Stage, System, Wanted, prepare

pytestmark = [pytest.mark.slow(200), pytest.mark.parametrize("name", SYSTEMS)]
EPOCHS = 3
_MAX_LENGTH = 12


class Ready(NamedTuple):
    """A system with its quick configuration and its data."""

    system: System
    config: object
    data: Data


class Interrupted(Exception):
    """Stands for a process that is killed."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("every")


@cache
def ready(name: str) -> Ready:
    """On planted data, with what the systems that it builds on make of it, trained as quickly."""
    chosen = system(name)
    return ready_as(chosen, quick(chosen))


def ready_as(chosen: System, config: object) -> Ready:
    given: dict[str, Tensor] = {}
    for one in chosen.upstream(config):
        other = system(one.system)
        needed = ready_as(other, other.config(**{**other.quick, **one.config}))
        module = initial(needed)
        assert other.products is not None
        given |= other.products(module.eval(), needed.data)
    wanted = Wanted(chosen.reads, getattr(config, "max_length", _MAX_LENGTH), given)
    return Ready(chosen, config, chosen.view(chosen.task.view(chosen.task.planted(), wanted)))


def quick(chosen: System) -> object:
    """Its small form."""
    return chosen.config(**chosen.quick)


def initial(one: Ready) -> nn.Module:
    """Untrained, from a fixed seed."""
    torch.manual_seed(0)
    module = one.system.build(one.config, one.data.schema)
    prepare(module, one.data)
    return module


@cache
def trained(name: str, folder: Path) -> FitResult:
    one = ready(name)
    options = FitOptions(run=folder / name, seed=1, max_epochs=EPOCHS, quiet=True)
    return fit(one.system, one.config, one.data, options)


@cache
def released(name: str, folder: Path) -> tuple[Signature, ...]:
    one = ready(name)
    return one.system.release(trained(name, folder).module, one.config, one.data)


@cache
def repository(name: str, folder: Path) -> Path:
    """Its release, published once for all processes of a run of the tests; `folder` is one that the factory made."""

    def make(new: Path) -> None:
        publish(new, released(name, folder), Source(kind="run", name=name), ready(name).data.schema)

    return once_at(folder / f"{name}-repository", folder.parent, f"every-{name}", make)


def needs_steps(name: str) -> None:
    """Skips what only a system with stages can show; one in closed form has learnt before there is a step."""
    one = ready(name)
    if not one.system.stages_of(one.config, one.data.schema):
        pytest.skip(f"{name} has no stages")


def lines(run: Path, kind: str) -> list[dict]:
    return [line for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if line["kind"] == kind]


def test_the_loss_falls(name: str, folder: Path) -> None:
    needs_steps(name)
    losses: dict[str, list[float]] = {}
    for line in lines(trained(name, folder).run, "epoch"):
        losses.setdefault(line["stage"], []).append(line["loss"])
    first = next(iter(losses.values()))
    assert min(first[1:]) < first[0], losses


def test_its_columns_are_measured(name: str, folder: Path) -> None:
    chosen, measured = system(name), trained(name, folder).metrics["test"]
    assert {column.metric for column in chosen.task.columns} <= set(measured)
    assert all(np.isfinite(list(measured.values())))


def test_a_run_that_was_cut_off_ends_with_the_same_bits(name: str, folder: Path) -> None:
    needs_steps(name)
    one = ready(name)
    options = FitOptions(run=folder / f"{name}-cut", seed=1, max_epochs=EPOCHS, checkpoint_every=2, quiet=True)
    with pytest.raises(Interrupted):
        fit(_dying(one, 3), one.config, one.data, options)
    resumed = fit(one.system, one.config, one.data, replace(options, resume=True))
    for key, value in trained(name, folder).module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[key]), key


def _dying(one: Ready, step: int) -> System:
    """Its system, whose loss raises when it is asked for the given step, from 0."""
    asked = iter(range(step))

    def deadly(
        loss: Callable[..., tuple[Tensor, dict[str, Tensor]]],
    ) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
        def wrapped(*arguments: object) -> tuple[Tensor, dict[str, Tensor]]:
            if next(asked, None) is None:
                raise Interrupted
            return loss(*arguments)

        return wrapped

    def stages(config: object) -> list[Stage]:
        return [replace(stage, loss=deadly(stage.loss)) for stage in one.system.stages_of(config, one.data.schema)]

    return replace(one.system, stages=stages, stages_by_schema=None)


def test_batch_and_padding_do_not_matter(name: str, folder: Path) -> None:
    module, split = trained(name, folder).module, ready(name).data.test
    measured = {size: system(name).measure(module, _of_size(size), split) for size in (7, 4096)}
    assert measured[7] == pytest.approx(measured[4096], rel=1e-4, abs=1e-4)


def _of_size(size: int) -> Callable[..., np.ndarray]:
    def chosen(module: nn.Module, split: Split, batch_size: int = 0) -> np.ndarray:
        return predict(module, split, min(size, batch_size or size))

    return chosen


def test_it_exports_and_the_rungs_in_this_process_hold(name: str, folder: Path) -> None:
    signatures = released(name, folder)
    assert signatures[-1].name == name
    assert all(one.name.startswith(f"{name}_") for one in signatures[:-1])
    rows = offline(repository(name, folder))
    assert {row.rung for row in rows} - {"fold"} == {"model", "export"}, "a reference in fp64 and a graph"
    assert [row for row in rows if not row.ok] == []


def test_weights_of_training_alone_are_not_in_the_graphs(name: str, folder: Path) -> None:
    """What is found in a graph changes an answer when it is changed."""
    found = 0
    for signature in released(name, folder):
        file = repository(name, folder) / signature.name / "1" / "model.onnx"
        if signature.module is None or not file.is_file():
            continue
        held = {numpy_helper.to_array(one).tobytes() for one in onnx.load(file).graph.initializer}
        for key, value in signature.module.named_parameters():
            if value.numel() > 1 and value.detach().numpy().tobytes() in held:
                found += 1
                assert _matters(signature, value), f"{key} is in {signature.name} and changes nothing"
    assert found or len(released(name, folder)) > 0


def _matters(signature: Signature, parameter: nn.Parameter) -> bool:
    request = signature.example(16, 5)
    before = signature.eager(*request)
    kept = parameter.detach().clone()
    try:
        with torch.no_grad():
            parameter.mul_(-1.5).add_(0.3)
        return any(not torch.equal(one, other) for one, other in zip(before, signature.eager(*request), strict=True))
    finally:
        with torch.no_grad():
            parameter.copy_(kept)


def test_the_schema_says_what_it_needs(name: str, folder: Path) -> None:
    """A data set without the key of items is refused in one line, by the task and not by a stack of torch."""
    chosen = system(name)
    planted = chosen.task.planted()
    schema = Schema(dataset="keyless", fields=tuple(f for f in planted.schema.fields if "key" not in f.uses))
    with pytest.raises(ValueError, match="keyless cannot be used for"):
        chosen.task.view(replace(planted, schema=schema), Wanted(chosen.reads, _MAX_LENGTH, {}))
