"""Runs by system, configuration and seed: where they lie, and how one becomes a trained system again."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from training import checkpoint
from training.data import movielens
from training.data.ranking import RankingData
from training.registry import system
from training.system import System


class Trained(NamedTuple):
    """A finished run, ready to be evaluated or served."""

    folder: Path
    system: System
    module: nn.Module
    config: Any
    data: RankingData
    metrics: checkpoint.Metrics


def folder_of(root: Path, name: str, config: Any, seed: int) -> Path:
    """<root>/<system>/<digest of the configuration>-s<seed>."""
    text = json.dumps(checkpoint.config_to_json(config), sort_keys=True)
    return root / name / f"{hashlib.sha256(text.encode()).hexdigest()[:8]}-s{seed}"


def load_data(chosen: System, config: Any) -> RankingData:
    """The data set of a system, with histories as long as the configuration wants them."""
    if chosen.dataset != "ml-100k":
        raise ValueError(f"system '{chosen.name}' wants data set '{chosen.dataset}', which nobody loads yet")
    return movielens.load(config.max_length)


def load(folder: Path) -> Trained:
    """Raises ValueError where the folder holds no finished run."""
    if not (folder / "run.json").is_file():
        raise ValueError(f"{folder} holds no run; recserve train SYSTEM makes one and prints its folder")
    run = checkpoint.load_run(folder)
    if run.info.status != "finished":
        raise ValueError(f"{folder} has not finished; go on with recserve train {run.info.system} --resume")
    chosen = system(run.info.system)
    module, config = checkpoint.restore(run, chosen)
    return Trained(folder, chosen, module.eval(), config, load_data(chosen, config), run.metrics or {})
