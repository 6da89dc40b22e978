"""Ways in which a folder can be broken, and the one line that each is told in."""

from collections.abc import Callable

import polars as pl

from tests.training.data.folder.tables import NUM_EVENTS, SKUS, START, Shop

Change = Callable[[Shop], object]
FAR = 32_503_680_000
"""The year 3000, Unix seconds."""
LABEL = 'label = "bought"'
RULE = 'value = "stars"\npositive = ">= 4"'


def column(shop: Shop, table: str, expression: pl.Expr) -> None:
    setattr(shop, table, getattr(shop, table).with_columns(expression))


def repeat(shop: Shop, table: str, row: int) -> None:
    frame: pl.DataFrame = getattr(shop, table)
    setattr(shop, table, pl.concat([frame, frame[row - 1 : row]]))


def labelled(shop: Shop, labels: pl.Expr) -> None:
    column(shop, "events", labels.alias("bought"))
    shop.say(RULE, LABEL)
    shop.say('objectives = ["seen", "bought"]', 'objectives = ["seen"]')


def with_order(shop: Shop, order: pl.Expr) -> None:
    column(shop, "events", order.alias("position"))
    shop.say('time = "at"', 'time = "at"\norder = "position"')


def again_dearer(shop: Shop) -> None:
    repeat(shop, "items", 1)
    shop.put("items", "price", 16, 9.5)


