"""Runs by system, data set, configuration and seed: where they lie, and how one becomes a trained system again."""

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from export.artifacts import Measured
from training import checkpoint, datasets
from training.fingerprint import Fingerprint
from training.fit import predict
from training.interactions import Interactions
from training.needs import require
from training.registry import system
from training.retrieve_then_rank import RETRIEVER
from training.schema import unlike
from training.servable import Origin, Signature, of_origin
from training.system import Data, System, Wanted, prepare
from training.warm_start import warm_start

MAX_LENGTH = 50
"""Of histories, where a configuration does not say it, as that of a tokenizer, which looks at items."""


UNROUNDED = "test before its tables were rounded"
"""Part of the metrics of a run that is released in another form than it was trained in."""


class Trained(NamedTuple):
    """A finished run, ready to be evaluated or served."""

    folder: Path
    system: System
    module: nn.Module
    config: Any
    data: Data
    """As `load_data` gives it."""
    metrics: checkpoint.Metrics

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.data.schema.dataset


class Plan(NamedTuple):
    """What is to be trained."""

    system: System
    dataset: str
    config: Any
    seed: int
    until: str | None = None
    """Day before which the events lie; None for all."""

    def folder(self, root: Path) -> Path:
        """<root>/<system>/<data set>-<digest of the configuration>[-until-<day>]-s<seed>."""
        text = json.dumps(checkpoint.config_to_json(self.config), sort_keys=True)
        digits = hashlib.sha256(text.encode()).hexdigest()[:8]
        window = "" if self.until is None else f"-until-{self.until}"
        return root / self.system.name / f"{self.dataset}-{digits}{window}-s{self.seed}"

    def upstream(self) -> list["Plan"]:
        """The runs that this one builds on, on the same data set and with the same seed."""
        needed = [(system(one.system), one.config) for one in self.system.upstream(self.config)]
        return [Plan(other, self.dataset, other.config(**values), self.seed, self.until) for other, values in needed]


def plan_of(folder: Path) -> Plan:
    """What was trained in a folder. Raises ValueError where it holds no run."""
    if not (folder / "run.json").is_file():
        raise ValueError(f"{folder} holds no run; recserve train SYSTEM makes one and prints its folder")
    run = checkpoint.load_run(folder)
    chosen = system(run.info.system)
    config = checkpoint.config_from_json(chosen.config, run.config)
    return Plan(chosen, run.info.dataset, config, run.info.seed, run.info.until)


def load_data(plan: Plan, root: Path) -> Data:
    """The data set in the form that the system takes, with histories as long as the configuration wants them, and with
    what the finished runs among those that it builds on, below `root`, have made; a finished run needs that only where
    its own samples consist of it.

    Raises ValueError where the data set lacks what the system needs, and where one of those was trained on other fields
    or ids; other events are told in a line.
    """
    interactions = datasets.read(plan.dataset, before=plan.until)
    require(interactions, plan.system.name, plan.system.needs)
    return _view(plan, root, interactions)


def _view(plan: Plan, root: Path, interactions: Interactions) -> Data:
    length = getattr(plan.config, "max_length", MAX_LENGTH)
    split = getattr(plan.config, "split", "")
    wanted = Wanted(plan.system.reads, length, _given(root, plan, interactions), split)
    return plan.system.view(plan.system.task.view(interactions, wanted))


def _given(root: Path, plan: Plan, interactions: Interactions) -> dict[str, Tensor]:
    """What the finished runs among those that this one builds on have made."""
    products: dict[str, Tensor] = {}
    for folder in [one.folder(root) for one in plan.upstream()]:
        if checkpoint.is_finished(folder):
            run = checkpoint.load_run(folder)
            _compare(folder, run, interactions)
            products |= run.products or {}
    return products


def load(folder: Path) -> Trained:
    """Raises ValueError where the folder holds no finished run."""
    plan = plan_of(folder)
    run = checkpoint.load_run(folder)
    if run.info.status != "finished":
        raise ValueError(f"{folder} has not finished; go on with {_command(folder, run, '--resume')}")
    module, config = checkpoint.restore(run, plan.system)
    interactions = datasets.read(plan.dataset, before=plan.until)
    _compare(folder, run, interactions)
    data = _view(plan, folder.resolve().parent.parent, interactions)
    return Trained(folder, plan.system, module.eval(), config, data, run.metrics or {})


def _compare(folder: Path, run: checkpoint.Run, now: Interactions) -> None:
    """Raises ValueError where ids or columns are no longer what a run was trained on; tells other values in a line."""
    if differs := unlike(run.schema, now.schema):
        raise ValueError(
            f"{folder} was trained on another {now.name} than the one here, its ids or columns would mean something "
            f"else: {', '.join(differs)}; train it again: {_command(folder, run, '--overwrite')}"
        )
    if changed := run.info.data.changes(Fingerprint.of(now)):
        sys.stderr.write(f"warning: {folder} was trained on another {now.name} than the one here: {changed}\n")


def models(trained: Trained) -> tuple[Signature, ...]:
    """What a run serves."""
    chosen = trained.system
    origin = Origin(system=chosen.name, task=chosen.task.name, schema=trained.data.interactions.schema)
    signatures = chosen.release(trained.module, trained.config, trained.data)
    return of_origin(signatures, origin)


def retriever(trained: Trained, number: int) -> tuple[Signature, ...]:
    """A run as what lists `number` items for a user, before a ranker. Raises ValueError for one that lists nothing."""
    if number < 1:
        raise ValueError(f"{number} items are to be retrieved; it must be at least 1")
    chosen = trained.system
    origin = Origin(system=chosen.name, task=chosen.task.name, schema=trained.data.interactions.schema)
    return of_origin(chosen.task.listed_by_user(RETRIEVER, trained.module, trained.data, number), origin)


def measured(trained: Trained) -> Measured:
    """What a run reaches on its test part, and of which data that is the test part."""
    info = checkpoint.load_info(trained.folder)
    return Measured(
        run=str(trained.folder),
        system=trained.system.name,
        dataset=info.dataset,
        until=info.until,
        data=json.loads(json.dumps(asdict(info.data))),
        test=trained.metrics["test"],
        unrounded=trained.metrics.get(UNROUNDED),
    )


def measured_on(folder: Path, interactions: Interactions) -> dict[str, float]:
    """Test metrics of a finished run's weights on the test part of other events of its data set, as they are served
    there: rows of tables follow the raw ids, and an id that came since is an unknown one.

    Raises ValueError where the folder holds no finished run, and where its weights would mean something else.
    """
    plan = plan_of(folder)
    data = _view(plan, folder.resolve().parent.parent, interactions)
    torch.manual_seed(plan.seed)
    module = plan.system.build(plan.config, data.schema)
    prepare(module, data)
    warm_start(module, interactions, folder, plan.config, new_as_unknown=True)
    return plan.system.measure(module.eval(), predict, data.test)


def _command(folder: Path, run: checkpoint.Run, how: str) -> str:
    """The command that goes on with a run, or trains it again."""
    info, chosen = run.info, system(run.info.system)
    words = ["recserve", "train", chosen.name, how, "--runs", str(folder.resolve().parent.parent)]
    words += ["--dataset", info.dataset, "--seed", str(info.seed)]
    words += [] if info.until is None else ["--until", info.until]
    words += [] if info.init_from is None else ["--init-from", info.init_from]
    if info.max_epochs is not None:
        words += ["--max-epochs", str(info.max_epochs)]
    if run.config != checkpoint.config_to_json(chosen.config()):
        words.append("and the --config options that it was started with")
    return " ".join(words)
