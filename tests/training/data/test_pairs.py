"""Published pairs with given parts, where they are at hand, and the archive that one set comes in."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.training.data.published_sets import at_hand, digest
from training.data import rar
from training.data.fetch import fetch
from training.system import Wanted
from training.tasks.retrieval import RETRIEVAL

FOUND = {
    "ml-1m-clean": ((5_950, 2_811), (403_277, 56_844, 57_532), "6db9350ce18cb1d8"),
    "gowalla": ((29_859, 40_982), (802_998, 7_130, 217_242), "2f4e4dcfc6dbcad2"),
}
"""Rows of users and items; targets of the parts; digest of all targets: another one changes published figures."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FOUND])
def test_the_published_parts_are_those_of_the_published_figures(name: str) -> None:
    interactions = at_hand(name)
    data = RETRIEVAL.view(interactions, Wanted(frozenset(), 1_000, {}))
    sizes, targets, digested = FOUND[name]
    assert (len(interactions.users), len(interactions.items)) == sizes
    parts = (data.train, data.validation, data.test)
    assert tuple(int((part.targets > 0).sum()) for part in parts) == targets
    assert len(data.validation) == 3_000
    assert len(data.test) == sizes[0] - 1, "everybody is tested"
    assert digest(*(array for part in parts for array in (part.user, part.targets))) == digested


@pytest.mark.parametrize(
    ("name", "path"), [("ml-1m-clean", "diffrec/ml-1m_clean.rar"), ("gowalla", "lightgcn/gowalla/s_adj_mat.npz")]
)
def test_a_file_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str
) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"another")
    (file.parent / "test.txt.gz").write_bytes(gzip.compress(b"0 1\n"))
    monkeypatch.setenv("RECSERVE_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=rf"{file.name}: expected sha256 [0-9a-f]{{64}}, found [0-9a-f]{{64}}"):
        fetch(name, tmp_path / "cache")  # pyright: ignore[reportArgumentType] - one of the names
    assert not (tmp_path / "cache" / name).exists()


def test_without_the_program_an_archive_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        ValueError, match=r"bsdtar is not here to unpack it: install .*apt-get install libarchive-tools"
    ):
        rar.unpacked(b"", ["a"])


def test_what_is_no_archive_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"bsdtar could not unpack the archive: .*nrecognized"):
        rar.unpacked(np.arange(999).tobytes(), ["a"])
