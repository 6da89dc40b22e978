"""What a repository holds under a model's name, and whether a model may become its next version."""

import json
from dataclasses import replace
from pathlib import Path

from export.artifacts import SCHEMA_FILE, Source
from export.model_config import Target, identity_of, model_config, read_config, signature_changes
from serving.identity import Identity
from serving.manifest import MANIFEST_FILE
from training import schema as schema_file
from training.layers.click_context import map_of
from training.schema import Field, Schema
from training.servable import Signature

CONFIG_FILES: dict[str, Target] = {"config.pbtxt": "gpu", "configs/cpu.pbtxt": "cpu"}
"""File in a model's folder -> the target it is for."""


def refuse_another(model: Path, version: int, signature: Signature, source: Source, by_raw_ids: bool) -> None:
    """Raises ValueError where the published `version` is of another model: another data set, system or signature.

    All versions share one configuration, and clients take them for the same model. `by_raw_ids`: whether the release
    maps raw ids, so that users, items and values of fields that came since change no request.
    """
    served, offered = _identity(model, version), identity_of(signature)
    changes = served.changed_by(offered)
    if by_raw_ids and _asks_alike(_schema(model, version), signature.origin.schema):
        changes = [one for one in changes if one != "schema digest"]
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
    config, schema = model / "config.pbtxt", _schema(model, version)
    said = Identity.of(read_config(config)) if config.exists() else Identity()
    if said.dataset is not None or schema is None:
        return said
    return said._replace(dataset=schema.dataset, schema_digest=schema_file.digest(schema))


def _schema(model: Path, version: int) -> Schema | None:
    path = model / str(version) / SCHEMA_FILE
    return schema_file.from_json(json.loads(path.read_text())) if path.exists() else None


def _asks_alike(served: Schema | None, offered: Schema | None) -> bool:
    """Whether a request means the same to models of both: other users, items and values of their fields since then
    change nothing, where a client names them by raw ids."""
    if served is None or offered is None:
        return False
    return schema_file.digest(_asked(served)) == schema_file.digest(_asked(offered))


def _asked(schema: Schema) -> Schema:
    return replace(
        schema,
        fields=tuple(
            replace(field, cardinality=None, values=None, ids=None) if _is_numbered_inside(field) else field
            for field in schema.fields
        ),
    )


def _is_numbered_inside(field: Field) -> bool:
    """Whether no request and no answer holds the numbers of a field's ids: raw ids are mapped inside the release, and
    fields of users and items travel in it. Concepts are answered by number."""
    if "key" in field.uses:
        return field.ids is not None
    if field.role == "event":
        return "value" in field.uses or map_of(field) is not None
    return "concept" not in field.uses


def _source(model: Path, version: int) -> str:
    """The run or factory that a version comes from."""
    try:
        return json.loads((model / str(version) / MANIFEST_FILE).read_text())["source"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return "an unknown run"
