"""`schema.toml`: what is wrong with it is said, with what was probably meant."""

from pathlib import Path

import polars as pl
import pytest

from tests.training.data.folder.tables import SCHEMA, Shop
from training.data.folder import folder
from training.data.folder.build import inspect
from training.data.folder.description import describe
from training.data.folder.problems import Problems
from training.interactions import silent


def told(path: Path, schema: str) -> list[str]:
    (path / "schema.toml").write_text(schema)
    problems = Problems()
    describe(path, problems)
    return [str(one).removeprefix("schema.toml: ") for one in problems.errors]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("licence", "license", "license is not known; did you mean 'licence'?"),
        ('name = "shop"\n', "", "name is missing; add it"),
        ('"shop"', '"My Shop"', "name is 'My Shop'; use up to 64 of a-z, 0-9, '.', '_' and '-'"),
        ("[events]", "[event]", "event is not known; did you mean 'events'?"),
        ('user = "customer_id"', "user = 3", "[events] user is 3; give it a text in quotes"),
        ('user = "customer_id"\n', "", "[events] user is missing; add it"),
        ("time =", "timestamp =", "[events] timestamp is not known; did you mean 'time'?"),
        (">= 4", "at least 4", "[events] positive is 'at least 4'; write a comparison with a number, such as '>= 4'"),
        ('value = "stars"\n', "", '[events] positive needs a value to compare; name its column: value = "..."'),
        (
            'value = "stars"',
            'value = "stars"\nlabel = "bought"',
            "[events] positive says what label says; keep one of them",
        ),
        ('["seen", "bought"]', '"seen"', "[events] objectives is 'seen'; give it a list of texts, each once"),
        (
            '"dense"\nbrand',
            '"number"\nbrand',
            "[items.fields] price is of kind 'number'; there are: id, dense, multi, text",
        ),
        ('"dense"\nbrand', '"dens"\nbrand', "[items.fields] price is of kind 'dens'; did you mean 'dense'?"),
        (
            "price =",
            '"Price (EUR)" =',
            "[items.fields] 'Price (EUR)' cannot name a field; write Price_EUR = "
            '{ kind = "...", column = "Price (EUR)" }',
        ),
        (
            "device =",
            "time =",
            '[events.fields] time is a reserved name; write my_time = { kind = "...", column = "time" }',
        ),
        (
            'device = "id"',
            'device = "text"',
            "[events.fields] device is a text of events; only items and users have texts",
        ),
        (
            "price =",
            "title =",
            "[items.fields] title is shown to people; make it a text, or give the field another name",
        ),
        (
            'tags = "multi"',
            'tags = { kind = "multi", seperator = ";" }',
            "[items.fields.tags] seperator is not known; did you mean 'separator'?",
        ),
        (
            'tags = "multi"',
            'tags = { kind = "multi", use = "category" }',
            "[items.fields] tags is a category; make it of kind id",
        ),
        (
            'country = "id"',
            'country = { kind = "id", use = "concept" }',
            "[users.fields] country has use 'concept'; fields of items may be 'category', 'concept' or 'scenario'",
        ),
        (
            'tags = "multi"',
            'tags = { kind = "multi", use = "scenario" }',
            "[items.fields] tags is a scenario; make it of kind id",
        ),
        (
            'brand = "id"',
            'brand = { kind = "id", use = "scenario" }',
            "[items.fields] brand and [events] scenario, 'page' are each the scenario; keep one of them",
        ),
        (
            'tags = "multi"',
            'tags = { kind = "multi", width = 0 }',
            "[items.fields] tags has width 0; give it 1 to 1024",
        ),
        (
            "age =",
            "price =",
            '[users.fields] price is a field of items too; write users_price = { kind = "dense", column = "price" }',
        ),
        (
            "[users.fields]",
            "[users]\nfields = 3\n[more]",
            "more is not known; there are: name, licence, events, items, users",
        ),
    ],
)
def test_what_is_wrong_is_told_with_what_was_meant(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert old in SCHEMA
    assert told(tmp_path, SCHEMA.replace(old, new, 1))[0] == line


def test_a_column_that_bears_the_name_of_a_canonical_one_is_refused(tmp_path: Path) -> None:
    schema = SCHEMA.replace('"seen", "bought"', '"seen", "label"')
    assert told(tmp_path, schema) == [
        "[events] 'label' is the name of a canonical column; rename that column in the table"
    ]


def test_a_good_schema_has_no_problem(tmp_path: Path) -> None:
    assert told(tmp_path, SCHEMA) == []


def test_a_file_that_is_no_toml_is_told_with_its_place(tmp_path: Path) -> None:
    assert told(tmp_path, 'name = "shop\n') == [
        "cannot be read as TOML: Illegal character '\\n' (at line 1, column 13); mend that place"
    ]


def test_a_folder_without_a_schema_is_told_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"schema\.toml: .* has none; `recserve data template .*` proposes one"):
        folder(tmp_path)


def warnings(path: Path) -> list[str]:
    return [str(one) for one in inspect(path, None, silent).problems.warnings]


