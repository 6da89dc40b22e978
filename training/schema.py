"""The fields of a data set, and their form as JSON: beside a checkpoint, and in a model repository."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a data set."""

    name: str
    kind: Literal["id", "dense", "sequence", "vector"]
    cardinality: int | None = None
    """Ids and sequences of ids: legal values are 0 <= id < cardinality; more are out of vocabulary."""
    width: int | None = None
    """Vectors: elements. Sequences: longest length."""
    values: tuple[str, ...] | None = None
    """Names of the ids, where a person would want to read them."""
    side: Literal["user", "item"] | None = None
    """Whose field it is, where samples are rows of categorical fields: the user's, constant over a request, or the
    candidate's."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The fields of a data set; saved beside the checkpoint, travels into the model repository."""

    dataset: str
    fields: tuple[Field, ...]

    def __getitem__(self, name: str) -> Field:
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise ValueError(f"field '{name}' is not in the schema of {self.dataset}: {[f.name for f in self.fields]}")


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
