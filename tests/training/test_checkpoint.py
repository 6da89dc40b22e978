"""Files of a run: whole or absent, and the same after a round trip."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning_fabric import Fabric

from tests.training.click_views import histories
from tests.training.tiny import SYSTEM, Config, Tiny
from training import checkpoint
from training.checkpoint import Run
from training.fit import FitOptions
from training.resuming import Checkpoints, Progress, TrainingState


def checkpoints(folder: Path) -> Checkpoints:
    """Of a run of one process."""
    return Checkpoints(folder, Fabric(accelerator="cpu", devices=1), ())


def finished_run() -> Run:
    data = histories()
    schema = data.schema
    info = checkpoint.start_info(SYSTEM, data.interactions, FitOptions(run=Path(), seed=3))
    return Run(
        info=replace(info, status="finished", finished=checkpoint.now()),
        config=checkpoint.config_to_json(Config(width=6)),
        schema=schema,
        weights=checkpoint.snapshot(Tiny(Config(width=6), schema)),
        metrics={"validation": {"auc": 0.1 + 0.2}, "test": {"auc": 0.5}},
    )


def test_a_run_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    run = finished_run()
    checkpoint.save_run(tmp_path / "tiny" / "1", run)
    back = checkpoint.load_run(tmp_path / "tiny" / "1")
    assert (back.info, back.config, back.schema, back.metrics) == (run.info, run.config, run.schema, run.metrics)
    assert back.weights is not None
    assert run.weights is not None
    assert back.weights.keys() == run.weights.keys()
    assert all(torch.equal(back.weights[name], run.weights[name]) for name in run.weights)
    assert {"python", "torch", "numpy", "recserve"} <= back.info.versions.keys()


def test_a_restored_module_has_the_config_weights_and_buffers_and_is_in_evaluation_mode() -> None:
    run = finished_run()
    module, config = checkpoint.restore(run, SYSTEM)
    assert config == Config(width=6)
    assert run.weights is not None
    assert torch.equal(module.get_parameter("items.weight"), run.weights["items.weight"])
    assert not module.training


def test_what_cannot_be_restored_says_why() -> None:
    run = finished_run()
    with pytest.raises(ValueError, match="of the system 'tiny', not of 'other'"):
        checkpoint.restore(run, replace(SYSTEM, name="other"))
    with pytest.raises(ValueError, match="has not finished; resume it first"):
        checkpoint.restore(replace(run, weights=None), SYSTEM)
    with pytest.raises(ValueError, match="the weights do not fit"):
        checkpoint.restore(replace(run, config={**run.config, "width": 3}), SYSTEM)
    with pytest.raises(ValueError, match=r"unknown fields \['depth'\]"):
        checkpoint.restore(replace(run, config={"depth": 1}), SYSTEM)


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        checkpoint.load_run(tmp_path)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    checkpoint.save_run(tmp_path, finished_run())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"cannot read .*config\.json"):
        checkpoint.load_run(tmp_path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    checkpoint.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        checkpoint.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_what_a_killed_writer_left_beside_is_never_read(tmp_path: Path) -> None:
    state = TrainingState(Progress(step=4), {"w": torch.ones(2)}, {}, {})
    checkpoints(tmp_path).save(state)
    (tmp_path / "resume.safetensors.partial").write_bytes(b"half")
    loaded = checkpoints(tmp_path).load()
    assert loaded is not None
    assert loaded.progress == state.progress
    checkpoints(tmp_path).save(state._replace(progress=Progress(step=5)))
    assert [path.name for path in tmp_path.iterdir()] == ["resume.safetensors"]


@settings(max_examples=20, deadline=None)
@given(loss=st.floats(allow_nan=False, allow_infinity=False), best=st.none() | st.floats(0, 1))
def test_a_training_state_comes_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, loss: float, best: float | None
) -> None:
    folder = tmp_path_factory.mktemp("state")
    moments = {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(2, 3)}, 12: {"step": torch.tensor(4.0)}}
    progress = Progress(stage=1, epoch=2, step=3, loss_sum=loss, best=best, stale=1, log_bytes=99)
    checkpoints(folder).save(TrainingState(progress, {"a.b": torch.randn(3)}, {"a.b": torch.randn(3)}, moments))
    state = checkpoints(folder).load()
    assert state is not None
    assert state.progress == progress
    assert state.optimizer.keys() == moments.keys()
    assert torch.equal(state.optimizer[0]["exp_avg"], moments[0]["exp_avg"])
    assert state.optimizer[12]["step"].shape == ()


def test_there_is_no_state_before_the_first_checkpoint(tmp_path: Path) -> None:
    assert checkpoints(tmp_path).load() is None


def test_tied_weights_are_saved_apart_and_stay_equal(tmp_path: Path) -> None:
    tied = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    checkpoint.write_tensors(tmp_path / "tied.safetensors", checkpoint.snapshot(tied))
    assert (tmp_path / "tied.safetensors").stat().st_size > 0


@dataclass(frozen=True, kw_only=True)
class WithTuple:
    sizes: tuple[int, ...] = (1, 2)
    name: str = "x"


def test_tuples_of_a_config_come_back_as_tuples() -> None:
    values = json.loads(json.dumps(checkpoint.config_to_json(WithTuple(sizes=(3, 4)))))
    assert checkpoint.config_from_json(WithTuple, values) == WithTuple(sizes=(3, 4))
