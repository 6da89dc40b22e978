"""The report and the picture of codebooks, from finished runs."""

import json
import math
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from recserve.cli import main
from recserve.studies.codebooks import command
from recserve.studies.codebooks.command import Codes, describe, facts, lines, told_apart
from recserve.studies.codebooks.picture import draw_codebooks


def described(name: str = "mmq2", active: np.ndarray | None = None) -> Codes:
    codes = np.stack([np.arange(40) % 4, np.zeros(40, int)], axis=1)
    return describe(name, None, codes, 8, active)


def test_each_codebook_has_a_line_and_the_last_is_of_all() -> None:
    rows = lines(described())
    assert rows[0][:4] == ["mmq2", 0, 8, 0.5]
    assert rows[0][4] == pytest.approx(math.log(4))
    assert rows[1][3:6] == [1 / 8, 0.0, 1.0]
    assert rows[2][:2] == ["mmq2", "all"]
    assert rows[2][3] == pytest.approx((1 / 2 + 1 / 8) / 2)
    assert rows[2][-1] == pytest.approx(1 - 4 / 40)


def test_programs_get_the_same_numbers() -> None:
    found = facts(described())
    assert found["collision_rate"] == pytest.approx(0.9)
    assert found["utilisation"] == pytest.approx(0.3125)
    assert json.dumps(found)


def test_the_picture_has_a_panel_for_each_and_one_for_active_ids(tmp_path: Path) -> None:
    active = np.stack([np.linspace(0, 1, 40), np.arange(40) % 4], axis=1)
    draw_codebooks([described("mmq")], tmp_path / "one.png")
    draw_codebooks([described("mmq"), described(active=active)], tmp_path / "three.png")
    one, three = (matplotlib.image.imread(tmp_path / f"{name}.png") for name in ("one", "three"))
    assert three.shape[1] > 2.5 * one.shape[1]
    assert len(np.unique(three.reshape(-1, three.shape[2]), axis=0)) > 20


def test_a_folder_without_a_run_is_an_error_of_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "codebooks", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_runs_of_two_data_sets_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("beauty", "sports"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(command, "of_run", lambda folder: (folder.name, described(folder.name)))
    with pytest.raises(ValueError, match="different data sets"):
        command.Codebooks(runs=(tmp_path / "beauty", tmp_path / "sports")).run()


def test_without_a_run_it_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "codebooks"]) == 2
    assert "give at least one folder" in capsys.readouterr().err


def test_several_runs_of_one_system_are_told_apart_by_their_folders() -> None:
    codes = np.zeros((4, 2), np.int64)
    runs = [("mpq", "a-s0"), ("mpq", "a-s1"), ("rqvae", "b-s0"), ("letter", None)]
    found = [describe(name, Path(folder) if folder else None, codes, 3) for name, folder in runs]
    assert [one.name for one in told_apart(found)] == ["mpq a-s0", "mpq a-s1", "rqvae", "letter"]
