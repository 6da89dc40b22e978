"""Schemas as plain JSON values: what is saved beside a checkpoint and travels into the model repository."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from training.system import Field, Schema


def to_json(schema: Schema) -> dict[str, Any]:
    """The schema as JSON values; fields in order."""
    return {"dataset": schema.dataset, "fields": [asdict(field) for field in schema.fields]}


def from_json(values: dict[str, Any]) -> Schema:
    """The inverse of `to_json`. Raises ValueError where a key is missing or unknown."""
    try:
        fields = tuple(_field(field) for field in values["fields"])
        return Schema(dataset=values["dataset"], fields=fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a schema: {error}; train again to write a new schema.json") from error


def digest(schema: Schema) -> str:
    """16 hex digits that change with anything that decides what an id means: data set, fields, cardinalities, names.

    The width of a field is left out: how long a history is read is the model's choice, and its signature shows it.
    """
    fields = [[one.name, one.kind, one.cardinality, one.values, one.side] for one in schema.fields]
    return hashlib.sha256(json.dumps([schema.dataset, fields]).encode()).hexdigest()[:16]


def _field(values: dict[str, Any]) -> Field:
    names = values.get("values")
    return Field(**{**values, "values": None if names is None else tuple(names)})
