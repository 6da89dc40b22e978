"""Trains any system, in one or several processes, resumable at every step.

One process per device: alone, or started by `torchrun`, over any number of hosts (which must then share the run's
folder). Everything random follows from the seed: initial weights, batches and each step's own random numbers. A run
that was killed and resumed ends with the same bits as one that was not, given the same machine and thread count.
"""

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from training import checkpoint
from training.checkpoint import Metrics, Run, snapshot
from training.data.batching import batches
from training.loop import FitOptions, Loop, Training, predict
from training.row_wise import gather, refuse_whole, spread, whole_refused
from training.schema import unlike
from training.settings import check_settings
from training.system import Data, Stage, System, prepare
from training.warm_start import warm_start

if TYPE_CHECKING:
    # See training/loop.py.
    from lightning_fabric import Fabric

__all__ = ["FitOptions", "FitResult", "fit", "predict"]


@dataclass(frozen=True)
class FitResult:
    """A finished run."""

    run: Path
    module: nn.Module
    """With the best weights, in evaluation mode, on the CPU; where tables were spread, other processes than the first
    have no more than their rows."""
    metrics: Metrics


def fit(system: System, config: Any, data: Data, options: FitOptions) -> FitResult:
    """Trains all stages, keeps each one's best weights and measures them on validation and test.

    A run that has finished is read back. Raises ValueError for a folder that holds a run already, for a resume with
    another config, seed or data set, for numbers with which nothing can be trained, and when training diverges.
    """
    check_settings(config)
    fabric = _fabric(options.accelerator)
    if options.tables == "row-wise" and fabric.world_size == 1:
        raise ValueError(
            "--tables row-wise spreads rows over processes, and there is one; start it as torchrun --nproc-per-node 2 "
            "-m recserve train ..., or leave it out"
        )
    run = _open(fabric, system, config, data, options)
    if run.info.status == "finished":
        module, _ = checkpoint.restore(run, system)
        return FitResult(options.run, module, run.metrics or {})
    with _deterministic():
        fabric.seed_everything(options.seed, verbose=False)
        module = system.build(config, data.schema)
        prepare(module, data)
        if options.init_from is not None:
            warm_start(module, data.interactions, options.init_from, config)
        module, stages = fabric.to_device(module), system.stages_of(config, data.schema)
        tables = spread(module, system.name, fabric.device) if options.tables == "row-wise" else []
        if tables:
            refuse_whole(module, system.name, trials(system, data, stages, fabric))
        # Not before: what cannot be built leaves no run behind.
        if fabric.is_global_zero and not options.resume:
            checkpoint.save_run(options.run, run)
        fabric.barrier()
        with whole_refused(system.name) if tables else nullcontext():
            metrics = Loop(Training(fabric, system, module, data, options), tables).train(stages)
    gather(module)
    module.cpu().eval()
    if fabric.is_global_zero:
        info = replace(run.info, status="finished", finished=checkpoint.now())
        products = system.products(module, data) if system.products else None
        finished = replace(run, info=info, weights=snapshot(module), metrics=metrics, products=products)
        checkpoint.save_run(options.run, finished)
    fabric.barrier()
    return FitResult(options.run, module, metrics)


def trials(
    system: System, data: Data, stages: Sequence[Stage], fabric: "Fabric | None" = None
) -> Iterator[Callable[[nn.Module], object]]:
    """The first step of each stage, without a change, and a measurement."""
    for stage in stages:
        samples = stage.samples(data)
        batch = samples.batch(batches(samples.cost(), stage.batch_size, 0, 0)[0])
        yield lambda module, batch=batch, stage=stage: stage.loss(
            module.train(), fabric.to_device(batch) if fabric else batch, 0.0
        )
    yield lambda module: system.measure(module, partial(predict, fabric=fabric), data.validation)


def _fabric(accelerator: Literal["cpu", "auto"]) -> "Fabric":
    """One device, or torchrun's share of them (it says so in the environment)."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", local))
    # A loss that warms up may leave some of the stage's parameters without a gradient.
    strategy = DDPStrategy(find_unused_parameters=True) if world > 1 else "auto"
    fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=world // local, strategy=strategy)
    fabric.launch()
    if world > 1:
        # Threads of gloo that are still there when the interpreter has ended abort the process now and then.
        atexit.register(_leave_group)
    return fabric


def _leave_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _open(fabric: "Fabric", system: System, config: Any, data: Data, options: FitOptions) -> Run:
    info = checkpoint.start_info(system, data.interactions, options)
    config_json, ids = checkpoint.config_to_json(config), data.interactions.ids
    fresh = Run(info=info, config=config_json, schema=data.schema, ids=dict(ids))
    stored = checkpoint.load_run(options.run) if (options.run / "run.json").is_file() else None
    # No rank may write before all have looked.
    fabric.barrier()
    if stored and not options.resume:
        raise ValueError(f"{options.run} holds a run already; resume it, or name another folder")
    if options.resume and not stored:
        raise ValueError(f"{options.run} holds no run to resume; start it without resume")
    if stored:
        _check_same(options.run, stored, fresh, config)
        return stored
    return fresh


def _check_same(folder: Path, stored: Run, fresh: Run, config: Any) -> None:
    for name in ("system", "dataset", "seed", "max_epochs", "until", "init_from"):
        before, after = getattr(stored.info, name), getattr(fresh.info, name)
        if before != after:
            raise ValueError(f"cannot resume: the run's {name} is {before}, not {after}")
    if differing := checkpoint.differing(config, stored.config):
        raise ValueError(f"cannot resume: the run's configuration has {', '.join(differing)}")
    remedy = "give it the tables that it had, or train anew with --overwrite"
    if stored.schema != fresh.schema:
        differs = ", ".join(unlike(stored.schema, fresh.schema)) or "widths of vectors, or what fields follow"
        raise ValueError(f"cannot resume {folder}: the run has another schema, in {differs}; {remedy}")
    if changed := stored.info.data.changes(fresh.info.data):
        raise ValueError(f"cannot resume {folder}: {stored.info.dataset} had {changed}; {remedy}")


@contextmanager
def _deterministic() -> Iterator[None]:
    """Bit-identical sums wherever torch can; where it cannot (some GPU kernels) it warns."""
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
