"""The fields of a data set, and their form as JSON: beside a checkpoint, and in a model repository.

A field has a role (whose it is), a kind (what its values are) and uses (what it may serve for). Tasks ask for roles and
uses, never for names.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Role = Literal["user", "item", "event"]
Kind = Literal["id", "dense", "multi", "vector", "text"]
Use = Literal[
    "key",
    "feature",
    "profile",
    "label",
    "value",
    "time",
    "order",
    "part",
    "scenario",
    "objective",
    "concept",
    "category",
]
LARGEST = 9 * 10**18
"""Of dense values, and with a minus the smallest: what counts nanoseconds fits in, what spells "nothing" as the largest
float does not."""
UNKNOWN = "unknown"
"""Name of id 0 of every field."""
PARTS = (UNKNOWN, "train", "validation", "test")
"""Of events whose publisher split them, by id."""


@dataclass(frozen=True, kw_only=True)
class Follows:
    """How a field of the user follows from the user's history: it is a field of the item of the newest event that
    counts. So it is known anew with every event, and a server needs no new release for it."""

    field: str
    """The item's field of kind id, or its key."""
    none: int
    """The id that says that no event counts yet."""
    least: int | None = None
    """Smallest code of an event's value with which it counts; None where all of the history do."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a data set."""

    name: str
    role: Role
    kind: Kind
    uses: tuple[Use, ...] = ("feature", "profile")
    """key: who or what it is. feature: a field of its own in models over fields. profile: part of the one vector that
    describes a user, or an item beside its own row. category: the item's only category. scenario: where
    an event took place, which is a feature and of a profile as well; or what kind of item it is about, which is those
    only where it says so. The others as they say."""
    cardinality: int | None = None
    """id and multi: legal values are 0 <= id < cardinality, 0 is unknown; more are out of vocabulary."""
    width: int | None = None
    """Vectors: elements. multi: most values of one row."""
    values: tuple[str, ...] | None = None
    """Names of the ids, where a person would want to read them."""
    ids: str | None = None
    """Digest of the raw ids that a key stands for; None where they are the ids themselves."""
    source: str | None = None
    """Column of the tables, and the rule, that it was made by; None where its name is that column."""
    follows: Follows | None = None
    """Of a user's field of kind id that the user's history decides, see `Follows`; None for any other field."""

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot follow from a history."""
        if self.follows is None:
            return
        if (self.role, self.kind) != ("user", "id"):
            found = f"it is a field of the {self.role} and of kind {self.kind}"
            raise ValueError(f"field '{self.name}': only a user's field of kind id follows from a history; {found}")
        if "profile" in self.uses:
            remedy = 'give it uses=("feature",)'
            raise ValueError(f"field '{self.name}' follows from a history, beside which a profile stands: {remedy}")


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The fields of a data set in order; saved beside the checkpoint, travels into the model repository."""

    dataset: str
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        """Raises ValueError where a user's field follows something that events do not have."""
        for field in self.fields:
            if (follows := field.follows) is None:
                continue
            source = self[follows.field]
            if (source.role, source.kind) != ("item", "id"):
                raise ValueError(f"field '{field.name}' follows '{source.name}', which is no item's field of kind id")
            if follows.least is not None and not self.of("value"):
                raise ValueError(f"field '{field.name}': least is {follows.least}, but events have no value")

    def __getitem__(self, name: str) -> Field:
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise ValueError(f"field '{name}' is not in the schema of {self.dataset}: {[f.name for f in self.fields]}")

    def of(self, use: Use, *roles: Role) -> tuple[Field, ...]:
        """The fields with this use, of these roles (of all by default), in order."""
        return tuple(field for field in self.fields if use in field.uses and (not roles or field.role in roles))

    def only(self, use: Use, role: Role) -> Field:
        """The one field with this use and role. Raises ValueError where there is none, or more than one."""
        found = self.of(use, role)
        if len(found) != 1:
            named = [field.name for field in found] or "none"
            raise ValueError(f"{self.dataset} must have one {role} field for use as {use}, found {named}")
        return found[0]

    def key(self, role: Role) -> Field:
        """The key of users or of items."""
        return self.only("key", role)


def part_field(source: str | None = None) -> Field:
    """The field of events that says which part of a given split each is in, see `PARTS`."""
    return Field(
        name="part", role="event", kind="id", uses=("part",), cardinality=len(PARTS), values=PARTS, source=source
    )


def size_of(field: Field) -> int:
    """Number of ids of a field, id 0 among them. Raises ValueError where the schema leaves it open."""
    if field.cardinality is None:
        raise ValueError(f"field '{field.name}' has no cardinality")
    return field.cardinality


def width_of(field: Field) -> int:
    """Elements of a vector field. Raises ValueError where the schema leaves it open."""
    if field.width is None:
        raise ValueError(f"field '{field.name}' has no width")
    return field.width


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
    """16 hex digits that change with anything that decides what an id means: data set, fields, cardinalities, names,
    and what the fields were made of.

    The width of a field and what it follows are left out: no id means something else by them. What else they decide is
    for `unlike`.
    """
    fields = [_meaning(field) for field in schema.fields]
    return hashlib.sha256(json.dumps([schema.dataset, fields]).encode()).hexdigest()[:16]


def unlike(before: Schema, now: Schema) -> list[str]:
    """The fields that are not as they were, each with what is not: a module that was built by one schema reads data of
    the other wrongly. The width of a multi-valued field counts, as columns are laid out by it; vectors, which views
    add, are left out, and so is what a field follows where one of the two does not say it, as none did at first."""
    ours, theirs = (
        {field.name: asdict(field) for field in schema.fields if field.kind != "vector"} for schema in (before, now)
    )
    told = [f"{name} (gone)" for name in ours if name not in theirs]
    for name, field in theirs.items():
        if name not in ours:
            told.append(f"{name} (new)")
        elif differs := [member for member in field if _differs(member, ours[name][member], field[member])]:
            told.append(f"{name} ({', '.join(differs)})")
    return told or ([] if [*ours] == [*theirs] else ["order of the fields"])


def _differs(member: str, before: Any, now: Any) -> bool:
    return before != now and not (member == "follows" and None in (before, now))


def _meaning(field: Field) -> list[Any]:
    found = [field.name, field.role, field.kind, field.uses, field.cardinality, field.values, field.ids]
    return found if field.source is None else [*found, field.source]


def _field(values: dict[str, Any]) -> Field:
    names: Sequence[str] | None = values.get("values")
    follows: dict[str, Any] | None = values.get("follows")
    made = {
        "uses": tuple(values["uses"]),
        "values": None if names is None else tuple(names),
        "follows": None if follows is None else Follows(**follows),
    }
    return Field(**{**values, **made})
