"""Runs by system, configuration and seed: where they lie, and how one becomes a trained system again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from training import checkpoint
from training.data import amazon_sequences, hin_amazon, movielens, movielens_sequences
from training.data.fields import FieldData
from training.data.ranking import RankingData
from training.data.sequences import SequenceData
from training.data.synthetic_sequences import synthetic_sequences
from training.registry import SYSTEMS, system
from training.schema import digest
from training.servable import Origin, Signature
from training.system import System

MAX_LENGTH = 50
"""Of histories, where nobody says it."""
DATA_SETS = ("ml-100k", "ml-100k-fields", "hin-amazon", "beauty", "sports", "ml-100k-sequences", "synthetic-sequences")


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
    # A tokenizer's configuration has no length, as it looks at items.
    data = data_set(dataset_of(chosen, config), getattr(config, "max_length", MAX_LENGTH))
    if isinstance(data, SequenceData):
        data = data.with_given({**data.given, **(products or {})})
    return chosen.view(data)


def data_set(name: str, max_length: int = MAX_LENGTH) -> RankingData | FieldData | SequenceData:
    """A data set by name; `max_length` is that of histories, where it has them."""
    match name:
        case "ml-100k":
            return movielens.load(max_length)
        case "ml-100k-fields":
            return movielens.load_fields()
        case "hin-amazon":
            return hin_amazon.load()
        case "beauty" | "sports":
            return amazon_sequences.load(name, max_length)
        case "ml-100k-sequences":
            return movielens_sequences.load(max_length)
        case "synthetic-sequences":
            return synthetic_sequences(max_length=max_length)
        case _:
            raise ValueError(f"no data set is called '{name}' here; choose one of {', '.join(DATA_SETS)}")


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
    data = load_data(chosen, config, made)
    if digest(data.schema) != digest(run.schema):
        raise ValueError(
            f"{folder} was trained on another {data.schema.dataset} than the one here: its ids would mean something "
            "else; train again"
        )
    return Trained(folder, chosen, module.eval(), config, data, run.metrics or {})


def models(trained: Trained) -> tuple[Signature, ...]:
    """What a run serves. Raises ValueError for a system that is not served."""
    chosen = trained.system
    if chosen.servables is None:
        served = [name for name, one in SYSTEMS.items() if one.servables]
        raise ValueError(f"system '{chosen.name}' has no served models; export one of: {', '.join(served)}")
    origin = Origin(system=chosen.name, task=chosen.task, schema=trained.data.schema)
    signatures = chosen.servables(trained.module, trained.config, trained.data)
    return tuple(replace(signature, origin=origin) for signature in signatures)


def _resume(folder: Path, run: checkpoint.Run, chosen: System) -> str:
    """The command that goes on with a run."""
    words = ["recserve", "train", chosen.name, "--resume", "--runs", str(folder.resolve().parent.parent)]
    words += ["--seed", str(run.info.seed)]
    if run.info.max_epochs is not None:
        words += ["--max-epochs", str(run.info.max_epochs)]
    if run.config != checkpoint.config_to_json(chosen.config()):
        words.append("and the --config options that it was started with")
    return " ".join(words)
