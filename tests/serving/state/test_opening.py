"""The store that a URL names."""

from pathlib import Path

import pytest

from serving.state import open_store, url_of
from serving.state.states import Read
from tests.serving.state.test_store import assert_is_state_of, entry, lookup


@pytest.mark.parametrize("folder", ["state", "with space/and%20percent/#1?"])
def test_a_directory_of_any_name_is_opened_by_its_url(tmp_path: Path, folder: str) -> None:
    url = url_of(tmp_path / folder)
    assert url.startswith("lmdb:///")
    for expected in ("miss", "hit"):
        store = open_store(url)
        (read,) = store.get_many([lookup(1)])
        assert read.outcome == expected
        store.put_many([entry(1)])
        store.close()
    assert (tmp_path / folder / "data.mdb").is_file()


def test_what_a_store_kept_is_what_the_url_answers(tmp_path: Path) -> None:
    store = open_store(url_of(tmp_path))
    store.put_many([entry(1)])
    reads: list[Read] = store.get_many([lookup(1)])
    assert_is_state_of(reads[0], 1)
    store.close()


@pytest.mark.parametrize(
    "url", ["/state", "state", "lmdb://state", "lmdb:state", "lmdb://host/state", "redis://host:6379/0", "lmdb:///a?b"]
)
def test_another_kind_of_store_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ValueError, match=r"names no state store that can be opened; write lmdb:///absolute/d"):
        open_store(url)
