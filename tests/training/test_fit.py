"""The loop: what it learns, and that neither a kill nor a second process changes where it ends."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from rich.progress import Progress, TaskID
from safetensors.torch import load_file

from tests.training import tiny
from tests.training.click_views import histories
from tests.training.tiny import SYSTEM, Config, Tiny, train
from training.checkpoint import load_run, snapshot
from training.data.click import ClickData
from training.fit import FitOptions, predict
from training.system import ParameterGroup

STEPS_PER_EPOCH = 17
PROCESSES = multiprocessing.get_context("forkserver")
"""Each is a copy of one that has imported torch and run nothing."""
PROCESSES.set_forkserver_preload([tiny.__name__])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("runs") / "whole", checkpoint_every=5).run


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def ranks(run: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(Path(tiny.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", tiny.__file__]
    return subprocess.run([*command, str(run)], env=environment, capture_output=True, text=True, timeout=300)


def test_the_bar_ends_with_the_best_of_all_validations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    update = Progress.update

    def noted(bar: Progress, task: TaskID, **said: Any) -> None:
        notes.append(said.get("note", ""))
        update(bar, task, **said)

    monkeypatch.setattr(Progress, "update", noted)
    run = train(tmp_path / "run", Config(epochs=(1, 1))).run
    values = [line["validation"]["auc"] for line in lines(run) if line["kind"] == "epoch"]
    assert notes[STEPS_PER_EPOCH] == f"best auc {values[0]:.4f}"
    assert notes[-1] == f"best auc {values[1]:.4f}"


def test_it_learns_the_planted_rule(tmp_path: Path) -> None:
    result = train(tmp_path / "run", Config(epochs=(2, 12), patience=12))
    assert result.metrics["test"]["auc"] > 0.8
    losses = [line["loss"] for line in lines(result.run) if line["kind"] == "epoch"]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(2, id="before the first checkpoint"),
        pytest.param(13, id="within an epoch"),
        pytest.param(STEPS_PER_EPOCH, id="at the border of two epochs"),
        pytest.param(STEPS_PER_EPOCH + 11, id="after a log line that no checkpoint knows of"),
        pytest.param(2 * STEPS_PER_EPOCH, id="at the border of two stages"),
        pytest.param(3 * STEPS_PER_EPOCH + 8, id="in the last stage"),
    ],
)
def test_a_run_that_is_killed_and_resumed_ends_bit_identical(uninterrupted: Path, tmp_path: Path, step: int) -> None:
    run = tmp_path / "run"
    process = PROCESSES.Process(target=tiny.die, args=(run, step))
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert json.loads((run / "run.json").read_text())["status"] == "running"
    train(run, resume=True, checkpoint_every=5)
    for name in ("model.safetensors", "metrics.jsonl", "metrics.json"):
        assert (run / name).read_bytes() == (uninterrupted / name).read_bytes(), name
    assert not (run / "resume.safetensors").exists()


def test_how_often_it_checkpoints_changes_nothing(uninterrupted: Path, tmp_path: Path) -> None:
    run = train(tmp_path / "run", checkpoint_every=1000).run
    assert (run / "model.safetensors").read_bytes() == (uninterrupted / "model.safetensors").read_bytes()


def test_another_seed_ends_elsewhere(uninterrupted: Path, tmp_path: Path) -> None:
    run = train(tmp_path / "run", seed=1).run
    assert (run / "model.safetensors").read_bytes() != (uninterrupted / "model.safetensors").read_bytes()


@pytest.mark.slow(30)
@pytest.mark.long
def test_two_processes_end_with_one_set_of_weights_and_the_metrics_of_one_process(tmp_path: Path) -> None:
    run = tmp_path / "two"
    done = ranks(run)
    assert done.returncode == 0, done.stderr
    first, second = (load_file(run / f"rank{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    counts: list[int] = []
    alone = train(tmp_path / "one", Config(dropout=0.0), system=tiny.counting(counts)).metrics
    halves = [count // 2 for count in counts]
    assert first["counts"].tolist() == second["counts"].tolist() == halves, "an odd row rests"
    two = json.loads((run / "metrics.json").read_text())
    for part, values in alone.items():
        assert two[part] == pytest.approx(values, abs=0.02)
    steps = [(line["stage"], line["epoch"], line["step"]) for line in lines(run) if line["kind"] == "step"]
    assert len(steps) == len(set(steps)), "both ranks wrote metrics"


def test_a_stage_moves_only_its_own_parameters(tmp_path: Path) -> None:
    data = histories()
    first_only = replace(SYSTEM, stages=lambda config: tiny.stages(config)[:1])
    module = train(tmp_path / "run", system=first_only).module
    torch.manual_seed(0)
    initial = Tiny(Config(), data.schema)
    assert torch.equal(module.get_parameter("scale.weight"), initial.scale.weight)
    assert not torch.equal(module.get_parameter("items.weight"), initial.items.weight)
    assert all(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize(
    ("direction", "scores", "best", "epochs"),
    [("max", [0.5, 0.7, 0.6, 0.65, 0.9], 1, 4), ("min", [0.5, 0.7, 0.4, 0.4, 0.5], 2, 5)],
)
def test_a_stage_stops_after_its_patience_and_keeps_the_best_weights(
    tmp_path: Path, direction: Literal["max", "min"], scores: list[float], best: int, epochs: int
) -> None:
    seen: list[torch.Tensor] = []

    def evaluate(module: torch.nn.Module, _predict: object, _split: object) -> dict[str, float]:
        seen.append(snapshot(module)["items.weight"])
        return {"score": scores[min(len(seen), len(scores)) - 1]}

    one_stage = replace(
        SYSTEM,
        evaluate=evaluate,
        stages=lambda config: [replace(tiny.stages(config)[1], epochs=9, monitor="score", direction=direction)],
    )
    result = train(tmp_path / "run", system=one_stage)
    assert sum(line["kind"] == "epoch" for line in lines(result.run)) == epochs
    assert torch.equal(result.module.get_parameter("items.weight"), seen[best])


def test_a_finished_run_is_read_back_when_resumed(uninterrupted: Path) -> None:
    before = (uninterrupted / "model.safetensors").stat().st_mtime_ns
    result = train(uninterrupted, resume=True, checkpoint_every=5)
    assert result.metrics == json.loads((uninterrupted / "metrics.json").read_text())
    stored = load_file(uninterrupted / "model.safetensors")
    assert all(torch.equal(value, stored[name]) for name, value in result.module.state_dict().items())
    assert (uninterrupted / "model.safetensors").stat().st_mtime_ns == before


def test_a_run_is_not_overwritten(uninterrupted: Path) -> None:
    with pytest.raises(ValueError, match="holds a run already; resume it"):
        train(uninterrupted)


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run to resume"):
        train(tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


def test_a_run_is_not_resumed_with_other_settings(uninterrupted: Path) -> None:
    with pytest.raises(ValueError, match=r"configuration has dropout = 0.1, not .*, width = 4, not"):
        train(uninterrupted, Config(width=6, dropout=0.2), resume=True)
    with pytest.raises(ValueError, match="the run's seed is 0, not 3"):
        train(uninterrupted, seed=3, resume=True)


def test_a_group_of_parameters_moves_at_its_own_rate(tmp_path: Path) -> None:
    frozen = ParameterGroup(parameters=tiny.item_parameters, learning_rate=0.0, weight_decay=0.0)
    system = replace(
        SYSTEM, stages=lambda config: [replace(tiny.stages(config)[1], groups=(frozen,), weight_decay=0.1)]
    )
    module = train(tmp_path / "run", system=system).module
    torch.manual_seed(0)
    initial = Tiny(Config(), histories().schema)
    assert torch.equal(module.get_parameter("items.weight"), initial.items.weight)
    assert not torch.equal(module.get_parameter("scale.weight"), initial.scale.weight)


def test_a_linear_schedule_rises_and_falls_to_zero(tmp_path: Path) -> None:
    seen: list[float] = []

    def slope(module: torch.nn.Module, _batch: object, _share: float) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        bias = module.get_parameter("scale.bias")
        seen.append(bias.item())
        return bias.sum(), {}

    # Adam moves a parameter whose gradient is always 1 by the learning rate.
    stage = replace(tiny.stages(Config())[1], loss=slope, epochs=6, patience=6, schedule="linear", learning_rate=0.1)
    train(tmp_path / "run", system=replace(SYSTEM, stages=lambda _config: [stage]))
    rates = -np.diff(seen)
    assert rates[0] == pytest.approx(0.01, rel=1e-2)  # a tenth
    assert rates.argmax() == 2  # the first after 2 % of 102 steps, the second of which is close
    assert rates.max() == pytest.approx(0.1, rel=1e-2)
    assert (np.diff(rates[3:]) < 0).all()
    assert rates[-1] == pytest.approx(0.1 * 2 / 102 / 0.98, rel=1e-2)


def test_each_step_takes_the_learning_rate_times_the_decay_off_every_weight(tmp_path: Path) -> None:
    def flat(module: torch.nn.Module, _batch: object, _share: float) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return 0.0 * torch.stack([parameter.sum() for parameter in module.parameters()]).sum(), {}

    stage = replace(tiny.stages(Config())[1], loss=flat, epochs=1, learning_rate=0.1, weight_decay=0.5)
    module = train(tmp_path / "run", system=replace(SYSTEM, stages=lambda _config: [stage])).module
    torch.manual_seed(0)
    initial = Tiny(Config(), histories().schema)
    left = (1 - 0.1 * 0.5) ** STEPS_PER_EPOCH
    torch.testing.assert_close(module.get_parameter("items.weight"), left * initial.items.weight)


def test_the_validation_part_chooses_and_each_part_s_figures_are_its_own(tmp_path: Path) -> None:
    one = replace(SYSTEM, stages=lambda config: [replace(tiny.stages(config)[1], epochs=1)])
    result, data = train(tmp_path / "run", system=one), histories()
    wanted = {name: tiny.evaluate(result.module, predict, getattr(data, name)) for name in ("validation", "test")}
    for name, values in wanted.items():
        assert result.metrics[name] == pytest.approx(values)
    (epoch,) = (line for line in lines(result.run) if line["kind"] == "epoch")
    assert epoch["validation"] == pytest.approx(wanted["validation"])
    assert wanted["validation"]["auc"] != pytest.approx(wanted["test"]["auc"], abs=1e-3)


def test_divergence_is_an_error_that_says_where(tmp_path: Path) -> None:
    class Diverging(Tiny):
        def prepare(self, data: ClickData) -> None:
            self.items.weight.data.fill_(1e30)

    with pytest.raises(ValueError, match="not finite at stage 'items', epoch 0, step 0; lower learning_rate"):
        train(tmp_path / "run", system=replace(SYSTEM, build=Diverging))


def test_a_monitor_that_is_not_measured_is_an_error(tmp_path: Path) -> None:
    system = replace(SYSTEM, stages=lambda config: [replace(tiny.stages(config)[0], monitor="ndcg")])
    with pytest.raises(ValueError, match=r"stops by 'ndcg', which the validation part of .* only auc, log_loss \("):
        train(tmp_path / "run", system=system)


@pytest.mark.parametrize(("name", "value"), [("checkpoint_every", 0), ("max_epochs", 0), ("seed", -1)])
def test_options_that_make_no_sense_are_refused(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        FitOptions(**{"run": tmp_path, name: value})


def test_a_stage_goes_through_its_own_samples(tmp_path: Path) -> None:
    seen: list[int] = []
    system = replace(
        tiny.counting(seen),
        stages=lambda config: [
            replace(stage, samples=lambda data: data.test, epochs=1) for stage in tiny.counting(seen).stages_of(config)
        ],
    )
    train(tmp_path / "run", system=system)
    assert sum(seen) == 2 * len(histories().test)


def test_the_test_part_is_measured_after_every_stage(uninterrupted: Path, tmp_path: Path) -> None:
    metrics = json.loads((uninterrupted / "metrics.json").read_text())
    assert list(metrics) == ["test after items", "validation", "test"]
    assert metrics["test after items"] != metrics["test"]
    alone = train(tmp_path / "run", Config(epochs=(2, 3)), replace(SYSTEM, stages=lambda c: tiny.stages(c)[:1]))
    assert alone.metrics["test"] == metrics["test after items"]


def test_a_finished_run_leaves_its_products_for_others(tmp_path: Path) -> None:
    def products(module: Tiny, data: ClickData) -> dict[str, torch.Tensor]:
        return {"vectors": module.items.weight.detach() + len(data.test)}

    result = train(tmp_path / "run", system=replace(SYSTEM, products=products))
    left = load_run(result.run).products
    assert left is not None
    assert torch.equal(left["vectors"], result.module.get_parameter("items.weight") + len(histories().test))
    assert load_run(train(tmp_path / "other").run).products is None
