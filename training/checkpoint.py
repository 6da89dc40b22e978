"""Files of a run: JSON and safetensors, each written whole or not at all, never pickled.

runs/<system>/<id>/  run.json  config.json  schema.json  metrics.jsonl      from the start
                     resume*.safetensors                                    while it trains
                     model.safetensors  metrics.json                        when it has finished
                     products.safetensors                                   where other systems build on it
                     ids.<role>.safetensors                                 where raw ids are mapped
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import safetensors.torch
from torch import Tensor, nn

from serving.ids import IdMap
from training import schema as schema_file
from training.fingerprint import Fingerprint
from training.interactions import Interactions
from training.layers.row_wise import local
from training.schema import Role, Schema
from training.system import System

Weights = dict[str, Tensor]
Metrics = dict[str, dict[str, float]]
"""Part ("validation", "test", and "test after <stage>" of the stages before the last) -> name -> value."""
RESUME = "resume.safetensors"
_PRODUCTS = "products.safetensors"
_PACKAGES = ("recserve", "torch", "numpy", "lightning-fabric", "safetensors", "polars")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What was run, and how far it came."""

    system: str
    dataset: str
    seed: int
    max_epochs: int | None
    until: str | None
    """Day before which the events lie; None for all."""
    init_from: str | None
    """Folder of the run whose weights it started from."""
    data: Fingerprint
    """Of the events, users and items that it is trained on."""
    versions: dict[str, str]
    started: str
    """ISO 8601, UTC."""
    finished: str | None = None
    status: Literal["running", "finished"] = "running"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A run as it lies on disk; weights and metrics are there once it has finished."""

    info: RunInfo
    config: dict[str, Any]
    """The resolved config as JSON values; `config_from_json` makes it the dataclass again."""
    schema: Schema
    weights: Weights | None = None
    metrics: Metrics | None = None
    products: Weights | None = None
    """What other systems take from it (`System.products`)."""
    ids: Mapping[Role, IdMap] = dataclasses.field(default_factory=dict)
    """By role, where raw ids are other than the dense ones."""


class StartOptions(Protocol):
    """What a run is started with."""

    @property
    def seed(self) -> int: ...
    @property
    def max_epochs(self) -> int | None: ...
    @property
    def until(self) -> str | None: ...
    @property
    def init_from(self) -> Path | None: ...


def start_info(system: System, interactions: Interactions, options: StartOptions) -> RunInfo:
    """The info of a run that starts now, in this environment."""
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    return RunInfo(
        system=system.name,
        dataset=interactions.name,
        seed=options.seed,
        max_epochs=options.max_epochs,
        until=options.until,
        init_from=None if options.init_from is None else str(options.init_from.resolve()),
        data=Fingerprint.of(interactions),
        versions=versions,
        started=now(),
    )


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def save_run(folder: Path, run: Run) -> None:
    """Writes what `run` has, `run.json` last, so that a finished run is complete. Parents are created."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", run.config)
    write_json(folder / "schema.json", schema_file.to_json(run.schema))
    for role, ids in run.ids.items():
        ids.save(folder, role)
    if run.weights is not None:
        write_tensors(folder / "model.safetensors", run.weights)
    if run.products is not None:
        write_tensors(folder / _PRODUCTS, run.products)
    if run.metrics is not None:
        write_json(folder / "metrics.json", run.metrics)
    write_json(folder / "run.json", dataclasses.asdict(run.info))
    if run.info.status == "finished":
        for path in folder.glob("resume*.safetensors"):
            path.unlink()


def load_run(folder: Path) -> Run:
    """Reads a run. Raises ValueError where there is none."""
    if not (folder / "run.json").is_file():
        raise ValueError(f"{folder} holds no run (no run.json); train first, or name another folder")
    info = load_info(folder)
    done = info.status == "finished"
    return Run(
        info=info,
        config=read_json(folder / "config.json"),
        schema=schema_file.from_json(read_json(folder / "schema.json")),
        weights=safetensors.torch.load_file(folder / "model.safetensors") if done else None,
        metrics=read_json(folder / "metrics.json") if done else None,
        products=safetensors.torch.load_file(folder / _PRODUCTS) if (folder / _PRODUCTS).is_file() else None,
    )


def load_ids(folder: Path) -> dict[Role, IdMap]:
    """The maps of raw ids of a run, by role."""
    roles: tuple[Role, ...] = ("user", "item")
    return {role: IdMap.load(folder, role) for role in roles if (folder / f"ids.{role}.safetensors").is_file()}


def is_finished(folder: Path) -> bool:
    """Whether the folder holds a run that has come to its end."""
    return (folder / "run.json").is_file() and load_info(folder).status == "finished"


def load_info(folder: Path) -> RunInfo:
    """What was run in a folder that holds a run. Raises ValueError where another version of recserve wrote it."""
    values = read_json(folder / "run.json")
    try:
        return RunInfo(**{**values, "data": Fingerprint.from_json(values["data"])})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / 'run.json'} is of another version of recserve ({error}); train again") from error


def restore(run: Run, system: System) -> tuple[nn.Module, Any]:
    """The trained module in evaluation mode, and its config.

    Raises ValueError for a run of another system, an unfinished one, and weights that do not fit the config.
    """
    if run.info.system != system.name:
        raise ValueError(f"the run is of the system '{run.info.system}', not of '{system.name}'")
    if run.weights is None:
        raise ValueError(f"the run of '{system.name}' started {run.info.started} has not finished; resume it first")
    config = config_from_json(system.config, run.config)
    module = system.build(config, run.schema)
    try:
        module.load_state_dict(run.weights)
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit this version of '{system.name}'; train again: {error}") from error
    return module.eval(), config


def config_to_json(config: Any) -> dict[str, Any]:
    """A flat config dataclass as JSON values (tuples as lists)."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def config_from_json(kind: type, values: Mapping[str, Any]) -> Any:
    """The inverse of `config_to_json` for a dataclass `kind`. Raises ValueError naming unknown fields."""
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"config: unknown fields {unknown}; known: {sorted(known)}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def differing(config: Any, stored: Mapping[str, Any]) -> list[str]:
    """What a stored config has otherwise, as "name = value, not value"; what it does not name has its default."""
    names = {one.name for one in dataclasses.fields(config)}
    before = config_from_json(type(config), {name: value for name, value in stored.items() if name in names})
    pairs = [(name, getattr(before, name), getattr(config, name)) for name in sorted(names)]
    unknown = [f"{name} = {stored[name]}, which is no setting any more" for name in sorted(stored.keys() - names)]
    return [f"{name} = {old}, not {new}" for name, old, new in pairs if old != new] + unknown


def snapshot(module: nn.Module) -> Weights:
    """A copy of parameters and buffers on the CPU, each with memory of its own; of spread tables only own rows."""
    return {name: local(value).detach().cpu().clone().contiguous() for name, value in module.state_dict().items()}


def write_json(path: Path, values: Any) -> None:
    """Indented JSON, atomically."""
    write_bytes(path, (json.dumps(values, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Raises ValueError naming the file where it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def write_tensors(path: Path, tensors: Weights, metadata: dict[str, str] | None = None) -> None:
    """Safetensors, atomically."""
    write_bytes(path, safetensors.torch.save(tensors, metadata))


def write_bytes(path: Path, content: bytes) -> None:
    """Written beside, forced to disk and renamed: a reader, also after a crash, sees the old file or the new one. Makes
    the folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
