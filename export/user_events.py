"""The model `user_events`, through which events reach the histories; it comes with us and belongs to no release."""

from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from export.artifacts import GOLDEN_FILE
from export.kinds import STEP_MODEL
from export.model_config import Target, add_scheduling, render
from export.published import CONFIG_FILES
from export.repository import add_model
from serving import golden, manifest
from serving.golden import Golden
from serving.histories.pushed import MOST
from serving.steps import PARAMETER, USER_EVENTS

_INPUTS = {
    "dataset": "TYPE_STRING",
    "user_id": "TYPE_STRING",
    "item_id": "TYPE_STRING",
    "value": "TYPE_FP64",
    "time": "TYPE_INT64",
    "order": "TYPE_INT64",
    "event_id": "TYPE_STRING",
}
_MOST_PUSHES = 64
"""Of one run of the model, which are written in one transaction."""


def add_user_events(repository: Path) -> bool:
    """Adds the model to a repository that lacks it; whether it did. Raises ValueError while another publish is under
    way."""
    return add_model(repository, USER_EVENTS, _write)


def _write(folder: Path) -> None:
    version = folder / "1"
    version.mkdir()
    (version / "model.py").write_text(STEP_MODEL)
    golden.write(version / GOLDEN_FILE, [_golden()])
    manifest.write(version, {"model": USER_EVENTS, "version": 1, "versions": {"recserve": installed("recserve")}})
    for name, target in CONFIG_FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(render(_config(target)))


def _config(target: Target) -> ModelConfig:
    config = ModelConfig(name=USER_EVENTS, backend="python", max_batch_size=_MOST_PUSHES)
    config.version_policy.latest.num_versions = 1
    for name, kind in _INPUTS.items():
        one = name == "dataset"
        config.input.add(name=name, data_type=kind, dims=[1 if one else -1], allow_ragged_batch=not one)
        if not one:
            config.parameters[f"max_elements.{name}"].string_value = str(MOST)
    config.output.add(name="outcome", data_type="TYPE_STRING", dims=[-1])
    config.parameters[PARAMETER].string_value = USER_EVENTS
    add_scheduling(config, target)
    return config


def _golden() -> Golden:
    """An event of a data set without a name, which nobody takes, whatever the store knows."""
    text, number = np.array([["x"]], object), np.ones((1, 1), np.int64)
    inputs = {
        "dataset": np.array([[""]], object),
        **dict.fromkeys(("user_id", "item_id", "event_id"), text),
        "value": number.astype(np.float64),
        "time": number,
        "order": number,
    }
    return Golden(inputs, {"outcome": np.array([[_REFUSED]], object)})


_REFUSED = "refused: '' names no data set: the name of a data set takes 0 bytes; it may have 1 to 200"
