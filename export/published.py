"""What a repository holds under a model's name, and whether a model may become its next version."""

import json
from pathlib import Path

from export.artifacts import SCHEMA_FILE, Source
from export.model_config import Target, identity_of, model_config, read_config, signature_changes
from serving.identity import Identity
from serving.manifest import MANIFEST_FILE
from training import schema as schema_file
from training.servable import Signature

CONFIG_FILES: dict[str, Target] = {"config.pbtxt": "gpu", "configs/cpu.pbtxt": "cpu"}
"""File in a model's folder -> the target it is for."""


def refuse_another(model: Path, version: int, signature: Signature, source: Source) -> None:
    """Raises ValueError where the published `version` is of another model: another data set, system or signature.

    All versions share one configuration, and clients take them for the same model.
    """
    served, offered = _identity(model, version), identity_of(signature)
    changes = served.changed_by(offered)
    for name, target in CONFIG_FILES.items():
        if (model / name).exists():
            changes += signature_changes(read_config(model / name), model_config(signature, target))
    if changes:
        raise ValueError(
            f"{model} is another model: served is {served} by {_source(model, version)} (version "
            f"{version}), offered is {offered} by {source.name}; they differ in "
            f"{', '.join(dict.fromkeys(changes))}. Publish it under a name of its own: recserve export ... --name NAME"
        )


def _identity(model: Path, version: int) -> Identity:
    """What the configuration says; earlier releases said their data set in the version's files alone."""
    config, schema = model / "config.pbtxt", model / str(version) / SCHEMA_FILE
    said = Identity.of(read_config(config)) if config.exists() else Identity()
    if said.dataset is not None or not schema.exists():
        return said
    read = schema_file.from_json(json.loads(schema.read_text()))
    return said._replace(dataset=read.dataset, schema_digest=schema_file.digest(read))


def _source(model: Path, version: int) -> str:
    """The run or factory that a version comes from."""
    try:
        return json.loads((model / str(version) / MANIFEST_FILE).read_text())["source"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return "an unknown run"
