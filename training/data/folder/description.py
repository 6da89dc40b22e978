"""`schema.toml`: which table has what. Everything that is wrong with it is said, with what was probably meant."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from training.data.folder.problems import SCHEMA_FILE, Problems, shown
from training.data.folder.section import Section, near

FieldKind = Literal["id", "dense", "multi", "text"]
FieldUse = Literal["category", "concept", "scenario"]
Role = Literal["events", "items", "users"]
RESERVED = ("user", "item", "time", "order", "label", "value", "part", "user_id", "item_id")
"""Names of columns that the canonical form has itself."""
MULTI_SEPARATOR = "|"
MULTI_WIDTH = 32
"""Values of one row that a multi-valued field keeps, where the schema says nothing else."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RULE = re.compile(r"(>=|<=|==|>|<)\s*(-?\d+(?:\.\d+)?)")
_TOP = ("name", "licence", "events", "items", "users")
_TABLE = ("file", "separator", "fields")
_EVENTS = (
    *(*_TABLE, "format", "user", "item", "time", "order", "label", "value", "positive", "part", "scenario"),
    *("objectives", "concepts"),
)
FORMATS = ("pykt", "robomission")
"""Of files that others publish, beside tables."""
_SIDE = (*_TABLE, "key")
_FIELD = ("kind", "use", "column", "separator", "width")


class Rule(NamedTuple):
    """Which values are positive."""

    sign: str
    bound: float


class ConceptsPart(NamedTuple):
    """Where events say what their items, which are questions, ask for."""

    column: str
    separator: str = MULTI_SEPARATOR
    """Between several of one question, where they are one text."""


class FieldPart(NamedTuple):
    """A field of users, items or events."""

    name: str
    column: str
    kind: FieldKind
    use: FieldUse | None = None
    separator: str = MULTI_SEPARATOR
    """Between the values of a multi-valued field that is one string."""
    width: int = MULTI_WIDTH


@dataclass(frozen=True, kw_only=True)
class SidePart:
    """[items] or [users]."""

    file: str | None
    separator: str | None
    key: str | None
    """Column of the ids; that of the events where nobody says one."""
    fields: tuple[FieldPart, ...]


@dataclass(frozen=True, kw_only=True)
class EventsPart:
    """[events]."""

    file: str | None
    separator: str | None
    format: str | None
    """One of `FORMATS`; None for a table."""
    user: str
    item: str
    time: str | None
    order: str | None
    label: str | None
    value: str | None
    positive: Rule | None
    part: str | None
    scenario: str | None
    objectives: tuple[str, ...]
    concepts: ConceptsPart | None
    fields: tuple[FieldPart, ...]


@dataclass(frozen=True, kw_only=True)
class Description:
    """The whole file."""

    name: str
    licence: str
    events: EventsPart
    items: SidePart | None
    users: SidePart | None


