"""A folder of tables and `schema.toml` -> Interactions, with all that is wrong told."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from serving.ids import IdMap
from training.data.folder import checks, concepts
from training.data.folder.content import content
from training.data.folder.cut import cut, is_earlier, is_known
from training.data.folder.description import Description, SidePart, describe
from training.data.folder.events import Events, events, wanted
from training.data.folder.files import ENDINGS, Table, find, read
from training.data.folder.problems import Column, Problems
from training.data.folder.raw_ids import Mapped, mapped, warn_of_missing
from training.data.folder.sides import Side, nobody_described, refuse_duplicates, side
from training.interactions import Content, Interactions, Report
from training.schema import UNKNOWN, Field, Role, Schema

_SIDES: tuple[tuple[Role, str], ...] = (("user", "users"), ("item", "items"))


class Inspected(NamedTuple):
    """What is in a folder."""

    interactions: Interactions | None
    """None where there are errors."""
    problems: Problems


class _Tables(NamedTuple):
    """The tables of a folder, read."""

    description: Description
    events: Table
    sides: dict[Role, Table]
    parts: dict[Role, SidePart]

    def keys(self, role: Role) -> list[Column]:
        """The columns that hold ids of a role, that of the events first; those of users are private."""
        events = self.description.events
        column = events.user if role == "user" else events.item
        found = [self.events.column(column)]
        if role in self.sides:
            found.append(self.sides[role].column(self.parts[role].key or column))
        return [one._replace(private=role == "user") for one in found]

    def before(self, day: str) -> "_Tables | None":
        """As they were before a day; None, with the problem told, where that cannot be said."""
        earlier = is_earlier(self.events, self.description.events.time, day)
        if earlier is None:
            return None
        sides: dict[Role, Table] = {}
        for role, table in self.sides.items():
            of_events, key = self.keys(role)
            sides[role] = cut(table, is_known(key, of_events, earlier), day)
        return self._replace(events=cut(self.events, earlier, day), sides=sides)

    def with_concepts(self) -> "_Tables | None":
        """With a table of the items where the events say what each asks for; None, with the problem told, where they
        disagree."""
        part = concepts.part_of(self.description.events)
        if part is None:
            return self
        items = concepts.table_of(self.events, self.description.events)
        if items is None:
            return None
        return self._replace(sides={**self.sides, "item": items}, parts={**self.parts, "item": part})


def inspect(folder: Path, cache: Path | None, report: Report, day: str | None = None) -> Inspected:
    """Reads and checks a folder, or what there was of it before a day, YYYY-MM-DD; nothing is written. `cache` and
    `report` are those of the items' content."""
    problems = Problems()
    description = describe(folder, problems)
    tables = _read(folder, description, problems) if description else None
    if tables is not None and day is not None:
        tables = tables.before(day)
    if tables is not None:
        tables = tables.with_concepts()
    if tables is None:
        return Inspected(None, problems)
    ids = {role: mapped(tables.keys(role)) for role, _ in _SIDES}
    found = events(tables.events, tables.description.events)
    sides = {role: _side(tables, role, ids[role]) for role, _ in _SIDES}
    interactions = None
    if (user := ids["user"]) and (item := ids["item"]):
        frame = pl.DataFrame({"user": user.columns[0], "item": item.columns[0], **found.columns})
        checks.check(tables.events, tables.description.events, frame)
        if not problems.errors and (of_users := sides["user"]) and (of_items := sides["item"]):
            maps: dict[Role, IdMap] = {"user": user.ids, "item": item.ids}
            schema = _schema(tables.description, {"user": of_users, "item": of_items}, maps, found)
            interactions = Interactions(
                schema=schema,
                events=frame,
                users=of_users.frame,
                items=_titled(of_items, item.ids),
                licence=tables.description.licence,
                load_content=_content(of_items, cache, report),
                ids=maps,
            )
    assert interactions or problems.errors
    return Inspected(interactions, problems)


def _read(folder: Path, description: Description, problems: Problems) -> _Tables | None:
    parts: dict[Role, SidePart] = {
        role: part
        for (role, _), part in zip(_SIDES, (description.users, description.items), strict=True)
        if part is not None
    }
    path = find(folder, "events", description.events, problems)
    table = read(path, description.events, wanted(description.events), problems) if path else None
    sides: dict[Role, Table] = {}
    for role, name in _SIDES:
        if role in parts:
            columns = [_key(description, role, parts[role]), *(field.column for field in parts[role].fields)]
            path = find(folder, name, parts[role], problems)
            if path and (one := read(path, parts[role], columns, problems)):
                sides[role] = one
        elif ignored := [one for ending in ENDINGS if (one := f"{name}{ending}") and (folder / one).is_file()]:
            problems.warn(ignored[0], f"is not read; add [{name}.fields] to schema.toml if it should be")
    complete = table is not None and len(sides) == len(parts)
    return _Tables(description, table, sides, parts) if complete and table else None


def _key(description: Description, role: Role, part: SidePart) -> str:
    return part.key or (description.events.user if role == "user" else description.events.item)


def _side(tables: _Tables, role: Role, ids: Mapped | None) -> Side | None:
    """None, with the problems told, where the table or its ids cannot be used."""
    if ids is None:
        return None
    size = len(ids.ids.ids)
    if role not in tables.sides:
        return nobody_described(size)
    table, part = tables.sides[role], tables.parts[role]
    of_events, key = tables.keys(role)
    warn_of_missing(of_events, ids.columns[0], key, ids.columns[1], table.problems)
    repeated = refuse_duplicates(key, table, part.fields)
    found = side(table, ids.columns[1], size, part.fields, role)
    return None if repeated else found


def _schema(description: Description, sides: Mapping[Role, Side], maps: Mapping[Role, IdMap], found: Events) -> Schema:
    fields: list[Field] = []
    for role, one in sides.items():
        key = Field(
            name=f"{role}_id",
            role=role,
            kind="id",
            uses=("key",),
            cardinality=len(one.frame),
            ids=maps[role].digest,
            source=description.events.user if role == "user" else description.events.item,
        )
        fields += [key, *one.fields]
    return Schema(dataset=description.name, fields=(*fields, *found.fields))


def _titled(items: Side, ids: IdMap) -> pl.DataFrame:
    """The frame with a title of each item: the text of that name, or else the first; the raw id where it is empty."""
    texts = [field.name for field in items.fields if field.kind == "text"]
    if not texts:
        return items.frame
    chosen = pl.col("title" if "title" in texts else texts[0])
    raw = pl.Series([UNKNOWN, *map(str, ids.ids)])
    return items.frame.with_columns(title=pl.when(chosen == "").then(raw).otherwise(chosen))


def _content(items: Side, cache: Path | None, report: Report) -> Callable[[], Content] | None:
    """None where items have no text."""
    if not any(field.kind == "text" for field in items.fields):
        return None
    return lambda: content(items.frame, items.fields, cache, report)
