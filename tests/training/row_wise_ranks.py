"""One of two processes whose tables are spread, as torchrun starts them."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.training import tiny
from tests.training.click_views import fields
from training import row_wise
from training.fit import FitOptions, fit
from training.layers.items import IdEmbedding
from training.layers.row_wise import local
from training.optimizing import optimizer_of
from training.registry import SYSTEMS
from training.schema import Field
from training.system import System, prepare
from training.tasks.click import click_loss
from training.warm_start import Axis

WORLD = 2
SYSTEM = SYSTEMS["deepfm"]
CONFIG = SYSTEM.config(dim=8, hidden=(8, 4), epochs=2, batch_size=400, dropout=0.0, unknown_rate=0.0)
STEPS = 3
KEY = Field(name="item", role="item", kind="id", uses=("key",), cardinality=21)


def join(rank: int, port: int, work: Callable[..., None], *arguments: Any) -> None:
    """Does the work as torchrun's rank."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    sizes = {"WORLD_SIZE": WORLD, "LOCAL_WORLD_SIZE": WORLD, "RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0}
    os.environ.update(shared | {name: str(value) for name, value in sizes.items()})
    torch.set_num_threads(1)
    row_wise.LEAST_ROWS = 8
    work(*arguments)


def built() -> nn.Module:
    data = fields()
    torch.manual_seed(0)
    module = SYSTEM.build(CONFIG, data.schema)
    prepare(module, data)
    return module


def step_beside_one(folder: Path) -> None:
    """Three steps of half a batch each with spread tables, and of the whole batch alone; both are written."""
    dist.init_process_group("gloo")
    rank, data, stage = dist.get_rank(), fields(), SYSTEM.stages_of(CONFIG)[0]
    alone, module = built(), built()
    names = row_wise.spread(module, SYSTEM.name, torch.device("cpu"))
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)
    wrapped = DistributedDataParallel(module, find_unused_parameters=True)
    found: dict[str, Tensor] = {}
    moved, full = (optimizer_of(one, stage, [*one.parameters()], {}) for one in (module, alone))
    for step in range(STEPS):
        rows = torch.arange(40 * step, 40 * (step + 1))
        whole = data.train.batch(rows.numpy())
        half = data.train.batch(rows[rank::WORLD].numpy())
        for one, batch, optimizer in ((wrapped, half, moved), (alone, whole, full)):
            optimizer.zero_grad()
            logits = one(batch)
            nn.functional.binary_cross_entropy_with_logits(logits, batch.label).backward()
            side = "one" if one is alone else "two"
            found[f"{side}/forward {step}"] = logits.detach()[rank::WORLD] if one is alone else logits.detach()
        found[f"two/norm {step}"] = row_wise.clip([*module.parameters()], 0.05)
        found[f"one/norm {step}"] = nn.utils.clip_grad_norm_(alone.parameters(), 0.05)
        keep(found, "two", module, moved, step)
        keep(found, "one", alone, full, step)
        moved.step()
        full.step()
    state = [value for values in moved.state.values() for value in values.values()]
    held = sum(local(one).nbytes for one in (*module.parameters(), *state))
    found["bytes"] = torch.tensor(
        [held, sum(one.nbytes for one in (*alone.parameters(), *(v for s in full.state.values() for v in s.values())))]
    )
    save_file({name: value.contiguous() for name, value in found.items()}, folder / f"steps{rank}.safetensors")
    means_beside_one(folder, rank)
    dist.destroy_process_group()


def keep(found: dict[str, Tensor], side: str, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Gradients, and what the step before left of weights and moments."""
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        assert local(parameter.grad).shape == local(parameter).shape
        found[f"{side}/{step} gradient {name}"] = local(parameter.grad).clone()
        found[f"{side}/{step} weight {name}"] = local(parameter.detach()).clone()
        for moment in ("exp_avg", "exp_avg_sq"):
            if parameter in optimizer.state:
                found[f"{side}/{step} {moment} {name}"] = local(optimizer.state[parameter][moment]).clone()


def means_beside_one(folder: Path, rank: int) -> None:
    """Looks up unlike numbers of ids, among them those that have the mean of their field, and none at all."""
    found: dict[str, Tensor] = {}
    sides = {}
    for side in ("one", "two"):
        torch.manual_seed(1)
        sides[side] = layer = IdEmbedding(Axis((KEY,)), 4, min_count=2)
        counts = torch.randint(0, 4, (21,))
        counts[0] = 0
        layer.prepare(counts.numpy())
        if side == "two":
            row_wise.spread(Holder(layer), "test", torch.device("cpu"))
    asked = [torch.arange(-2, 25), torch.arange(5)]
    for number, ids in enumerate((asked[rank], asked[1 - rank][:0], asked[rank].view(1, -1))):
        found[f"two/{number}"] = sides["two"](ids)
    for number, ids in enumerate((asked[rank], asked[1 - rank][:0], asked[rank].view(1, -1))):
        found[f"one/{number}"] = sides["one"](ids)
    (found["two/0"].square().sum()).backward()
    torch.stack([sides["one"](ids).square().sum() for ids in asked]).mean().backward()
    for side, layer in sides.items():
        assert layer.weight.grad is not None
        found[f"{side}/gradient"] = local(layer.weight.grad)
    save_file(
        {name: value.detach().contiguous().clone() for name, value in found.items()},
        folder / f"means{rank}.safetensors",
    )


class Holder(nn.Module):
    """A model of one layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer


def train(run: Path, system: System = SYSTEM, **options: Any) -> None:
    fit(system, CONFIG, fields(), FitOptions(run=run, quiet=True, checkpoint_every=2, **options))


def train_twice(folder: Path) -> None:
    """With spread tables and with whole ones, from the first weights and from a run's."""
    train(folder / "spread", tables="row-wise")
    train(folder / "whole")
    for name, tables in (("warm spread", "row-wise"), ("warm whole", "whole")):
        train(folder / name, tables=tables, init_from=folder / "whole", max_epochs=1)


def die(run: Path, step: int) -> None:
    """Trains until the given step kills both processes."""
    asked = 0

    def deadly(module: nn.Module, batch: Any, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal asked
        asked += module.training and torch.is_grad_enabled()
        if asked == step + 1:
            os.kill(os.getpid(), tiny.signal.SIGKILL)
        return click_loss(module, batch, done)

    stages = [replace(stage, loss=deadly) for stage in SYSTEM.stages_of(CONFIG)]
    train(run, replace(SYSTEM, stages=lambda config: stages), tables="row-wise")


def told(folder: Path, name: str, **options: Any) -> None:
    """Writes what the error says."""
    try:
        fit(SYSTEMS[name], SYSTEMS[name].config(), fields(), FitOptions(run=folder / name, quiet=True, **options))
    except ValueError as error:
        (folder / f"{name}{os.environ['RANK']}.txt").write_text(str(error))


def resume(run: Path) -> None:
    train(run, tables="row-wise", resume=True)