def describe(folder: Path, problems: Problems) -> Description | None:
    """What the folder's `schema.toml` says; None, with the problems told, where it cannot be used."""
    try:
        values = tomllib.loads((folder / SCHEMA_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        lacks = f"{folder} has none; `recserve data template {folder}` proposes one"
        problems.error(SCHEMA_FILE, lacks if folder.is_dir() else f"{folder} is no folder; name one that holds tables")
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.error(SCHEMA_FILE, f"cannot be read as TOML: {error}; mend that place")
        return None
    top = Section("", values, problems)
    top.known(_TOP)
    name, licence = top.text("name", required=True), top.text("licence", required=True)
    if name and not _NAME.fullmatch(name):
        problems.error(SCHEMA_FILE, f"name is {shown(name)}; use up to 64 of a-z, 0-9, '.', '_' and '-'")
    events = _events(top.section("events"))
    items, users = (_side(top.section(side), side) if side in values else None for side in ("items", "users"))
    if events and not problems.errors:
        _tell_leaks(events, items, users, problems)
    if events and events.concepts and items:
        remedy = 'give them there, as a field with use = "concept", or take [items] out'
        problems.error(SCHEMA_FILE, f"[events] concepts are those of the items, which [items] describes; {remedy}")
    if events and not problems.errors:
        _tell_collisions(events, items, users, problems)
        _tell_scenarios(events, items, problems)
    if problems.errors or events is None:
        return None
    return Description(name=name or "", licence=licence or "", events=events, items=items, users=users)


def _events(section: Section) -> EventsPart | None:
    section.known(_EVENTS)
    user, item = section.text("user", required="user" not in section.values), section.text("item", required=True)
    label, value, positive = (section.text(key) for key in ("label", "value", "positive"))
    rule = _RULE.fullmatch(positive.strip()) if positive else None
    if positive and not rule:
        section.refuse("positive", f"is {shown(positive)}; write a comparison with a number, such as '>= 4'")
    if positive and not value:
        section.refuse("positive", 'needs a value to compare; name its column: value = "..."')
    if positive and label:
        section.refuse("positive", "says what label says; keep one of them")
    if user is None or item is None:
        return None
    return EventsPart(
        file=section.text("file"),
        separator=section.separator(),
        format=_format(section),
        user=user,
        item=item,
        time=section.text("time"),
        order=section.text("order"),
        label=label,
        value=value,
        positive=Rule(rule[1], float(rule[2])) if rule else None,
        part=section.text("part"),
        scenario=section.text("scenario"),
        objectives=section.texts("objectives"),
        concepts=_concepts(section),
        fields=_fields(section, "events"),
    )


def _format(section: Section) -> str | None:
    found = section.text("format")
    if found and found not in FORMATS:
        section.refuse("format", f"is {shown(found)}; {near(found, FORMATS)}")
    if found and not section.values.get("file"):
        section.refuse("format", 'says how a file is to be read; name it: file = "..."')
    return found


def _concepts(section: Section) -> ConceptsPart | None:
    if "concepts" not in section.values:
        return None
    value = section.values["concepts"]
    one = Section("events.concepts", {"column": value} if isinstance(value, str) else value, section.problems)
    one.known(("column", "separator"))
    column = one.text("column", required=True)
    return ConceptsPart(column, one.text("separator") or MULTI_SEPARATOR) if column else None


def _side(section: Section, role: Role) -> SidePart:
    section.known(_SIDE)
    return SidePart(
        file=section.text("file"),
        separator=section.separator(),
        key=section.text("key"),
        fields=_fields(section, role),
    )


def _fields(section: Section, role: Role) -> tuple[FieldPart, ...]:
    if "fields" not in section.values:
        return ()
    inner = section.section("fields")
    return tuple(part for name in inner.values if (part := _field(inner, name, role)))


def _field(section: Section, name: str, role: Role) -> FieldPart | None:
    value = section.values[name]
    one = Section(f"{section.place}.{name}", {"kind": value} if isinstance(value, str) else value, section.problems)
    one.known(_FIELD)
    kind, use, width = one.text("kind", required=True), one.text("use"), one.values.get("width", MULTI_WIDTH)
    before = len(section.problems.errors)
    if not _FIELD_NAME.fullmatch(name):
        renamed = re.sub(r"\W+", "_", name).strip("_") or "field"
        section.refuse(shown(name), f'cannot name a field; write {renamed} = {{ kind = "...", column = "{name}" }}')
    if name in RESERVED:
        section.refuse(name, f'is a reserved name; write my_{name} = {{ kind = "...", column = "{name}" }}')
    if kind and kind not in get_args(FieldKind):
        section.refuse(name, f"is of kind {shown(kind)}; {near(kind, get_args(FieldKind))}")
    if kind == "text" and role == "events":
        section.refuse(name, "is a text of events; only items and users have texts")
    if name == "title" and kind != "text":
        section.refuse(name, "is shown to people; make it a text, or give the field another name")
    if use and (use not in get_args(FieldUse) or role != "items"):
        section.refuse(name, f"has use {shown(use)}; fields of items may be {_either(get_args(FieldUse))}")
    if use in ("category", "scenario") and kind != "id":
        section.refuse(name, f"is a {use}; make it of kind id")
    if not isinstance(width, int) or not 1 <= width <= 1024:
        section.refuse(name, f"has width {shown(width)}; give it 1 to 1024")
    column, separator = one.text("column") or name, one.text("separator") or MULTI_SEPARATOR
    if kind is None or len(section.problems.errors) > before:
        return None
    return FieldPart(name, column, cast(FieldKind, kind), cast(FieldUse | None, use), separator, width)


def _either(names: tuple[str, ...]) -> str:
    *others, last = (f"'{name}'" for name in names)
    return f"{', '.join(others)} or {last}"


def _tell_scenarios(events: EventsPart, items: SidePart | None, problems: Problems) -> None:
    """A data set has one scenario of each event."""
    named = [f"[items.fields] {field.name}" for field in (items.fields if items else ()) if field.use == "scenario"]
    named += [f"[events] scenario, '{events.scenario}'"] if events.scenario else []
    if len(named) > 1:
        problems.error(SCHEMA_FILE, f"{' and '.join(named)} are each the scenario; keep one of them")


def _tell_collisions(events: EventsPart, items: SidePart | None, users: SidePart | None, problems: Problems) -> None:
    """Tasks ask for a field by its name, whosever it is."""
    columns = (events.scenario, *events.objectives, None if events.value == "value" else events.value)
    owner = dict.fromkeys([name for name in columns if name], "events")
    for name in owner:
        if name in RESERVED:
            remedy = "rename that column in the table"
            problems.error(SCHEMA_FILE, f"[events] '{name}' is the name of a canonical column; {remedy}")
    for role, fields in (
        ("events", events.fields),
        ("items", items and items.fields),
        ("users", users and users.fields),
    ):
        for field in fields or ():
            if field.name in owner:
                other = f'{role}_{field.name} = {{ kind = "{field.kind}", column = "{field.column}" }}'
                problems.error(
                    SCHEMA_FILE, f"[{role}.fields] {field.name} is a field of {owner[field.name]} too; write {other}"
                )
            owner[field.name] = role


def _tell_leaks(events: EventsPart, items: SidePart | None, users: SidePart | None, problems: Problems) -> None:
    """A column that says what came of an event is no input, under whatever name. The time is known when it takes
    place, and so are user and item: they may be fields too."""
    outcomes = [(events.label, "label"), (events.value, "value"), *((one, "an objective") for one in events.objectives)]
    inputs = [(getattr(events, use), use) for use in ("user", "item", "time", "order", "scenario")]
    inputs += [(events.concepts.column, "concepts")] if events.concepts else []
    inputs += [(field.column, f"[events.fields] {field.name}") for field in events.fields]
    for role, side in (("items", items), ("users", users)):
        if side and side.file and (side.file == events.file or (not events.file and side.file.startswith("events."))):
            inputs += [(field.column, f"[{role}.fields] {field.name}") for field in side.fields]
    for column, use in inputs:
        if found := [outcome for name, outcome in outcomes if name and name == column]:
            what = f"column '{column}' is {use} and {' and '.join(found)}: a model would read what it is to predict"
            problems.error(SCHEMA_FILE, f"{what}; take it out of {use}, or name another column")
