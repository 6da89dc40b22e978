"""Good folders: what is in the tables is what models see."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.training.data.folder.tables import NUM_EVENTS, NUM_ITEMS, NUM_USERS, SKUS, START, Shop
from training.data import sentence_vectors
from training.data.folder import folder
from training.data.folder.build import inspect
from training.data.log import Log
from training.data.scenario import scenario_of
from training.interactions import Interactions, silent
from training.needs import LABEL, require
from training.schema import UNKNOWN, digest
from training.system import Wanted
from training.tasks.retrieval import RETRIEVAL


def read(path: Path) -> Interactions:
    return folder(path).read(None, silent)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Interactions:
    return read(Shop().write(tmp_path_factory.mktemp("shop")))


def test_a_column_that_says_the_part_is_the_split_of_retrieval(tmp_path: Path) -> None:
    shop = Shop()
    parts = ["train", "train", "validation", "test"]
    shop.events = shop.events.with_columns(split=pl.Series([parts[number % 4] for number in range(NUM_EVENTS)]))
    shop.say('time = "at"', 'part = "split"')
    shop.say('objectives = ["seen", "bought"]', "")
    found = read(shop.write(tmp_path / "split"))
    assert found.events["part"].to_list() == [(1, 1, 2, 3)[number % 4] for number in range(NUM_EVENTS)]
    data = RETRIEVAL.view(found, Wanted(frozenset(), 1_000, {}))
    tested = found.events.filter((pl.col("part") == 3) & (pl.col("label") > 0))
    pairs = zip(data.test.user.tolist(), data.test.targets.tolist(), strict=True)
    listed = {(user, item) for user, items in pairs for item in items if item}
    assert listed
    assert listed <= {*zip(tested["user"], tested["item"], strict=True)}


def test_a_part_of_another_name_is_told(tmp_path: Path) -> None:
    shop = Shop()
    shop.events = shop.events.with_columns(split=pl.Series(["train"] * 4 + ["dev"] * (NUM_EVENTS - 4)))
    shop.say('time = "at"', 'part = "split"')
    with pytest.raises(ValueError, match=r"column 'split', row 5: is 'dev' \(236 such rows\); write train, validation"):
        read(shop.write(tmp_path / "split"))


def test_raw_ids_become_dense_ids_in_ascending_order_and_back(shop: Interactions) -> None:
    events = Shop().events
    assert shop.ids["user"].raw(shop.events["user"].to_numpy()).tolist() == events["customer_id"].to_list()
    assert shop.ids["item"].raw(shop.events["item"].to_numpy()).tolist() == events["sku"].to_list()
    assert shop.ids["item"].ids.tolist() == SKUS
    assert len(shop.users) == NUM_USERS + 1
    assert len(shop.items) == NUM_ITEMS + 1
    assert shop.schema.key("item").ids == shop.ids["item"].digest
    assert shop.schema.key("item").cardinality == NUM_ITEMS + 1


def test_events_keep_their_order_and_have_their_types(shop: Interactions) -> None:
    assert shop.events["time"].to_list() == [START + 60 * number for number in range(NUM_EVENTS)]
    types = {name: str(dtype) for name, dtype in shop.events.schema.items()}
    int64 = dict.fromkeys(("user", "item", "time", "value", "page", "device"), "Int64")
    assert types == int64 | dict.fromkeys(("label", "seen", "bought"), "Float32")


def test_a_rule_makes_labels_of_values_and_values_are_codes_by_size(shop: Interactions) -> None:
    stars = Shop().events["stars"]
    assert shop.events["label"].to_list() == (stars >= 4).cast(pl.Float32).to_list()
    assert shop.events["value"].to_list() == stars.to_list()
    assert shop.schema.only("value", "event").values == (UNKNOWN, "1", "2", "3", "4", "5")


def test_fields_of_items_are_encoded_and_what_is_missing_is_unknown(shop: Interactions) -> None:
    brand, tags = shop.schema["brand"], shop.schema["tags"]
    assert brand.values == (UNKNOWN, "b0", "b1", "b2", "b3", "b4")
    assert shop.items["brand"].to_list()[:6] == [0, 1, 2, 3, 0, 5]
    assert tags.values == (UNKNOWN, "red", "ro")
    assert tags.width == 2
    assert shop.items["tags"].to_list()[:5] == [[], [1], [1, 2], [], [1, 2]]
    price = shop.items["price"].to_numpy()
    assert price.dtype == np.float32
    assert np.isnan(price[[0, 5]]).all()
    assert price[[1, 2, 3]].tolist() == [0, 1.5, 3]


def test_a_title_is_the_first_text_or_else_the_raw_id(shop: Interactions) -> None:
    assert shop.titles[:4] == [UNKNOWN, "thing 0", str(SKUS[1]), "thing 2"]


def test_uses_are_those_of_the_schema(shop: Interactions) -> None:
    assert [one.name for one in shop.schema.of("scenario")] == ["page"]
    assert [one.name for one in shop.schema.of("objective")] == ["seen", "bought"]
    assert [one.name for one in shop.schema.of("category")] == ["brand"]
    assert shop.schema["device"].uses == ("feature",)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".tsv", ".tsv.gz"])
def test_csv_and_parquet_give_the_same(shop: Interactions, tmp_path: Path, ending: str) -> None:
    other = read(Shop(ending=ending).write(tmp_path / "shop"))
    assert digest(other.schema) == digest(shop.schema)
    assert other.events.equals(shop.events)
    assert other.users.equals(shop.users)
    assert other.items.equals(shop.items)
    assert other.ids == shop.ids


def test_lists_of_parquet_are_multi_valued_as_texts_with_a_separator_are(shop: Interactions, tmp_path: Path) -> None:
    lists = Shop()
    lists.items = lists.items.with_columns(pl.col("tags").str.split("|"))
    assert read(lists.write(tmp_path / "shop")).items.equals(shop.items)


def test_columns_of_categories_and_columns_without_any_value_are_taken_as_they_are_meant(
    shop: Interactions, tmp_path: Path
) -> None:
    other = Shop()
    other.events = other.events.with_columns(pl.col("customer_id", "device").cast(pl.Categorical))
    other.items = other.items.with_columns(price=pl.lit(None), brand=pl.lit(None), tags=pl.lit(None))
    found = read(other.write(tmp_path / "shop"))
    assert found.events.equals(shop.events)
    assert np.isnan(found.items["price"].to_numpy()).all()
    assert found.items["brand"].sum() == found.items["tags"].list.len().sum() == 0


def test_numbers_of_parquet_and_of_csv_are_the_same_ids(shop: Interactions, tmp_path: Path) -> None:
    path = Shop().write(tmp_path / "shop")
    (path / "items.parquet").unlink()
    Shop().items.write_csv(path / "items.csv")
    assert read(path).ids == shop.ids
    text = (path / "items.csv").read_text()
    (path / "items.csv").write_text(text.replace(str(SKUS[2]), f"9{SKUS[2]}"))
    with pytest.raises(
        ValueError, match=r"items\.csv, column 'sku', row 3: is the text '9\d+'; events\.parquet has whole"
    ):
        read(path)


def test_text_ids_with_leading_zeros_stay_text(tmp_path: Path) -> None:
    shop = Shop(ending=".csv")
    for name in ("events", "users"):
        table: pl.DataFrame = getattr(shop, name)
        setattr(shop, name, table.with_columns(pl.col("customer_id").str.slice(1)))
    found = read(shop.write(tmp_path / "shop"))
    assert found.ids["user"].ids.tolist()[:2] == ["00000", "00001"]


def test_users_and_items_without_tables_are_those_of_the_events(tmp_path: Path) -> None:
    shop = Shop(schema='name = "log"\nlicence = "x"\n[events]\nuser = "customer_id"\nitem = "sku"\norder = "at"\n')
    found = read(shop.write(tmp_path / "shop"))
    assert found.events.columns == ["user", "item", "order"]
    assert found.users.shape == (NUM_USERS + 1, 0)
    assert found.titles[1] == f"item {SKUS[0]}"
    with pytest.raises(ValueError, match="log cannot be used for click: it lacks a label"):
        require(found, "click", (LABEL,))


def test_columns_files_and_separators_can_have_other_names(shop: Interactions, tmp_path: Path) -> None:
    other = Shop(ending=".csv")
    other.items = other.items.rename({"sku": "id", "price": "Price (EUR)"}).with_columns(
        pl.col("tags").str.replace_all("|", "/", literal=True)
    )
    path = other.write(tmp_path / "shop")
    other.items.write_csv(path / "catalogue.csv", separator=";")
    (path / "items.csv").unlink()
    schema = other.schema.replace('price = "dense"', 'price = { kind = "dense", column = "Price (EUR)" }')
    schema = schema.replace('tags = "multi"', 'tags = { kind = "multi", separator = "/" }')
    items = '[items]\nfile = "catalogue.csv"\nseparator = ";"\nkey = "id"\n\n[items.fields]'
    (path / "schema.toml").write_text(schema.replace("[items.fields]", items))
    assert read(path).items.equals(shop.items)


def test_a_concept_of_questions_is_asked_for_by_its_use(tmp_path: Path) -> None:
    shop = Shop().say('tags = "multi"', 'tags = { kind = "multi", use = "concept" }')
    found = read(shop.say('brand = "id"', 'brand = { kind = "id", use = "category" }').write(tmp_path / "shop"))
    assert [one.name for one in found.schema.of("concept", "item")] == ["tags"]


def test_a_field_of_items_is_the_scenario_of_their_events_and_no_category(tmp_path: Path) -> None:
    shop = Shop().say('scenario = "page"\n', "").say('brand = "id"', 'brand = { kind = "id", use = "scenario" }')
    found = read(shop.write(tmp_path / "shop"))
    log = Log(found.events)
    scenario = scenario_of(found, log)
    assert scenario.field == found.schema["brand"]
    brands = found.items["brand"].to_numpy()[log.item]
    assert scenario.of(np.arange(len(log)), log.item).tolist() == brands.tolist()
    assert len({*brands.tolist()}) == 6, "five brands, and that of the item without one"
    assert found.schema.of("category", "item") == ()
    assert found.schema["brand"] in found.schema.of("feature", "item")


def test_vectors_of_items_are_those_of_their_texts_and_each_text_is_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def lengths(texts: list[str]) -> np.ndarray:
        asked.append(texts)
        return np.array([[len(text)] * sentence_vectors.WIDTH for text in texts], np.float32)

    monkeypatch.setattr(sentence_vectors, "encode", lengths)
    shop = Shop().put("items", "name", 1, "thing 2")
    found = folder(shop.write(tmp_path / "shop")).read(tmp_path / "cache", silent)
    assert found.content.text[:4, 0].tolist() == [0, 7, 0, 7]
    assert len(asked[0]) == len(set(asked[0])) == NUM_ITEMS - 2
    assert found.content.graph.shape == (NUM_ITEMS + 1, 128)
    assert found.content.graph[1].any()


def test_a_folder_that_changed_has_another_digest(shop: Interactions, tmp_path: Path) -> None:
    changed = Shop()
    changed.users = changed.users.with_columns(pl.col("customer_id").replace("u00003", "u10003"))
    found = read(changed.write(tmp_path / "shop"))
    assert digest(found.schema) != digest(shop.schema)


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_numbers_that_are_nan_are_missing_and_counted_and_empty_cells_are_missing_alone(
    tmp_path: Path, ending: str
) -> None:
    shop = Shop(ending=ending).put("items", "price", 2, float("nan")).put("items", "price", 7, float("nan"))
    found = inspect(shop.write(tmp_path / "shop"), None, silent)
    lines = [str(one) for one in found.problems.warnings]
    assert lines == [f"items{ending}, column 'price', row 2: is NaN (2 such rows), read as missing"]
    assert found.interactions is not None
    # Those two, the empty one, and the unknown item's.
    assert np.isnan(found.interactions.items["price"].to_numpy()).sum() == 4
