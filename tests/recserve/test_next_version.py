"""A model that was trained again on grown tables is the next version: clients name users and items by raw ids."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from export.artifacts import Source
from export.repository import check_release, publish
from export.served import data_of, published
from tests.recserve.releases import SKUS, SMALL, registered, released

RUN, LATER = Source(kind="run", name="runs/1"), Source(kind="run", name="runs/2")
First = Callable[[Path, str, str, dict], Path]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    with registered(tmp_path / "sets") as found:
        yield found


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> First:
    """(root, system, data set, sizes): a repository below the root with the system's first release on the tables as
    they are there, which is exported once."""
    made: dict[tuple[str, str], Path] = {}

    def put(root: Path, name: str, dataset: str, sizes: dict) -> Path:
        if (name, dataset) not in made:
            made[name, dataset] = tmp_path_factory.mktemp("first") / "models"
            publish(made[name, dataset], released(name, dataset, **sizes), RUN)
        return Path(shutil.copytree(made[name, dataset], root / "models"))

    return put


def change(folder: Path, table: str, how: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = folder / f"{table}.parquet"
    how(pl.read_parquet(path)).write_parquet(path)


def grow(folder: Path) -> None:
    """A user and an item of a new brand, who meet in a new event on a new page."""
    new = {"customer": pl.lit("bertha"), "sku": pl.lit(SKUS[0] + 1), "page": pl.lit("attic"), "at": pl.col("at") + 60}
    change(folder, "events", lambda events: pl.concat([events, events[-1:].with_columns(**new)]))
    item = {"sku": pl.lit(SKUS[0] + 1), "brand": pl.lit("brand 00")}
    change(folder, "items", lambda items: pl.concat([items, items[-1:].with_columns(**item)]))


@pytest.mark.parametrize(
    ("name", "dataset", "sizes"),
    [
        ("deepfm", "plain", SMALL),
        ("fm", "moment", {"dim": 8}),
        ("sasrec", "plain", {}),
        pytest.param("lrea", "plain", {}, marks=pytest.mark.slow(25)),
    ],
)
def test_new_users_items_and_values_make_no_other_model(
    root: Path, first: First, name: str, dataset: str, sizes: dict
) -> None:
    models = first(root, name, dataset, sizes)
    before = published(models, name)
    assert data_of(before).name == dataset
    grow(root / dataset)
    assert publish(models, released(name, dataset, **sizes), LATER) == 2
    with pytest.raises(ValueError, match=f"'{name}' was made of another {dataset} .* its ids mean something else"):
        data_of(before)
    assert published(models, name).identity.schema_digest != before.identity.schema_digest
    assert data_of(published(models, name)).dense("user", "bertha")
    specs = [json.loads(path.read_text()) for path in sorted(models.glob("*_state/*/state.json"))]
    assert len({one["stamp"] for one in specs}) == len(specs), "states of one version are none of the other"
    assert len(specs) == (2 if name == "lrea" else 0)


@pytest.mark.parametrize(
    ("name", "dataset", "sizes", "how"),
    [
        ("fm", "moment", {"dim": 8}, lambda said: said.replace('label = "liked"', 'label = "opened"')),
        ("fm", "moment", {"dim": 8}, lambda said: said.replace('item = "sku"', 'item = "ean"')),
        ("deepfm", "plain", SMALL, lambda said: said.replace('country = "id"\n', "")),
    ],
    ids=["another label", "other ids of items", "a field less"],
)
def test_what_a_request_or_an_answer_means_otherwise_is_another_model(
    root: Path, first: First, name: str, dataset: str, sizes: dict, how: Callable[[str], str]
) -> None:
    folder, models = root / dataset, first(root, name, dataset, sizes)
    change(folder, "events", lambda events: events.with_columns(opened=1 - pl.col("liked"), ean=pl.col("sku")))
    change(folder, "items", lambda items: items.with_columns(ean=pl.col("sku")))
    (folder / "schema.toml").write_text(how((folder / "schema.toml").read_text()))
    with pytest.raises(ValueError, match="they differ in schema digest"):
        check_release(models, released(name, dataset, **sizes), LATER)


def test_vectors_of_other_items_are_another_model(root: Path) -> None:
    """Attributes of all items make the second vector that a request of a tokenizer holds."""
    publish(root / "models", released("rqvae", "plain", words=8), RUN)
    grow(root / "plain")
    with pytest.raises(ValueError, match="they differ in schema digest"):
        check_release(root / "models", released("rqvae", "plain", words=8), LATER)