ROW = pl.int_range(pl.len())
BROKEN: dict[str, tuple[Change, str]] = {
    "null user": (
        lambda shop: shop.put("events", "customer_id", 7, None),
        "events.parquet, column 'customer_id', row 7: has no id; give each row one, or leave the row out",
    ),
    "empty item in CSV": (
        lambda shop: (
            setattr(shop, "ending", ".csv"),
            column(shop, "events", pl.col("sku").cast(pl.String)),
            shop.put("events", "sku", 3, None).put("events", "sku", 9, None),
        ),
        "events.csv, column 'sku', row 3: has no id (2 such rows); give each row one, or leave the row out",
    ),
    "float ids": (
        lambda shop: column(shop, "events", pl.col("sku").cast(pl.Float64)),
        "events.parquet, column 'sku', row 1: holds Float64, and ids that went through a float are other ids; write "
        "int64 "
        "or text",
    ),
    "float ids in CSV": (
        lambda shop: (
            setattr(shop, "ending", ".csv"),
            column(shop, "events", (pl.col("sku") // 2**58).cast(pl.Float64)),
        ),
        "events.csv, column 'sku', row 1: is '10.0' (240 such rows); ids that went through a float are other ids; "
        "write "
        "them as whole numbers",
    ),
    "dates as ids": (
        lambda shop: column(shop, "events", pl.from_epoch("at").alias("customer_id")),
        "events.parquet, column 'customer_id', row 1: holds Datetime(time_unit='us', time_zone=None); ids are int64 or "
        "text: cast it",
    ),
    "ids beyond int64": (
        lambda shop: column(shop, "events", pl.col("sku").cast(pl.UInt64) * 4),
        "events.parquet, column 'sku', row 1: is 11529215046068469880, beyond int64 (139 such rows); write the ids "
        "as text",
    ),
    "numbers here and text there": (
        lambda shop: column(shop, "items", pl.format("sku-{}", "sku").alias("sku")),
        "items.parquet, column 'sku', row 1: is the text 'sku-288230376151711747' (15 such rows); events.parquet has "
        "whole "
        "numbers in 'sku': write one type",
    ),
    "long id": (
        lambda shop: shop.put("events", "customer_id", 4, "x" * 1025),
        "events.parquet, column 'customer_id', row 4: has more than 1,024 bytes (an id); use shorter ids, "
        "a hash for one",
    ),
    "numbers beyond int64 beside numbers": (
        lambda shop: column(shop, "items", pl.format("9{}", "sku").alias("sku")),
        "items.parquet, column 'sku', row 1: is the text '9288230376151711747' (15 such rows); events.parquet has "
        "whole "
        "numbers in 'sku': write one type",
    ),
    "NUL in an id": (
        lambda shop: shop.put("events", "customer_id", 4, "u\0"),
        "events.parquet, column 'customer_id', row 4: is an id, with a NUL character; take it out",
    ),
    "long category": (
        lambda shop: shop.put("items", "brand", 4, "x" * 1025),
        f"items.parquet, column 'brand', row 4: has more than 1,024 bytes ('{'x' * 59}...); shorten it",
    ),
    "long value of many": (
        lambda shop: shop.put("items", "tags", 5, "red|" + "x" * 1025),
        "items.parquet, column 'tags', row 5: has a value of more than 1,024 bytes; shorten it, or set another "
        "separator",
    ),
    "event twice": (
        lambda shop: repeat(shop, "events", 5),
        "events.parquet, column 'at', row 241: is the event of row 5 once more (same user, item "
        "4035225266123964458, "
        "same time); keep one of them, or write a finer time",
    ),
    "time in the future": (
        lambda shop: shop.put("events", "at", 240, FAR),
        "events.parquet, column 'at', row 240: is 32503680000, in the future; times were read as seconds since 1970; "
        "mend it",
    ),
    "a time in milliseconds among seconds": (
        lambda shop: shop.put("events", "at", 6, START * 1000),
        "events.parquet, column 'at', row 6: is 1700000000000, in the future; times were read as seconds since 1970; "
        "mend it",
    ),
    "no time": (
        lambda shop: shop.put("events", "at", 2, None),
        "events.parquet, column 'at', row 2: has no time; give each event one, or leave the row out",
    ),
    "a text that is no time": (
        lambda shop: (
            column(shop, "events", pl.from_epoch("at").dt.to_string("%Y-%m-%d %H:%M:%S")),
            shop.put("events", "at", 8, "yesterday"),
        ),
        "events.parquet, column 'at', row 8: is 'yesterday', no time; write whole seconds or milliseconds since "
        "1970, or "
        "2024-05-17T08:30:00Z",
    ),
    "half seconds": (
        lambda shop: column(shop, "events", pl.col("at") + 0.5),
        "events.parquet, column 'at', row 1: is 1700000000.5, no whole number (240 such rows); write whole seconds or "
        "milliseconds since 1970, or 2024-05-17T08:30:00Z",
    ),
    "time of another type": (
        lambda shop: column(shop, "events", pl.lit(True).alias("at")),
        "events.parquet, column 'at', row 1: holds Boolean; write whole seconds or milliseconds since 1970, or "
        "2024-05-17T08:30:00Z",
    ),
    "time backwards": (
        lambda shop: with_order(shop, NUM_EVENTS - ROW),
        "events.parquet, column 'at', row 1: is earlier than in row 12, which position puts before it (same "
        "user) (228 such rows); mend position, or leave it out",
    ),
    "order that is none": (
        lambda shop: with_order(shop, ROW + 0.5),
        "events.parquet, column 'position', row 1: is 0.5, no whole number (240 such rows); give each event a whole "
        "number",
    ),
    "one time": (
        lambda shop: column(shop, "events", pl.lit(START).alias("at")),
        "events.parquet, column 'at': has too few distinct times (1) to cut the last 10 % off twice, for validation "
        "and "
        "test; write finer times or more events",
    ),
    "constant label": (
        lambda shop: labelled(shop, pl.lit(0)),
        "events.parquet, column 'bought': is 0 in every row; nothing can be learnt from it",
    ),
    "only positives": (
        lambda shop: labelled(shop, pl.lit(1)),
        "events.parquet, column 'bought': is 1 in every row; leave label out if all events are positives",
    ),
    "rule that all meet": (
        lambda shop: shop.say(">= 4", ">= 1"),
        "events.parquet, column 'stars': the rule '>= 1' makes every label 1 (values 1 to 5); choose another bound",
    ),
    "label of two": (
        lambda shop: labelled(shop, ROW % 3),
        "events.parquet, column 'bought', row 3: is 2 (80 such rows); write 0 or 1, or name the column as value with a "
        "rule such as positive = '>= 4'",
    ),
    "empty label": (
        lambda shop: labelled(shop, pl.when(ROW != 5).then(ROW % 2)),
        "events.parquet, column 'bought', row 6: is empty; write 0 or 1, or leave the row out",
    ),
    "objective of text": (
        lambda shop: column(shop, "events", pl.lit("maybe").alias("seen")),
        "events.parquet, column 'seen', row 1: is 'maybe' (240 such rows); write 0 or 1, or name the column as value "
        "with "
        "a rule such as positive = '>= 4'",
    ),
    "test part without positives": (
        lambda shop: labelled(shop, ((ROW < 200) & (ROW % 2 == 0)).cast(pl.Int8)),
        "events.parquet, column 'bought': the test part by time (24 events from 1700012960 on) has no positives; add "
        "later "
        "events, or choose another label",
    ),
    "value that is no number": (
        lambda shop: (column(shop, "events", pl.col("stars").cast(pl.String)), shop.put("events", "stars", 3, "four")),
        "events.parquet, column 'stars', row 3: is 'four', no number; values are numbers",
    ),
    "infinite value": (
        lambda shop: (
            column(shop, "events", pl.col("stars").cast(pl.Float64)),
            shop.put("events", "stars", 3, float("inf")),
        ),
        "events.parquet, column 'stars', row 3: is inf; give each event a finite number",
    ),
    "empty scenario": (
        lambda shop: shop.put("events", "page", 2, ""),
        "events.parquet, column 'page', row 2: is empty; name the scenario of each event",
    ),
    "infinite price": (
        lambda shop: shop.put("items", "price", 6, float("inf")),
        "items.parquet, column 'price', row 6: is inf, beyond 9e+18; write a smaller number, or nothing where it is "
        "not known",
    ),
    "price that spells nothing": (
        lambda shop: shop.put("items", "price", 6, -3.4e38),
        "items.parquet, column 'price', row 6: is -3.4e+38, beyond 9e+18; write a smaller number, or nothing where it "
        "is not known",
    ),
    "price beyond a float32": (
        lambda shop: shop.put("items", "price", 6, 1e300),
        "items.parquet, column 'price', row 6: is 1e+300, beyond 9e+18; write a smaller number, or nothing where it "
        "is not known",
    ),
    "price of text": (
        lambda shop: (column(shop, "items", pl.col("price").cast(pl.String)), shop.put("items", "price", 2, "1,5")),
        "items.parquet, column 'price', row 2: is '1,5', no number; write numbers with a decimal point, or give the "
        "field "
        "another kind",
    ),
    "price of lists": (
        lambda shop: column(shop, "items", pl.concat_list("price")),
        "items.parquet, column 'price', row 1: holds List(Float64); write numbers with a decimal point, or give the "
        "field "
        "another kind",
    ),
    "categories of fractions": (
        lambda shop: shop.say('price = "dense"', 'price = "id"'),
        "items.parquet, column 'price', row 2: is 1.5, no whole number (7 such rows); write whole numbers or text, or "
        'make it kind "dense"',
    ),
    "text of numbers": (
        lambda shop: shop.say('price = "dense"', 'price = "text"'),
        "items.parquet, column 'price', row 1: holds Float64; a text is a string: cast it, or give the field another "
        "kind",
    ),
    "many of numbers": (
        lambda shop: shop.say('price = "dense"', 'price = "multi"'),
        "items.parquet, column 'price', row 1: holds Float64; multi is a list, or a text such as 'a|b'",
    ),
    "item twice": (
        lambda shop: repeat(shop, "items", 1),
        "items.parquet, column 'sku', row 16: 288230376151711747 is in row 1 too; keep one row of each",
    ),
    "item twice with another price": (
        again_dearer,
        "items.parquet, column 'sku', row 16: 288230376151711747 is in row 1 too, with another 'price': 0.0, 9.5; "
        "keep one "
        "row",
    ),
    "user twice": (
        lambda shop: repeat(shop, "users", 3),
        "users.parquet, column 'customer_id', row 13: an id is in row 3 too; keep one row of each",
    ),
    "no events": (
        lambda shop: setattr(shop, "events", shop.events[:0]),
        "events.parquet: has no rows; fill it, or take its section out of schema.toml",
    ),
    "few events": (
        lambda shop: setattr(shop, "events", shop.events[:9]),
        "events.parquet: has too few events (9); at least 10 are needed",
    ),
    "one user": (
        lambda shop: column(shop, "events", pl.lit("u00001").alias("customer_id")),
        "events.parquet, column 'customer_id': has too few users (1); at least 2 are needed",
    ),
    "one item": (
        lambda shop: column(shop, "events", pl.lit(SKUS[0]).alias("sku")),
        "events.parquet, column 'sku': has too few items (1); at least 2 are needed",
    ),
    "unknown column": (
        lambda shop: shop.say('time = "at"', 'time = "att"'),
        "events.parquet, column 'att': is not there, but schema.toml names it; did you mean 'at'?",
    ),
    "unknown column of items": (
        lambda shop: shop.say('brand = "id"', 'maker = "id"'),
        "items.parquet, column 'maker': is not there, but schema.toml names it; there are: sku, price, brand, tags, "
        "name",
    ),
}
