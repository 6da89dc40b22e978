"""Runs by system, configuration and seed: where they lie, and how one becomes a trained system again."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from training import checkpoint
from training.data import hin_amazon, movielens
from training.data.fields import FieldData
from training.data.ranking import RankingData
from training.registry import system
from training.system import System


class Trained(NamedTuple):
    """A finished run, ready to be evaluated or served."""

    folder: Path
    system: System
    module: nn.Module
    config: Any
    data: RankingData | FieldData
    metrics: checkpoint.Metrics


def folder_of(root: Path, name: str, config: Any, seed: int) -> Path:
    """<root>/<system>/<digest of the configuration>-s<seed>."""
    text = json.dumps(checkpoint.config_to_json(config), sort_keys=True)
    return root / name / f"{hashlib.sha256(text.encode()).hexdigest()[:8]}-s{seed}"


def dataset_of(chosen: System, config: Any) -> str:
    """The data set that the configuration chooses, where it leaves a choice; else the system's only one."""
    return getattr(config, "dataset", chosen.dataset)


def load_data(chosen: System, config: Any) -> RankingData | FieldData:
    """The data set of a system, with histories as long as the configuration wants them where it has histories."""
    match dataset_of(chosen, config):
        case "ml-100k":
            return movielens.load(config.max_length)
        case "ml-100k-fields":
            return movielens.load_fields()
        case "hin-amazon":
            return hin_amazon.load()
        case unknown:
            raise ValueError(f"system '{chosen.name}' wants data set '{unknown}', which nobody loads yet")


def load(folder: Path) -> Trained:
    """Raises ValueError where the folder holds no finished run."""
    if not (folder / "run.json").is_file():
        raise ValueError(f"{folder} holds no run; recserve train SYSTEM makes one and prints its folder")
    run = checkpoint.load_run(folder)
    chosen = system(run.info.system)
    if run.info.status != "finished":
        raise ValueError(f"{folder} has not finished; go on with {_resume(folder, run, chosen)}")
    module, config = checkpoint.restore(run, chosen)
    return Trained(folder, chosen, module.eval(), config, load_data(chosen, config), run.metrics or {})


def _resume(folder: Path, run: checkpoint.Run, chosen: System) -> str:
    """The command that goes on with a run."""
    words = ["recserve", "train", chosen.name, "--resume", "--runs", str(folder.resolve().parent.parent)]
    words += ["--seed", str(run.info.seed)]
    if run.info.max_epochs is not None:
        words += ["--max-epochs", str(run.info.max_epochs)]
    if run.config != checkpoint.config_to_json(chosen.config()):
        words.append("and the --config options that it was started with")
    return " ".join(words)
