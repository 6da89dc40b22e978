"""Runs by system, configuration and seed: where they lie, and how one becomes a trained system again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from training import checkpoint
from training.data import amazon_sequences, hin_amazon, movielens, movielens_sequences
from training.data.fields import FieldData
from training.data.ranking import RankingData
from training.data.sequences import SequenceData
from training.data.synthetic_sequences import synthetic_sequences
from training.registry import system
from training.system import System


class Trained(NamedTuple):
    """A finished run, ready to be evaluated or served."""

    folder: Path
    system: System
    module: nn.Module
    config: Any
    data: Any
    """As `load_data` gives it."""
    metrics: checkpoint.Metrics


def folder_of(root: Path, name: str, config: Any, seed: int) -> Path:
    """<root>/<system>/<digest of the configuration>-s<seed>."""
    text = json.dumps(checkpoint.config_to_json(config), sort_keys=True)
    return root / name / f"{hashlib.sha256(text.encode()).hexdigest()[:8]}-s{seed}"


def dataset_of(chosen: System, config: Any) -> str:
    """The data set that the configuration chooses, where it leaves a choice; else the system's only one."""
    return getattr(config, "dataset", chosen.dataset)


def upstream(root: Path, chosen: System, config: Any, seed: int) -> list[tuple[System, Any, Path]]:
    """System, configuration and folder of each run that this one builds on, whether it is there or not."""
    needed = [(system(one.system), one.config) for one in chosen.upstream(config)]
    return [
        (other, other.config(**values), folder_of(root, other.name, other.config(**values), seed))
        for other, values in needed
    ]


def given(root: Path, chosen: System, config: Any, seed: int) -> dict[str, Tensor]:
    """What the finished runs among those that this one builds on have made."""
    folders = [folder for _, _, folder in upstream(root, chosen, config, seed) if checkpoint.is_finished(folder)]
    return {name: value for folder in folders for name, value in (checkpoint.load_run(folder).products or {}).items()}


def load_data(chosen: System, config: Any, products: Mapping[str, Tensor] | None = None) -> Any:
    """The data set of a system in the form that it takes, with histories as long as the configuration wants them.

    `products`: what the runs it builds on have made; a finished run needs it only where its own samples consist of it.
    """
    data = _data_set(chosen, config)
    if isinstance(data, SequenceData):
        data = data.with_given({**data.given, **(products or {})})
    return chosen.view(data)


def _data_set(chosen: System, config: Any) -> RankingData | FieldData | SequenceData:
    match dataset_of(chosen, config):
        case "ml-100k":
            return movielens.load(config.max_length)
        case "ml-100k-fields":
            return movielens.load_fields()
        case "hin-amazon":
            return hin_amazon.load()
        case "beauty" | "sports" as name:
            return amazon_sequences.load(name, _max_length(config))
        case "ml-100k-sequences":
            return movielens_sequences.load(_max_length(config))
        case "synthetic-sequences":
            return synthetic_sequences(max_length=_max_length(config))
        case unknown:
            raise ValueError(f"system '{chosen.name}' wants data set '{unknown}', which nobody loads yet")


def _max_length(config: Any) -> int:
    """Of sequences; a tokenizer's configuration has none, as it looks at items."""
    return getattr(config, "max_length", 50)


def load(folder: Path) -> Trained:
    """Raises ValueError where the folder holds no finished run."""
    if not (folder / "run.json").is_file():
        raise ValueError(f"{folder} holds no run; recserve train SYSTEM makes one and prints its folder")
    run = checkpoint.load_run(folder)
    chosen = system(run.info.system)
    if run.info.status != "finished":
        raise ValueError(f"{folder} has not finished; go on with {_resume(folder, run, chosen)}")
    module, config = checkpoint.restore(run, chosen)
    made = given(folder.resolve().parent.parent, chosen, config, run.info.seed)
    return Trained(folder, chosen, module.eval(), config, load_data(chosen, config, made), run.metrics or {})


def _resume(folder: Path, run: checkpoint.Run, chosen: System) -> str:
    """The command that goes on with a run."""
    words = ["recserve", "train", chosen.name, "--resume", "--runs", str(folder.resolve().parent.parent)]
    words += ["--seed", str(run.info.seed)]
    if run.info.max_epochs is not None:
        words += ["--max-epochs", str(run.info.max_epochs)]
    if run.config != checkpoint.config_to_json(chosen.config()):
        words.append("and the --config options that it was started with")
    return " ".join(words)