def test_items_of_events_that_no_table_has_are_counted(tmp_path: Path) -> None:
    shop = Shop()
    shop.items = shop.items[2:]
    (line,) = warnings(shop.write(tmp_path / "shop"))
    row = next(n for n, sku in enumerate(shop.events["sku"], 1) if sku not in shop.items["sku"].to_list())
    number = int((~shop.events["sku"].is_in(shop.items["sku"].to_list())).sum())
    assert line == (
        f"events.parquet, column 'sku', row {row}: {shop.events['sku'][row - 1]} is not in items.parquet: "
        f"2 such ids, with {number} events, whose fields are unknown"
    )


def test_ids_that_differ_by_case_or_spaces_are_told(tmp_path: Path) -> None:
    shop = Shop().put("events", "customer_id", 3, "U00001").put("events", "customer_id", 9, "u00002 ")
    assert (
        "events.parquet, column 'customer_id': 2 ids are there in forms that differ only by case or spaces; "
        "each form is an id of its own: unify them if they are one"
    ) in warnings(shop.write(tmp_path / "shop"))


def test_values_beyond_the_width_are_left_out_and_told(tmp_path: Path) -> None:
    shop = Shop().say('tags = "multi"', 'tags = { kind = "multi", width = 1 }')
    assert warnings(shop.write(tmp_path / "shop")) == [
        "items.parquet, column 'tags', row 2: has 2 values; the first 1 are kept, here and in 6 more rows "
        "(width = 2 keeps all)"
    ]


def test_a_table_that_no_section_describes_is_told(tmp_path: Path) -> None:
    shop = Shop().say('[users.fields]\ncountry = "id"\nage = "dense"\n', "")
    assert warnings(shop.write(tmp_path / "shop")) == [
        "users.parquet: is not read; add [users.fields] to schema.toml if it should be"
    ]


LEAK = "a model would read what it is to predict; take it out of"


@pytest.mark.parametrize(
    ("old", "new", "column", "use", "outcome"),
    [
        ('device = "id"', 'how = { kind = "id", column = "bought" }', "bought", "[events.fields] how", "an objective"),
        ('device = "id"', 'bought = "id"', "bought", "[events.fields] bought", "an objective"),
        ('device = "id"', 'mark = { kind = "dense", column = "stars" }', "stars", "[events.fields] mark", "value"),
        ('value = "stars"\npositive = ">= 4"', 'label = "device"', "device", "[events.fields] device", "label"),
        ('scenario = "page"', 'scenario = "stars"', "stars", "scenario", "value"),
        ('scenario = "page"', 'scenario = "seen"', "seen", "scenario", "an objective"),
        ('time = "at"', 'order = "stars"', "stars", "order", "value"),
        ('item = "sku"', 'item = "bought"', "bought", "item", "an objective"),
        (
            '[items.fields]\nprice = "dense"',
            '[items]\nfile = "events.parquet"\n[items.fields]\nprice = { kind = "dense", column = "stars" }',
            "stars",
            "[items.fields] price",
            "value",
        ),
    ],
)
def test_a_column_that_says_what_came_of_an_event_is_no_input(
    tmp_path: Path, old: str, new: str, column: str, use: str, outcome: str
) -> None:
    assert old in SCHEMA
    line = f"column '{column}' is {use} and {outcome}: {LEAK} {use}, or name another column"
    assert told(tmp_path, SCHEMA.replace(old, new)) == [line]


def test_the_moment_of_an_event_and_who_meets_what_may_be_fields_too_and_a_label_an_objective(tmp_path: Path) -> None:
    more = 'when = { kind = "dense", column = "at" }\nwho = { kind = "id", column = "customer_id" }'
    schema = SCHEMA.replace('device = "id"', f'device = "id"\n{more}')
    schema = schema.replace('value = "stars"\npositive = ">= 4"', 'label = "bought"')
    assert told(tmp_path, schema) == []


@pytest.mark.parametrize(
    ("kind", "hint", "warned"),
    [
        ("id", pl.col("stars") * 2, True),
        ("id", pl.when(pl.col("stars") >= 4).then(pl.lit("yes")), True),
        ("multi", pl.format("a|{}", "stars"), True),
        ("dense", -pl.col("stars") / 7 + pl.int_range(pl.len()) / 10_000, True),
        ("dense", pl.when(pl.col("seen") > 1).then(pl.col("stars")), False),
        ("id", pl.int_range(pl.len()), False),
        ("id", pl.when(pl.col("bought") > 0).then(pl.col("stars")), False),
    ],
    ids=["renamed", "positives alone", "among many", "shifted number", "no number", "one value each", "in part"],
)
def test_a_field_that_tells_every_label_is_pointed_out(tmp_path: Path, kind: str, hint: pl.Expr, warned: bool) -> None:
    shop = Shop().say('device = "id"', f'device = "id"\nhint = "{kind}"')
    shop.events = shop.events.with_columns(hint=hint)
    line = "events.parquet, column 'hint': tells the label of every event; take it out unless it was known before"
    found = [one for one in warnings(shop.write(tmp_path / "shop")) if "tells" in one]
    assert found == [f"{line} the event took place"] * warned
