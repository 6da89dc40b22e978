"""The fetched set: checked, kept in the cache, and refused or fetched anew when something is wrong."""

import json
from pathlib import Path

import polars as pl
import pytest

from training.data import movielens_files
from training.data.fetch import default_cache, fetch
from training.data.origin import verify


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache filled by the true chain of sources."""
    folder = tmp_path_factory.mktemp("cache")
    fetch("ml-100k", folder)
    return folder


@pytest.mark.slow
def test_the_published_set_is_fetched_and_counted(cache: Path) -> None:
    ratings, items, users = (
        pl.read_parquet(cache / "ml-100k" / f"{name}.parquet") for name in ("ratings", "items", "users")
    )
    assert (len(ratings), len(items), len(users)) == (100_000, 1_682, 943)
    assert ratings.row(0) == (196, 242, 3, 881250949)
    assert items.row(0) == (1, "Toy Story (1995)", ["Animation", "Children's", "Comedy"])
    assert items.row(266) == (267, "unknown", ["unknown"])
    assert users.row(0) == (1, 24, "M", "technician", "85711")
    source = json.loads((cache / "ml-100k" / "SOURCE.json").read_text())
    assert source["rows"] == {"ratings": 100_000, "users": 943, "items": 1_682}
    assert "Harper" in source["licence"]
    assert source["files"].items() <= movielens_files.SHA256.items()


@pytest.mark.slow
def test_the_cache_is_used_and_said_to_be(cache: Path) -> None:
    before = (cache / "ml-100k" / "SOURCE.json").read_bytes()
    said: list[str] = []
    fetch("ml-100k", cache, said.append)
    assert any("from the cache" in line for line in said)
    assert any("GroupLens" in line for line in said)
    assert (cache / "ml-100k" / "SOURCE.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flip", "remove", "source"])
def test_a_corrupt_cache_is_fetched_again(cache: Path, damage: str) -> None:
    ratings, source = cache / "ml-100k" / "ratings.parquet", cache / "ml-100k" / "SOURCE.json"
    intact = ratings.read_bytes()
    if damage == "flip":
        ratings.write_bytes(intact[:1000] + bytes([intact[1000] ^ 1]) + intact[1001:])
    elif damage == "remove":
        ratings.unlink()
    else:
        source.write_text("[]")
    said: list[str] = []
    fetch("ml-100k", cache, said.append)
    assert any("is corrupt" in line and "fetching again" in line for line in said)
    assert ratings.read_bytes() == intact
    assert not [path for path in cache.iterdir() if path.name.startswith(".ml-100k.") and path.suffix != ".lock"]


def test_a_file_with_another_sha_is_refused_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "ml-100k" / "ml-100k.zip").write_bytes(b"not the zip")
    monkeypatch.setenv("RECSERVE_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"ml-100k\.zip: expected sha256 50d2a98.*, found [0-9a-f]{64}"):
        fetch("ml-100k", tmp_path / "cache")
    assert not (tmp_path / "cache" / "ml-100k").exists()


def test_content_is_checked_against_the_name() -> None:
    with pytest.raises(ValueError, match=r"ml-100k\.user: expected sha256 4f67"):
        verify(movielens_files.SHA256, "ml-100k.user", b"")


def test_an_unknown_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="known: beauty, gowalla, hin-amazon, kuairand, ml-100k, ml-100k-graph, ml-1m-clean, sports"
    ):
        fetch("ml-25m", tmp_path)  # pyright: ignore[reportArgumentType] - what a command line could pass


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSERVE_CACHE", str(tmp_path))
    assert default_cache() == tmp_path / "data"
    monkeypatch.delenv("RECSERVE_CACHE")
    assert default_cache() == Path.home() / ".cache" / "recserve" / "data"
