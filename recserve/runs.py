"""Runs by system, data set, configuration and seed: where they lie, and how one becomes a trained system again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from training import checkpoint, datasets
from training.registry import system
from training.schema import digest
from training.servable import Origin, Signature
from training.system import Data, System, Wanted
from training.window import until

MAX_LENGTH = 50
"""Of histories, where a configuration does not say it, as that of a tokenizer, which looks at items."""


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


def given(root: Path, plan: Plan) -> dict[str, Tensor]:
    """What the finished runs among those that this one builds on have made."""
    folders = [one.folder(root) for one in plan.upstream()]
    finished = [folder for folder in folders if checkpoint.is_finished(folder)]
    return {name: value for folder in finished for name, value in (checkpoint.load_run(folder).products or {}).items()}


def load_data(plan: Plan, products: Mapping[str, Tensor] | None = None) -> Data:
    """The data set in the form that the system takes, with histories as long as the configuration wants them.

    `products`: what the runs it builds on have made; a finished run needs it only where its own samples consist of it.
    """
    wanted = Wanted(plan.system.reads, getattr(plan.config, "max_length", MAX_LENGTH), products or {})
    interactions = datasets.read(plan.dataset)
    windowed = interactions if plan.until is None else until(interactions, plan.until)
    return plan.system.view(plan.system.task.view(windowed, wanted))


def load(folder: Path) -> Trained:
    """Raises ValueError where the folder holds no finished run."""
    plan = plan_of(folder)
    run = checkpoint.load_run(folder)
    if run.info.status != "finished":
        raise ValueError(f"{folder} has not finished; go on with {_resume(folder, run, plan)}")
    module, config = checkpoint.restore(run, plan.system)
    data = load_data(plan, given(folder.resolve().parent.parent, plan))
    if digest(data.schema) != digest(run.schema):
        raise ValueError(
            f"{folder} was trained on another {plan.dataset} than the one here: its ids would mean something "
            "else; train again"
        )
    return Trained(folder, plan.system, module.eval(), config, data, run.metrics or {})


def models(trained: Trained) -> tuple[Signature, ...]:
    """What a run serves."""
    chosen = trained.system
    origin = Origin(system=chosen.name, task=chosen.task.name, schema=trained.data.interactions.schema)
    signatures = chosen.release(trained.module, trained.config, trained.data)
    return tuple(replace(signature, origin=origin) for signature in signatures)


def _resume(folder: Path, run: checkpoint.Run, plan: Plan) -> str:
    """The command that goes on with a run."""
    words = ["recserve", "train", plan.system.name, "--resume", "--runs", str(folder.resolve().parent.parent)]
    words += ["--dataset", plan.dataset, "--seed", str(run.info.seed)]
    words += [] if plan.until is None else ["--until", plan.until]
    words += [] if run.info.init_from is None else ["--init-from", run.info.init_from]
    if run.info.max_epochs is not None:
        words += ["--max-epochs", str(run.info.max_epochs)]
    if plan.config != plan.system.config():
        words.append("and the --config options that it was started with")
    return " ".join(words)
