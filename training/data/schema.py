"""Schemas as plain JSON values: what is saved beside a checkpoint and travels into the model repository."""

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


def _field(values: dict[str, Any]) -> Field:
    names = values.get("values")
    return Field(**{**values, "values": None if names is None else tuple(names)})
